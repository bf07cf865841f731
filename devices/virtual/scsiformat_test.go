package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

func linkOf(t *testing.T, path string) string {
	t.Helper()
	to, err := filepath.EvalSymlinks(path)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestFormatUnit(t *testing.T) {
	immediate := []byte{0, 0x02, 0, 0}
	withPattern := []byte{0, 0x80 | 0x08 | 0x02, 0, 0, 0, 1, 0, 2, 0xab, 0xcd}
	initialize := []byte{0, 0x80 | 0x08 | 0x02, 0, 0, 0x20, 1, 0, 2, 0xab, 0xcd}
	for _, x := range []struct {
		name, fault         string
		cdb, list           []byte
		addressable, hidden bool
		first               []byte
		ends                int // sense data in the end
	}{
		{name: "plain", cdb: []byte{4, 0x10, 0, 0, 0, 0}, list: immediate, hidden: true, first: []byte{0, 0, 0}},
		{name: "long list", cdb: []byte{4, 0x30, 0, 0, 0, 0}, list: []byte{0, 0x02, 0, 0, 0, 0, 0, 0}, hidden: true, first: []byte{0, 0, 0}},
		{name: "pattern", cdb: []byte{4, 0x10, 0, 0, 0, 0}, list: withPattern, hidden: true, first: []byte{0xab, 0xcd, 0xab}},
		{name: "security initialize", cdb: []byte{4, 0x10, 0, 0, 0, 0}, list: initialize, first: []byte{0xab, 0xcd, 0xab}},
		{name: "fast", cdb: []byte{4, 0x10, 0, 0, 1, 0}, list: immediate, addressable: true, hidden: true},
		{name: "lie", fault: "lie:nothing", cdb: []byte{4, 0x10, 0, 0, 0, 0}, list: immediate, addressable: true, hidden: true},
		{name: "fails", fault: "sanitize-fail:50", cdb: []byte{4, 0x10, 0, 0, 0, 0}, list: immediate, addressable: true, hidden: true, ends: 0x033101},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var faults []string
			if x.fault != "" {
				faults = append(faults, x.fault)
			}
			g := scsiRig(t, Spec{Profile: "sas-hdd"}, faults...)
			g.want("format", 0, x.cdb, x.list, 0)
			g.wait(1)
			if code, progress := g.sense(); code != 0x020404 || progress == 0 {
				t.Errorf("%06x, %04x", code, progress)
			}
			g.want("meanwhile", 0x020404, tur, nil, 0)
			g.wait(100)
			if code, _ := g.sense(); code != x.ends {
				t.Errorf("in the end: %06x", code)
			}
			g.want("in the end", x.ends, tur, nil, 0)
			g.holds("afterwards", x.addressable, x.hidden)
			p := make([]byte, 512)
			if _, err := backend(t, g.tr).ReadAt(p, 512*7); (err == nil) != (x.ends == 0) || !bytes.HasPrefix(p, x.first) {
				t.Errorf("reads %x…, %v", p[:4], err)
			}
			if got := g.medium().Begun(); !slices.Equal(got, []string{"04"}) {
				t.Errorf("begun %q", got)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		g := scsiRig(t, Spec{Profile: "sas-hdd"})
		g.want("format", 0, []byte{4, 0x10, 0, 0, 0, 0}, immediate, 0)
		g.wait(50)
		g.cycle()
		g.want("power-on", 0x062900, tur, nil, 0)
		g.want("interrupted", 0x033100, tur, nil, 0)
		if ok, _ := g.readable(); ok {
			t.Error("blocks can be read")
		}
		g.wait(1000)
		g.want("for good", 0x033100, tur, nil, 0)
		g.holds("half of it", true, true)
		g.want("another", 0, []byte{4, 0x10, 0, 0, 0, 0}, immediate, 0)
		g.wait(100)
		g.want("whole again", 0, tur, nil, 0)
		g.holds("afterwards", false, true)
	})
	g := scsiRig(t, Spec{Profile: "sas-hdd"})
	for name, x := range map[string]struct {
		cdb, list []byte
		sense     int
	}{
		"IP without FOV": {[]byte{4, 0x10, 0, 0, 0, 0}, []byte{0, 0x0a, 0, 0, 0, 1, 0, 1, 0}, 0x052600}, "DCRT without FOV": {[]byte{4, 0x10, 0, 0, 0, 0}, []byte{0, 0x22, 0, 0}, 0x052600},
		"empty pattern": {[]byte{4, 0x10, 0, 0, 0, 0}, []byte{0, 0x8a, 0, 0, 0, 1, 0, 0}, 0x052600}, "defects": {[]byte{4, 0x10, 0, 0, 0, 0}, []byte{0, 2, 0, 4}, 0x052600},
		"protection": {[]byte{4, 0x90, 0, 0, 0, 0}, immediate, 0x052400}, "FFMT 3": {[]byte{4, 0x10, 0, 0, 3, 0}, immediate, 0x052400}, "short list": {[]byte{4, 0x10, 0, 0, 0, 0}, []byte{0, 2}, 0x051a00},
	} {
		g.want(name, x.sense, x.cdb, x.list, 0)
	}
	if len(g.medium().Begun()) != 0 {
		t.Error("a format was begun")
	}
	g = scsiRig(t, Spec{Profile: "sas-hdd"}, "refuse:format", "refuse:mode-select")
	g.want("refused", 0x052400, []byte{4, 0x10, 0, 0, 0, 0}, immediate, 0)
	g.want("refused", 0x052400, []byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0}, make([]byte, 16), 0)
}

