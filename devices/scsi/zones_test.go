package scsi

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

// zonesPage is a report of zones of 100 blocks: type and condition of each, and how much is written.
func zonesPage(zones ...[3]byte) []byte {
	be := binary.BigEndian
	b := make([]byte, 64*(1+len(zones)))
	be.PutUint32(b, uint32(64*len(zones)))
	be.PutUint64(b[8:], uint64(100*len(zones)-1))
	for n, z := range zones {
		p := b[64*(n+1):]
		p[0], p[1] = z[0], z[1]<<4|2 // NON_SEQ, which means nothing here
		be.PutUint64(p[8:], 100)
		be.PutUint64(p[16:], uint64(100*n))
		be.PutUint64(p[24:], uint64(100*n)+uint64(z[2]))
	}
	return b
}

func TestZoneCommands(t *testing.T) {
	c := ReportZones(0x123456789a)
	if want := []byte{0x95, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9a, 0, 1, 0, 0, 0, 0}; !bytes.Equal(c.CDB, want) || c.Direction != DataIn || len(c.Data) != 64<<10 || c.Timeout <= 0 {
		t.Errorf("% x, %d bytes", c.CDB, len(c.Data))
	}
	for _, x := range []struct {
		z    ZoneOut
		want []byte
	}{
		{ZoneOut{Action: ZoneReset, LBA: 0x80000}, []byte{0x94, 4, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0}},
		{ZoneOut{Action: ZoneReset, All: true}, []byte{0x94, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}},
		{ZoneOut{Action: ZoneFinish, LBA: 1}, []byte{0x94, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}},
	} {
		if c, err := x.z.Command(); err != nil || !bytes.Equal(c.CDB, x.want) || c.Direction != NoData || c.Timeout <= 0 {
			t.Errorf("%+v: %+v %v", x.z, c, err)
		}
	}
	for _, z := range []ZoneOut{{}, {Action: 1}, {Action: 3}, {Action: ZoneFinish, All: true}, {Action: ZoneReset, All: true, LBA: 1}} {
		if c, err := z.Command(); err == nil {
			t.Errorf("%+v: % x", z, c.CDB)
		}
	}
	for _, x := range []struct {
		s    Sanitize
		want byte
	}{{Sanitize{Action: SanitizeCryptoErase, ZNR: true}, 0xc3}, {Sanitize{Action: SanitizeBlockErase, ZNR: true, AUSE: true}, 0xe2}, {Sanitize{Action: SanitizeOverwrite, ZNR: true, Count: 1, Pattern: []byte{0}, BlockLength: 512}, 0xc1}} {
		if c, err := x.s.Command(); err != nil || c.CDB[1] != x.want {
			t.Errorf("%+v: %+v %v", x.s, c, err)
		}
	}
	if _, err := (Sanitize{Action: SanitizeExitFailure, ZNR: true}).Command(); err == nil {
		t.Error("leaving a failure resets no zones")
	}
}

func TestParseZoneReport(t *testing.T) {
	good := zonesPage([3]byte{1, 0, 9}, [3]byte{2, 1, 0}, [3]byte{2, 2, 1}, [3]byte{2, 3, 99}, [3]byte{2, 4, 100}, [3]byte{2, 0xe, 255}, [3]byte{2, 0xd, 255}, [3]byte{1, 0xf, 255}, [3]byte{3, 2, 7})
	zones, total, last, err := ParseZoneReport(good)
	if err != nil || total != 9 || last != 899 || len(zones) != 9 {
		t.Fatalf("%+v %d %d %v", zones, total, last, err)
	}
	if zones[0] != (Zone{ZoneConventional, ZoneNoPointer, 100, 0, 9}) || zones[3] != (Zone{ZoneWriteRequired, ZoneExplicitlyOpen, 100, 300, 399}) || zones[8].Type != ZoneWritePreferred {
		t.Errorf("%+v", zones)
	}
	if zones, total, _, err := ParseZoneReport(good[:64*3]); err != nil || total != 9 || len(zones) != 2 {
		t.Errorf("more than there is room for: %+v %d %v", zones, total, err)
	}
	changed := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	for name, b := range map[string][]byte{
		"empty": nil, "short": good[:127], "zeros": make([]byte, 4096), "ones": bytes.Repeat([]byte{0xff}, 4096), "half a zone": changed(3, 0x20), "no last block": changed(14, 0),
		"without a write pointer": changed(128+1, 0), "a conventional one that is full": changed(64+1, 0xe0), "reserved condition": changed(128+1, 0x50), "of no blocks": changed(64*4+15, 0),
		"empty and written": changed(128+31, 7), "written behind its end": changed(192+31, 46), "written before its start": changed(192+31, 0), "a gap": changed(192+23, 201), "longer than the drive": changed(64*9+15, 101),
	} {
		if name == "no last block" {
			binary.BigEndian.PutUint64(b[8:], 0)
		}
		if zones, _, _, err := ParseZoneReport(b); err == nil {
			t.Errorf("%s: %+v", name, zones)
		}
	}
}

func TestParseZonedCharacteristics(t *testing.T) {
	b := append([]byte{0, 0xb6, 0, 60, 1}, make([]byte, 59)...)
	copy(b[16:], []byte{0, 0, 0, 128})
	if z, err := ParseZoned(b); err != nil || !z.UnrestrictedReads || z.MaxOpen != 128 {
		t.Errorf("%+v %v", z, err)
	}
	for name, x := range map[string][]byte{"short": {0, 0xb6, 0, 2, 1, 0}, "another page": append([]byte{0, 0xb1}, b[2:]...), "cut off": b[:20], "empty": nil} {
		if z, err := ParseZoned(x); err == nil {
			t.Errorf("%s: %+v", name, z)
		}
	}
}

// What a command looks at of its CDB tells whether zones can be kept.
func TestParseOpcodeUsage(t *testing.T) {
	usage := []byte{0x48, 0xe1, 0, 0, 0, 0, 0, 0xff, 0xff, 0}
	if got, err := ParseOpcodeUsage(append([]byte{0, 3, 0, 10}, usage...)); err != nil || !slices.Equal(got, usage) {
		t.Errorf("% x %v", got, err)
	}
	if got, err := ParseOpcodeUsage([]byte{0, 1, 0, 0}); err != nil || got != nil {
		t.Errorf("not supported: % x %v", got, err)
	}
	for _, b := range [][]byte{nil, {0, 3, 0, 0}, {0, 3, 0, 10, 0x48}} {
		if got, err := ParseOpcodeUsage(b); err == nil {
			t.Errorf("% x: % x", b, got)
		}
	}
}

func FuzzParseZoneReport(f *testing.F) {
	f.Add(zonesPage([3]byte{1, 0, 9}, [3]byte{2, 2, 1}))
	f.Add(make([]byte, 4096))
	f.Add(bytes.Repeat([]byte{0xff}, 4096))
	f.Fuzz(func(t *testing.T, b []byte) {
		zones, total, last, err := ParseZoneReport(b)
		if err == nil && (len(zones) == 0 || uint64(len(zones)) > total) {
			t.Errorf("%d zones of %d", len(zones), total)
		}
		for _, z := range zones {
			if z.Length == 0 || z.Start+z.Length > last+1 || z.Condition > ZoneEmpty && z.Condition < ZoneReadOnly && z.Pointer > z.Start+z.Length {
				t.Errorf("%+v, the last block is %d", z, last)
			}
		}
	})
}
