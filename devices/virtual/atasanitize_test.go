package virtual

import (
	"bytes"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

func TestATASanitizeOnTheMedium(t *testing.T) {
	for _, x := range []struct {
		name, profile, fault string
		feature, count       uint16
		lba                  uint64
		seconds              int
		addressable, hidden  bool
		first                []byte // of what the host reads afterwards
	}{
		{name: "crypto", profile: "sata-ssd", feature: 0x11, lba: crypto, seconds: 50},
		{name: "block", profile: "sata-ssd", feature: 0x12, lba: blockSig, seconds: 100, first: []byte{0, 0, 0, 0}},
		{name: "overwrite", profile: "sata-hdd", feature: 0x14, count: 1, lba: overwrite | 0x04030201, seconds: 100, first: []byte{1, 2, 3, 4}},
		{name: "overwrite, 0 passes are 16", profile: "sata-hdd", feature: 0x14, lba: overwrite, seconds: 1600, first: []byte{0, 0, 0, 0}},
		{name: "overwrite, inverted", profile: "sata-hdd", feature: 0x14, count: 2 | 1<<7, lba: overwrite, seconds: 200, first: []byte{255, 255, 255, 255}},
		{name: "overwrite, inverted and definitive", profile: "sata-hdd", feature: 0x14, count: 2 | 1<<7 | 1<<6, lba: overwrite, seconds: 200, first: []byte{0, 0, 0, 0}},
		{name: "lie", profile: "sata-ssd", fault: "lie:nothing", feature: 0x12, lba: blockSig, seconds: 100, addressable: true, hidden: true},
		{name: "hidden left", profile: "sata-hdd", fault: "lie:hidden", feature: 0x14, count: 1, lba: overwrite, seconds: 100, hidden: true},
		{name: "deallocated", profile: "sata-ssd", fault: "lie:deallocate", feature: 0x12, lba: blockSig, seconds: 100, hidden: true, first: []byte{0, 0, 0, 0}},
		{name: "skipped", profile: "sata-hdd", fault: "skip-erase:10+5", feature: 0x14, count: 1, lba: overwrite, seconds: 100, addressable: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var faults []string
			if x.fault != "" {
				faults = append(faults, x.fault)
			}
			g := newRig(t, Spec{Profile: x.profile}, faults...)
			if a := g.ata(3, 0xb4, x.feature, x.count, x.lba, nil); a.failed || a.count != 1<<14 || a.lba != 0 {
				t.Fatalf("start: %+v", a)
			}
			g.wait(x.seconds - 1)
			if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.failed || a.count != 1<<14 || a.lba < 0xf000 || a.lba > 0xffff {
				t.Errorf("just before the end: %+v", a)
			}
			if ok, _ := g.readable(); ok {
				t.Error("blocks can be read meanwhile")
			}
			g.wait(1)
			if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.failed || a.count != 1<<15 || a.lba != 0xffff {
				t.Errorf("at the end: %+v", a)
			}
			g.holds("afterwards", x.addressable, x.hidden)
			p := make([]byte, 512)
			if _, err := backend(t, g.tr).ReadAt(p, 0); err != nil || !bytes.HasPrefix(p, x.first) {
				t.Errorf("reads %x…, %v", p[:4], err)
			}
			if got := g.medium().Begun(); len(got) != 1 || got[0] != map[uint16]string{0x11: "b4:0011", 0x12: "b4:0012", 0x14: "b4:0014"}[x.feature] {
				t.Errorf("begun %q", got)
			}
			g.cycle()
			if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.count != 1<<15 {
				t.Errorf("the completed bit after a power cycle: %+v", a)
			}
		})
	}
}