// A drive of a storage array has no block device until it is formatted anew.
func TestBlocksOf520Bytes(t *testing.T) {
	for _, encrypting := range []bool{false, true} {
		spec := Spec{Profile: "sas-520"}
		if encrypting {
			spec = Spec{Profile: "sas-hdd", LogicalBlock: 520}
		}
		g := scsiRig(t, spec)
		size := func() string {
			t.Helper()
			text, err := readText(filepath.Join(g.rack.Root(), "sys/block/sda/size"))
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		if _, err := g.tr.Geometry(t.Context()); !errors.Is(err, devices.ErrGone) || size() != "0" {
			t.Errorf("the node has a size: %s, %v", size(), err)
		}
		if ok, _ := g.readable(); ok {
			t.Error("the node reads")
		}
		capacity := g.want("capacity", 0, []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, nil, 32)
		blocks := binary.BigEndian.Uint64(capacity) + 1
		if blocks != 1984 || binary.BigEndian.Uint32(capacity[8:]) != 520 {
			t.Errorf("% x", capacity)
		}
		data := bytes.Repeat([]byte{0x5a, 1, 2, 3, 4}, 312) // three blocks
		g.want("write", 0, []byte{0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0}, data, 0)
		g.want("sync", 0, []byte{0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
		g.reopen()
		if got := g.want("read", 0, []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0}, nil, 1560); !bytes.Equal(got, data) {
			t.Error("reads something else")
		}
		if got := g.want("the block before", 0, []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0}, nil, 520); !bytes.Contains(got, canary) {
			t.Errorf("%q", got[:40])
		}
		b := g.want("MODE SENSE", 0, []byte{0x5a, 0, 0x0a, 0, 0, 0, 0, 0, 64, 0}, nil, 64)
		if b[7] != 8 || binary.BigEndian.Uint32(b[8:]) != 1984 || binary.BigEndian.Uint32(b[12:]) != 520 {
			t.Errorf("% x", b)
		}
		g.want("MODE SELECT to 513", 0x052600, []byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 1}, 0)
		g.want("MODE SELECT to 512", 0, []byte{0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0}, []byte{0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0}, 0)
		capacity = g.want("capacity", 0, []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 8)
		if capacity[6] != 2 || capacity[7] != 8 {
			t.Errorf("before the format: % x", capacity)
		}
		g.want("format", 0, []byte{4, 0x10, 0, 0, 0, 0}, []byte{0, 2, 0, 0}, 0)
		g.wait(100)
		capacity = g.want("capacity", 0, []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 8)
		if !bytes.Equal(capacity, []byte{0, 0, 7, 0xde, 0, 0, 2, 0}) || size() != "0" {
			t.Errorf("% x, the node has %s", capacity, size())
		}
		if err := g.tr.Rescan(t.Context()); err != nil || size() != "2015" {
			t.Errorf("after a rescan: %s, %v", size(), err)
		}
		if geometry, err := g.tr.Geometry(t.Context()); err != nil || geometry.SizeBytes != 1984*520 || geometry.LogicalBlock != 512 {
			t.Errorf("%+v, %v", geometry, err)
		}
		if ok, old := g.readable(); !ok || old {
			t.Errorf("reads %v, old data %v", ok, old)
		}
		g.holds("afterwards", false, true)
	}
}

