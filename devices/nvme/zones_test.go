package nvme

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestEncodeZones(t *testing.T) {
	for _, x := range []struct {
		name, clause string
		c            *Command
		queue        Queue
		opcode       uint8
		dwords       [4]uint32
		data         int
	}{
		{"identify zoned namespace", "ZNS 1.1 4.1.5.1", IdentifyZoned{NSID: 7}.Command(), Admin, 0x06, [4]uint32{0x05, 0x02000000}, 4096},
		{"report zones", "ZNS 1.1 3.4.2", ZoneReport{NSID: 7, SLBA: 0x1_2345_6789}.Command(), IO, 0x7a, [4]uint32{0x23456789, 1, 0xfff}, 16384},
		{"reset one", "ZNS 1.1 3.4.3", must(t)(ZoneSend{NSID: 7, SLBA: 0x2_0000_0800, Action: ZoneReset}.Command()), IO, 0x79, [4]uint32{0x800, 2, 0, 0x4}, 0},
		{"reset all", "ZNS 1.1 3.4.3", must(t)(ZoneSend{NSID: 7, Action: ZoneReset, All: true}.Command()), IO, 0x79, [4]uint32{0, 0, 0, 0x104}, 0},
		{"finish one", "ZNS 1.1 3.4.3", must(t)(ZoneSend{NSID: 7, SLBA: 64, Action: ZoneFinish}.Command()), IO, 0x79, [4]uint32{64, 0, 0, 0x2}, 0},
	} {
		got := [4]uint32{x.c.CDW10, x.c.CDW11, x.c.CDW12, x.c.CDW13}
		if x.c.Queue != x.queue || x.c.Opcode != x.opcode || x.c.NSID != 7 || got != x.dwords || x.c.CDW14 != 0 || x.c.CDW15 != 0 || len(x.c.Data) != x.data || x.c.Timeout <= 0 {
			t.Errorf("%s (%s): %+v %#x", x.name, x.clause, x.c, got)
		}
	}
	for name, s := range map[string]ZoneSend{
		"no namespace": {Action: ZoneReset}, "every namespace": {NSID: 0xffffffff, Action: ZoneReset}, "no action": {NSID: 1}, "offline": {NSID: 1, Action: 5},
		"all and one": {NSID: 1, SLBA: 8, Action: ZoneReset, All: true}, "finish all": {NSID: 1, Action: ZoneFinish, All: true},
	} {
		if c, err := s.Command(); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// zoneReport is a report of zones of 100 blocks with a capacity of 80, each given by its state and how
// much of it is written.
func zoneReport(states ...[2]byte) []byte {
	b := make([]byte, 64*(1+max(1, len(states))))
	binary.LittleEndian.PutUint64(b, uint64(len(states)))
	for n, s := range states {
		d, start := b[64*(n+1):], uint64(100*n)
		d[0], d[1] = 2, s[0]<<4
		binary.LittleEndian.PutUint64(d[8:], 80)
		binary.LittleEndian.PutUint64(d[16:], start)
		binary.LittleEndian.PutUint64(d[24:], start+uint64(s[1]))
	}
	return b
}

func TestParseZoneReport(t *testing.T) {
	good := zoneReport([2]byte{1, 0}, [2]byte{2, 80}, [2]byte{3, 1}, [2]byte{4, 7}, [2]byte{0xd, 99}, [2]byte{0xe, 99}, [2]byte{0xf, 99})
	zones, total, err := ParseZoneReport(good)
	if err != nil || total != 7 || len(zones) != 7 || zones[3] != (Zone{ZoneClosed, 80, 300, 307}) || zones[6].ZS != ZoneOffline {
		t.Fatalf("%+v %d %v", zones, total, err)
	}
	// There may be more than the report has room for.
	if zones, total, err := ParseZoneReport(good[:64*3]); err != nil || total != 7 || len(zones) != 2 {
		t.Errorf("%+v %d %v", zones, total, err)
	}
	changed := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	for name, b := range map[string][]byte{
		"empty": nil, "short": good[:127], "zeros": make([]byte, 4096), "no zones": zoneReport(), "ones": bytes.Repeat([]byte{0xff}, 4096),
		"reserved type": changed(64, 1), "no state": changed(65, 0), "reserved state": changed(65, 0x5<<4), "no capacity": changed(64*2+8, 0),
		"empty and written": changed(64+24, 3), "written beyond its capacity": changed(64*2+24, 100+81), "written before its start": changed(64*2+24, 99), "twice": changed(64*2+16, 0),
	} {
		if zones, _, err := ParseZoneReport(b); err == nil {
			t.Errorf("%s: %+v", name, zones)
		}
	}
}

func TestParseZoned(t *testing.T) {
	b := make([]byte, 4096)
	copy(b, []byte{1, 0, 1, 0, 13, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	binary.LittleEndian.PutUint64(b[2816+16*17:], 0x80000)
	z, err := ParseZoned(b, 17)
	if err != nil || z.ZSZE != 0x80000 || !z.Varies() || z.OZCS != 1 || z.AtOnce() != 14 {
		t.Errorf("%+v %d %v", z, z.AtOnce(), err)
	}
	for name, x := range map[string]struct {
		b      []byte
		format int
	}{"another format": {b, 0}, "short": {b[:4095], 17}, "zeros": {make([]byte, 4096), 0}, "no such format": {b, 64}, "no format": {b, -1}} {
		if z, err := ParseZoned(x.b, x.format); err == nil {
			t.Errorf("%s: %+v", name, z)
		}
	}
	for _, x := range []struct {
		mar, mor uint32
		want     int64
	}{{NoLimit, NoLimit, 0}, {0, NoLimit, 1}, {13, 6, 7}, {3, 6, 4}} {
		if got := (ZonedNamespace{MAR: x.mar, MOR: x.mor}).AtOnce(); got != x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
}

func FuzzParseZones(f *testing.F) {
	f.Add(zoneReport([2]byte{1, 0}, [2]byte{2, 5}))
	f.Add(make([]byte, 4096))
	f.Add(bytes.Repeat([]byte{0xff}, 4096))
	f.Fuzz(func(t *testing.T, b []byte) {
		zones, total, err := ParseZoneReport(b)
		for n, z := range zones {
			written := z.WP - z.ZSLBA
			if err != nil || uint64(len(zones)) > total || z.ZCAP == 0 || n > 0 && z.ZSLBA <= zones[n-1].ZSLBA || z.ZS < ZoneReadOnly && written > z.ZCAP {
				t.Errorf("%+v of %d, %v", zones, total, err)
			}
		}
		if z, err := ParseZoned(b, 0); err == nil && z.ZSZE == 0 {
			t.Error("zones of no blocks")
		}
	})
}