func TestATASanitizeStates(t *testing.T) {
	t.Run("while it runs", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd"})
		// SANITIZE BLOCK ERASE EXT, unrestricted, as SAT writes it.
		r, _ := g.send([]byte{0x85, 7, 0x20, 0, 0x12, 0, 0x10, 0x42, 0x72, 0, 0x45, 0, 0x6b, 0x40, 0xb4, 0}, nil, 0)
		if a := readAnswer(r); a.failed || a.count != 1<<14 {
			t.Fatalf("%+v", a)
		}
		for name, x := range map[string]struct {
			protocol, opcode byte
			feature          uint16
			lba              uint64
			fails            bool
		}{
			"status": {3, 0xb4, 0, 0, false}, "SMART status": {3, 0xb0, 0xda, 0xc24f00, false}, "antifreeze": {3, 0xb4, 0x40, 0x416e7469, false},
			"flush": {3, 0xea, 0, 0, true}, "read verify": {3, 0x42, 0, 0, true}, "another": {3, 0xb4, 0x11, crypto, true}, "SMART data": {4, 0xb0, 0xd0, 0xc24f00, true},
			"freeze lock": {3, 0xb4, 0x20, 0x46724c6b, true}, "native max": {3, 0x78, 0, 0, true}, "security freeze": {3, 0xf5, 0, 0, true},
		} {
			if a := g.ata(x.protocol, x.opcode, x.feature, 0, x.lba, nil); a.failed != x.fails || x.fails && a.failure != 4 {
				t.Errorf("%s: %+v", name, a)
			}
		}
		g.identity()
		if r, _ := g.send([]byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, nil, 512); r.Status != 2 {
			t.Error("READ(16) meanwhile")
		}
		g.cycle()
		g.wait(99)
		if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.count != 1<<14 {
			t.Errorf("after a power cycle, and 99 s: %+v", a)
		}
		g.wait(1)
		if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.count != 1<<15 {
			t.Errorf("at its end: %+v", a)
		}
	})
	t.Run("restricted failure", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd"}, "sanitize-fail:40")
		g.ata(3, 0xb4, 0x12, 0, blockSig, nil)
		g.wait(40)
		for name, x := range map[string]struct {
			feature, count uint16
			lba, reason    uint64
		}{"status": {0, 0, 0, 1}, "leave": {0, 1, 0, 0}, "unrestricted": {0x12, 1 << 4, blockSig, 0}} {
			if a := g.ata(3, 0xb4, x.feature, x.count, x.lba, nil); !a.failed || a.failure != 4 || a.lba&0xff != x.reason {
				t.Errorf("%s: %+v", name, a)
			}
		}
		if ok, _ := g.readable(); ok {
			t.Error("blocks can be read")
		}
		if err := g.rack.ClearFaults("S"); err != nil {
			t.Fatal(err)
		}
		g.reopen()
		if a := g.ata(3, 0xb4, 0x12, 0, blockSig, nil); a.failed {
			t.Errorf("another restricted one: %+v", a)
		}
		g.wait(100)
		if a := g.ata(3, 0xb4, 0x12, 1<<4, blockSig, nil); !a.failed || a.lba&0xff != 0 {
			t.Errorf("an unrestricted one after a restricted success: %+v", a)
		}
		g.holds("afterwards", false, false)
	})
	t.Run("unrestricted failure", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd"}, "sanitize-fail:40")
		g.ata(3, 0xb4, 0x12, 1<<4, blockSig, nil)
		g.wait(40)
		if a := g.ata(3, 0xb4, 0, 0, 0, nil); !a.failed || a.lba&0xff != 1 {
			t.Errorf("status: %+v", a)
		}
		if a := g.ata(3, 0xb4, 0, 1, 0, nil); a.failed || a.count != 0 {
			t.Errorf("leave: %+v", a)
		}
		if ok, old := g.readable(); !ok || !old {
			t.Errorf("reads %v, old data %v", ok, old)
		}
	})
	t.Run("refusals", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd"})
		refuse := func(name string, feature, count uint16, lba, reason uint64) {
			t.Helper()
			if a := g.ata(3, 0xb4, feature, count, lba, nil); !a.failed || a.failure != 4 || a.lba != reason {
				t.Errorf("%s: %+v", name, a)
			}
		}
		refuse("wrong signature", 0x12, 0, crypto, 2)
		refuse("no signature", 0x12, 0, 0, 2)
		refuse("overwrite", 0x14, 1, overwrite, 2)
		refuse("no such function", 0x13, 0, 0, 2)
		refuse("reserved bit", 0x12, 1<<8, blockSig, 2)
		if a := g.ata(3, 0xb4, 0x40, 0, 0x416e7469, nil); a.failed || a.count != 1<<12 {
			t.Errorf("antifreeze: %+v", a)
		}
		refuse("freeze lock after antifreeze", 0x20, 0, 0x46724c6b, 4)
		g.cycle()
		if a := g.ata(3, 0xb4, 0x20, 0, 0x46724c6b, nil); a.failed || a.count != 1<<13 {
			t.Errorf("freeze lock: %+v", a)
		}
		refuse("frozen", 0x12, 0, blockSig, 3)
		g.cycle()
		if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.failed || a.count != 0 {
			t.Errorf("after a power cycle: %+v", a)
		}
		if len(g.medium().Begun()) != 0 {
			t.Error("something was begun")
		}
		read, err := g.rack.Opener()(t.Context(), g.node, devices.ReadOnly)
		if err != nil {
			t.Fatal(err)
		}
		defer closeIt(t, read)
		if _, err := read.SCSI(t.Context(), &scsi.Command{CDB: pass(3, 0xb4, 0x12, 0, blockSig), Timeout: 1}); err == nil {
			t.Error("sanitized through a node that was opened for reading")
		}
	})
	for fault, want := range map[string]answer{
		"sanitize-refused:3":   {failed: true, failure: 4, lba: 3, status: 0x51, senseLength: 22, checkReturned: true},
		"lie:ignored":          {lba: 0xffff, status: 0x50, senseLength: 22, checkReturned: true},
		"log-missing:sanitize": {count: 1 << 14, status: 0x50, senseLength: 22, checkReturned: true},
		"registers:zero":       {senseLength: 22, checkReturned: true},
		"registers:none":       {},
	} {
		t.Run(fault, func(t *testing.T) {
			g := newRig(t, Spec{Profile: "sata-ssd"}, fault)
			if a := g.ata(3, 0xb4, 0x12, 0, blockSig, nil); a != want {
				t.Errorf("%+v, want %+v", a, want)
			}
		})
	}
}