// What an erase skips stays what it was, also where a block begins within a unit of encryption.
func TestSkippedBlocksOf520Bytes(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-hdd", LogicalBlock: 520}, "skip-erase:11+3")
	g.want("overwrite", 0, ofSanitize(1, 5), []byte{1, 0, 0, 1, 0x77}, 0)
	g.wait(100)
	a, h, err := g.medium().CountCanary(canary)
	if err != nil || a < 3*520/int64(len(canary))-1 || a > 3*520/int64(len(canary))+1 || h != 0 {
		t.Errorf("%d canaries, %d hidden, %v", a, h, err)
	}
	for block, want := range map[byte]byte{10: 0x77, 14: 0x77} {
		got := g.want("read", 0, []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, block, 0, 0, 0, 1, 0, 0}, nil, 520)
		if !bytes.Equal(got, bytes.Repeat([]byte{want}, 520)) {
			t.Errorf("block %d: % x", block, got[:8])
		}
	}
}

func TestWhatSCSIDrivesTell(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-hdd", GrownDefects: 3, ReservedBy: "0xabcd"})
	rsoc := func(option, opcode, action byte) []byte {
		return []byte{0xa3, 0x0c, option, opcode, 0, action, 0, 0, 0, 64, 0, 0}
	}
	for name, x := range map[string]struct {
		cdb   []byte
		sense int
		want  []byte
	}{
		"overwrite":     {rsoc(3, 0x48, 1), 0, []byte{0, 3, 0, 10, 0x48}},
		"block erase":   {rsoc(3, 0x48, 2), 0, []byte{0, 1, 0, 0}},
		"crypto":        {rsoc(2, 0x48, 3), 0, []byte{0, 3, 0, 10, 0x48}},
		"format":        {rsoc(1, 0x04, 0), 0, []byte{0, 3, 0, 6, 0x04}},
		"WRITE SAME":    {rsoc(3, 0x93, 0), 0, []byte{0, 1, 0, 0}},
		"48h alone":     {rsoc(1, 0x48, 0), 0x052400, nil},
		"grown defects": {[]byte{0xb7, 0x0b, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0}, 0, []byte{0, 0x0b, 0, 0, 0, 0, 0, 24}},
		"keys":          {[]byte{0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0}, 0, []byte{0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0xab, 0xcd}},
		"reservation":   {[]byte{0x5e, 1, 0, 0, 0, 0, 0, 0, 64, 0}, 0, []byte{0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0, 0, 0, 0, 0, 1}},
		"temperature":   {[]byte{0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 64, 0}, 0, []byte{0x0d, 0, 0, 12, 0, 0, 3, 2, 0, 34}},
		"hours":         {[]byte{0x4d, 0, 0x55, 0, 0, 0, 0, 0, 64, 0}, 0, []byte{0x15, 0, 0, 16, 0, 0, 3, 12, 0, 4, 2, 0x90}},
		"elements":      {[]byte{0x9e, 0x17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, 0, []byte{0, 0, 0, 4}},
		"no such page":  {[]byte{0x12, 1, 0x89, 0, 64, 0}, 0x052400, nil},
		"EFh":           {[]byte{0xa2, 0xef, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}, 0x052000, nil},
	} {
		if b := g.want(name, x.sense, x.cdb, nil, 64); !bytes.HasPrefix(b, x.want) {
			t.Errorf("%s: % x", name, b)
		}
	}
	if _, err := backend(t, g.tr).WriteAt(make([]byte, 512), 0); err == nil {
		t.Error("written although another host has it reserved")
	}
	inq := g.want("inquiry", 0, []byte{0x12, 0, 0, 0, 96, 0}, nil, 96)
	if len(inq) != 96 || string(inq[8:32]) != "VIRTUAL Virtual SAS HDD " {
		t.Errorf("%q", inq)
	}
	if data, err := os.ReadFile(filepath.Join(g.rack.Root(), "sys/class/scsi_host/host0/proc_name")); err != nil || string(data) != "mpt3sas\n" {
		t.Errorf("%q, %v", data, err)
	}
	g = scsiRig(t, Spec{Profile: "sas-hdd", NoOpcodeReports: true})
	g.want("no reports", 0x052000, rsoc(3, 0x48, 1), nil, 64)
}
