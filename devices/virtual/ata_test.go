package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// answer is what came back in the ATA return descriptor.
type answer struct {
	failed        bool
	failure       byte
	count         uint16
	lba           uint64
	status        byte
	senseLength   int
	checkReturned bool
}

func readAnswer(r scsi.Result) answer {
	a := answer{senseLength: len(r.Sense), checkReturned: r.Status == 2}
	if s := r.Sense; len(s) == 22 && s[0] == 0x72 && s[8] == 9 {
		a.failure, a.count, a.status = s[11], binary.BigEndian.Uint16(s[12:]), s[21]
		a.lba = uint64(s[15]) | uint64(s[17])<<8 | uint64(s[19])<<16 | uint64(s[14])<<24 | uint64(s[16])<<32 | uint64(s[18])<<40
	}
	a.failed = a.status&1 != 0
	return a
}

// pass is ATA PASS-THROUGH(16) with CK_COND, 48 bits wide.
func pass(protocol, opcode byte, feature, count uint16, lba uint64) []byte {
	return []byte{0x85, protocol<<1 | 1, 0x20, byte(feature >> 8), byte(feature), byte(count >> 8), byte(count),
		byte(lba >> 24), byte(lba), byte(lba >> 32), byte(lba >> 8), byte(lba >> 40), byte(lba >> 16), 0x40, opcode, 0}
}

func (g *rig) ata(protocol, opcode byte, feature, count uint16, lba uint64, out []byte) answer {
	g.t.Helper()
	r, _ := g.send(pass(protocol, opcode, feature, count, lba), out, 0)
	return readAnswer(r)
}

func (g *rig) identity() []uint16 {
	g.t.Helper()
	_, page := g.send([]byte{0x85, 0x08, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0}, nil, 512)
	if len(page) != 512 {
		g.t.Fatalf("IDENTIFY DEVICE: %d bytes", len(page))
	}
	words := make([]uint16, 256)
	for i := range words {
		words[i] = binary.LittleEndian.Uint16(page[2*i:])
	}
	return words
}

func (g *rig) sectors() uint64 {
	w := g.identity()
	return uint64(w[100]) | uint64(w[101])<<16 | uint64(w[102])<<32
}

// secret is the data block of ATA Security: identifier, enhanced or maximum in its first word.
func secret(word uint16, password string) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint16(b, word)
	copy(b[2:34], password)
	return b
}

const (
	crypto    = 0x43727970
	blockSig  = 0x426b4572
	overwrite = 0x4f57 << 32
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

func TestSecurityStates(t *testing.T) {
	security := func(g *rig) uint16 { return g.identity()[128] }
	t.Run("erase", func(t *testing.T) {
		for _, x := range []struct {
			name, profile       string
			word                uint16
			addressable, hidden bool
			newKey              bool
			begun               string
		}{
			{"normal", "sata-hdd-hpa", 0, false, true, false, "f4:0"}, {"enhanced", "sata-hdd-hpa", 2, false, false, false, "f4:1"},
			{"enhanced by key", "sata-ssd", 2, false, false, true, "f4:1"}, {"normal of an SSD", "sata-ssd", 0, false, true, false, "f4:0"},
		} {
			g := newRig(t, Spec{Profile: x.profile})
			before := g.medium().Key()
			if a := g.ata(5, 0xf4, 0, 0, 0, secret(x.word, "pw")); !a.failed {
				t.Errorf("%s: a user password that is not set erased", x.name)
			}
			if a := g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw")); a.failed || security(g) != 0x23 || g.identity()[85]&2 == 0 || !g.medium().Locked() {
				t.Errorf("%s: set password: %+v, word 128 %04x", x.name, a, security(g))
			}
			if a := g.ata(5, 0xf4, 0, 0, 0, secret(x.word, "pw")); !a.failed || a.failure != 4 {
				t.Errorf("%s: ERASE UNIT without PREPARE: %+v", x.name, a)
			}
			g.ata(3, 0xf3, 0, 0, 0, nil)
			g.identity()
			if a := g.ata(5, 0xf4, 0, 0, 0, secret(x.word, "pw")); !a.failed {
				t.Errorf("%s: a command between PREPARE and UNIT was overlooked", x.name)
			}
			g.ata(3, 0xf3, 0, 0, 0, nil)
			g.readable()
			if a := g.ata(5, 0xf4, 0, 0, 0, secret(x.word, "pw")); !a.failed {
				t.Errorf("%s: a read between PREPARE and UNIT was overlooked", x.name)
			}
			g.holds(x.name+" before", true, true)
			g.ata(3, 0xf3, 0, 0, 0, nil)
			if a := g.ata(5, 0xf4, 0, 0, 0, secret(x.word, "pw")); a.failed || security(g) != 0x21 || g.medium().Locked() {
				t.Errorf("%s: %+v, word 128 %04x", x.name, a, security(g))
			}
			g.holds(x.name, x.addressable, x.hidden)
			if changed := !bytes.Equal(before, g.medium().Key()); changed != x.newKey {
				t.Errorf("%s: the key changed: %v", x.name, changed)
			}
			if got := g.medium().Begun(); !slices.Equal(got, []string{x.begun}) {
				t.Errorf("%s: begun %q", x.name, got)
			}
		}
	})
	t.Run("locked", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd"})
		g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw"))
		if ok, _ := g.readable(); !ok {
			t.Error("locked without a power cycle")
		}
		g.reopen()
		if ok, _ := g.readable(); !ok {
			t.Error("locked by closing the node")
		}
		g.cycle()
		if ok, _ := g.readable(); ok || security(g) != 0x27 {
			t.Errorf("not locked: word 128 %04x", security(g))
		}
		if _, err := backend(t, g.tr).WriteAt(make([]byte, 512), 0); !errors.Is(err, errIO) {
			t.Errorf("written: %v", err)
		}
		for name, a := range map[string]answer{
			"sanitize": g.ata(3, 0xb4, 0x12, 0, blockSig, nil), "disable": g.ata(5, 0xf6, 0, 0, 0, secret(0, "pw")), "set": g.ata(5, 0xf1, 0, 0, 0, secret(0, "x")),
			"freeze": g.ata(3, 0xf5, 0, 0, 0, nil), "verify": g.ata(3, 0x42, 0, 1, 0, nil),
		} {
			if !a.failed {
				t.Errorf("%s while locked: %+v", name, a)
			}
		}
		for n := range 5 {
			if a := g.ata(5, 0xf2, 0, 0, 0, secret(0, "wrong")); !a.failed || (security(g)&(1<<4) != 0) != (n == 4) {
				t.Errorf("wrong password %d: %+v, word 128 %04x", n, a, security(g))
			}
		}
		g.ata(3, 0xf3, 0, 0, 0, nil)
		if !g.ata(5, 0xf4, 0, 0, 0, secret(0, "pw")).failed || !g.ata(5, 0xf2, 0, 0, 0, secret(0, "pw")).failed {
			t.Error("the right password after five wrong ones")
		}
		g.cycle()
		if a := g.ata(5, 0xf2, 0, 0, 0, secret(0, "pw")); a.failed || security(g) != 0x23 {
			t.Errorf("unlock: %+v", a)
		}
		if a := g.ata(5, 0xf6, 0, 0, 0, secret(0, "pw")); a.failed || security(g) != 0x21 {
			t.Errorf("disable: %+v", a)
		}
		g.holds("afterwards", true, true)
	})
	t.Run("master", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd"})
		g.ata(5, 0xf1, 0, 0, 0, secret(1, "master"))
		g.ata(5, 0xf1, 0, 0, 0, secret(1<<8, "pw"))
		g.cycle()
		if security(g) != 0x127 || !g.ata(5, 0xf2, 0, 0, 0, secret(1, "master")).failed {
			t.Errorf("the master unlocked at maximum: word 128 %04x", security(g))
		}
		g.ata(3, 0xf3, 0, 0, 0, nil)
		if a := g.ata(5, 0xf4, 0, 0, 0, secret(1, "master")); a.failed || security(g) != 0x21 {
			t.Errorf("the master does not erase: %+v", a)
		}
		g.holds("erased by the master", false, true)
	})
	t.Run("frozen", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd-frozen"})
		if security(g) != 0x29 || !g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw")).failed || !g.ata(3, 0xf3, 0, 0, 0, nil).failed {
			t.Errorf("word 128 %04x", security(g))
		}
		g.cycle()
		if security(g) != 0x21 || g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw")).failed {
			t.Error("still frozen")
		}
		if g.ata(3, 0xf5, 0, 0, 0, nil).failed || security(g)&8 == 0 {
			t.Error("cannot be frozen")
		}
	})
	t.Run("power cut", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd"}, "sanitize-power-cut:50")
		g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw"))
		g.ata(3, 0xf3, 0, 0, 0, nil)
		c := &scsi.Command{CDB: pass(5, 0xf4, 0, 0, 0), Direction: scsi.DataOut, Data: secret(0, "pw"), Timeout: 1}
		if _, err := g.tr.SCSI(t.Context(), c); !errors.Is(err, devices.ErrGone) {
			t.Fatalf("%v", err)
		}
		g.reopen()
		if security(g) != 0x27 {
			t.Errorf("word 128 %04x", security(g))
		}
		m := g.medium()
		half, rest := make([]byte, 512), make([]byte, 512)
		if _, err := m.ReadAt(half, 0); err != nil || !zero(half) {
			t.Errorf("the beginning is not erased, %v", err)
		}
		if _, err := m.ReadAt(rest, 1<<20-512); err != nil || zero(rest) {
			t.Errorf("the end is erased, %v", err)
		}
		g.ata(3, 0xf3, 0, 0, 0, nil)
		if a := g.ata(5, 0xf4, 0, 0, 0, secret(2, "pw")); a.failed || security(g) != 0x21 {
			t.Errorf("erase of a locked drive: %+v", a)
		}
		g.holds("after all", false, false)
	})
	for fault, state := range map[string]uint16{"sanitize-fail:40": 0x23, "refuse:erase-unit": 0x23, "refuse:erase-prepare": 0x23, "sanitize-refused:2": 0x23, "refuse:set-password": 0x21} {
		t.Run(fault, func(t *testing.T) {
			g := newRig(t, Spec{Profile: "sata-hdd"}, fault)
			g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw"))
			g.ata(3, 0xf3, 0, 0, 0, nil)
			if a := g.ata(5, 0xf4, 0, 0, 0, secret(0, "pw")); !a.failed || a.failure != 4 || security(g) != state {
				t.Errorf("%+v, word 128 %04x", a, security(g))
			}
			g.holds(fault, true, true)
		})
	}
	t.Run("a locked drive out of the box", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd-locked"})
		if ok, _ := g.readable(); ok || security(g) != 0x27 || !g.medium().Locked() {
			t.Errorf("word 128 %04x", security(g))
		}
	})
	t.Run("none", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-old"})
		if w := g.identity(); w[128] != 0 || w[59] != 0 || w[82]&2 != 0 || !g.ata(5, 0xf1, 0, 0, 0, secret(0, "pw")).failed || !g.ata(3, 0xb4, 0, 0, 0, nil).failed {
			t.Error("it has what it should not have")
		}
	})
}

func TestHiddenAreas(t *testing.T) {
	geometry := func(g *rig) int64 {
		s, err := g.tr.Geometry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.SizeBytes
	}
	t.Run("HPA", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd-hpa"})
		w := g.identity()
		if w[82]&(1<<10) == 0 || w[85]&(1<<10) == 0 || w[86]&(1<<15) == 0 || g.sectors() != 1536 || geometry(g) != 1536*512 {
			t.Fatalf("%d sectors, node of %d bytes", g.sectors(), geometry(g))
		}
		if a := g.ata(3, 0x37, 0, 1, 2047, nil); !a.failed || a.failure != 4 {
			t.Errorf("SET MAX without READ NATIVE MAX: %+v", a)
		}
		if a := g.ata(3, 0x27, 0, 0, 0, nil); a.failed || a.lba != 2047 {
			t.Errorf("native max: %+v", a)
		}
		if a := g.ata(3, 0x37, 0, 1, 2048, nil); !a.failed || a.failure != 1<<4 {
			t.Errorf("beyond the native max: %+v", a)
		}
		if a := g.ata(3, 0xb1, 0xc0, 0, 0, nil); !a.failed {
			t.Errorf("DCO RESTORE while an HPA is set: %+v", a)
		}
		g.ata(3, 0x27, 0, 0, 0, nil)
		if a := g.ata(3, 0x37, 0, 1, 2047, nil); a.failed || g.sectors() != 2048 || geometry(g) != 1536*512 {
			t.Errorf("%+v, %d sectors, node of %d bytes", a, g.sectors(), geometry(g))
		}
		if err := g.tr.Rescan(t.Context()); err != nil || geometry(g) != 1<<20 {
			t.Errorf("after a rescan the node has %d bytes, %v", geometry(g), err)
		}
		if size, err := readText(g.rack.Root() + "/sys/block/sda/size"); err != nil || size != "2048" {
			t.Errorf("sysfs says %s, %v", size, err)
		}
		if _, err := backend(t, g.tr).ReadAt(make([]byte, 512), 2047*512); err != nil {
			t.Errorf("the last block: %v", err)
		}
		g.ata(3, 0x27, 0, 0, 0, nil)
		if a := g.ata(3, 0x37, 0, 1, 999, nil); !a.failed || a.failure != 1<<4 {
			t.Errorf("a second permanent change: %+v", a)
		}
		g.ata(3, 0x27, 0, 0, 0, nil)
		if a := g.ata(3, 0x37, 0, 0, 999, nil); a.failed || g.sectors() != 1000 {
			t.Errorf("a volatile one: %+v", a)
		}
		if _, err := backend(t, g.tr).ReadAt(make([]byte, 512), 1000*512); !errors.Is(err, errIO) {
			t.Errorf("beyond what the drive shows: %v", err)
		}
		if a := g.ata(3, 0x42, 0, 1, 1000, nil); !a.failed || a.failure != 1<<4 || a.lba != 1000 {
			t.Errorf("READ VERIFY there: %+v", a)
		}
		g.cycle()
		if g.sectors() != 2048 || geometry(g) != 1<<20 {
			t.Errorf("after a power cycle: %d sectors, node of %d bytes", g.sectors(), geometry(g))
		}
	})
	t.Run("after a power cycle only", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd-hpa", SizeAfterPowerCycle: true})
		g.ata(3, 0x27, 0, 0, 0, nil)
		if a := g.ata(3, 0x37, 0, 1, 2047, nil); a.failed || g.sectors() != 1536 {
			t.Errorf("%+v, %d sectors", a, g.sectors())
		}
		g.cycle()
		if g.sectors() != 2048 || geometry(g) != 1<<20 {
			t.Errorf("%d sectors, node of %d bytes", g.sectors(), geometry(g))
		}
	})
	t.Run("DCO", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd-dco"})
		if a := g.ata(3, 0x27, 0, 0, 0, nil); a.lba != 1535 {
			t.Errorf("native max: %+v", a)
		}
		_, page := g.send([]byte{0x85, 0x08, 0x0e, 0, 0xc2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xb1, 0}, nil, 512)
		sum := byte(0)
		for _, c := range page {
			sum += c
		}
		if len(page) != 512 || binary.LittleEndian.Uint64(page[6:]) != 2047 || sum != 0 || page[510] != 0xa5 {
			t.Errorf("%d bytes, max %x, sum %d", len(page), page[:16], sum)
		}
		if a := g.ata(3, 0xb1, 0xc0, 0, 0, nil); a.failed || g.sectors() != 2048 {
			t.Errorf("restore: %+v, %d sectors", a, g.sectors())
		}
		g.ata(3, 0xb1, 0xc1, 0, 0, nil)
		if a := g.ata(3, 0xb1, 0xc0, 0, 0, nil); !a.failed {
			t.Errorf("frozen: %+v", a)
		}
	})
	t.Run("AMA", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd-ama"})
		if w := g.identity(); w[119] != 1<<14|1<<8 || w[120] != 1<<14|1<<8 || w[82]&(1<<10) != 0 || g.sectors() != 1536 {
			t.Errorf("words 119 %04x, 120 %04x", w[119], w[120])
		}
		if a := g.ata(3, 0x78, 0, 0, 0, nil); a.failed || a.lba != 2047 {
			t.Errorf("native: %+v", a)
		}
		if a := g.ata(3, 0x78, 1, 0, 2047, nil); a.failed || g.sectors() != 2048 {
			t.Errorf("set: %+v", a)
		}
		if a := g.ata(3, 0x78, 1, 0, 99, nil); !a.failed || g.sectors() != 2048 {
			t.Errorf("a second one: %+v", a)
		}
	})
	t.Run("refused", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd-hpa"}, "refuse:set-max")
		g.ata(3, 0x27, 0, 0, 0, nil)
		if a := g.ata(3, 0x37, 0, 1, 2047, nil); !a.failed || g.sectors() != 1536 {
			t.Errorf("%+v", a)
		}
	})
}

func TestReadVerify(t *testing.T) {
	g := newRig(t, Spec{Profile: "sata-hdd", SizeBytes: 40 << 20}, "read-error:1000+2")
	for _, x := range []struct {
		name    string
		lba     uint64
		count   uint16
		failure byte
		at      uint64
	}{{"good", 0, 1000, 0, 0}, {"unreadable", 990, 20, 1 << 6, 1000}, {"0 is 65536", 10000, 0, 0, 0}, {"0 is 65536, beyond", 20000, 0, 1 << 4, 81920}, {"last", 81919, 1, 0, 0}, {"behind", 81920, 1, 1 << 4, 81920}} {
		if a := g.ata(3, 0x42, 0, x.count, x.lba, nil); a.failure != x.failure || a.failed != (x.failure != 0) || a.failed && a.lba != x.at {
			t.Errorf("%s: %+v", x.name, a)
		}
	}
}

func TestTranslations(t *testing.T) {
	t.Run("fixed format", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-fixed-sense"})
		r, _ := g.send(pass(3, 0xb4, 0x12, 0, blockSig), nil, 0)
		if want := []byte{0x70, 0, 1, 0, 0x50, 0x40, 0, 10, 0xc0, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0}; !bytes.Equal(r.Sense, want) {
			t.Errorf("% x", r.Sense)
		}
		r, _ = g.send(pass(3, 0xb4, 0x12, 0, 0), nil, 0)
		if want := []byte{0xf0, 0, 0x0b, 4, 0x51, 0x40, 0, 10, 0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0}; !bytes.Equal(r.Sense, want) {
			t.Errorf("% x", r.Sense)
		}
		g.wait(50)
		r, _ = g.send(pass(3, 0xb4, 0, 0, 0), nil, 0)
		if len(r.Sense) != 18 || r.Sense[10] != 0x80 || r.Sense[6] != 0 {
			t.Errorf("half way: % x", r.Sense)
		}
	})
	t.Run("12 bytes", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd-hpa"})
		_, page := g.send([]byte{0xa1, 0x08, 0x0e, 0, 1, 0, 0, 0, 0, 0xec, 0, 0}, nil, 512)
		if len(page) != 512 || page[510] != 0xa5 {
			t.Errorf("IDENTIFY: %d bytes", len(page))
		}
		r, _ := g.send([]byte{0xa1, 0x06, 0x20, 0, 0, 0, 0, 0, 0x40, 0xf8, 0, 0}, nil, 0)
		if a := readAnswer(r); a.failed || a.lba != 2047 || r.Sense[10] != 0 {
			t.Errorf("READ NATIVE MAX: %+v", a)
		}
		r, _ = g.send([]byte{0xa1, 0x06, 0x20, 0, 1, 0xff, 0x07, 0, 0x40, 0xf9, 0, 0}, nil, 0)
		if a := readAnswer(r); a.failed || g.sectors() != 2048 {
			t.Errorf("SET MAX: %+v", a)
		}
	})
	t.Run("registers zeroed on the way in", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd"}, "hba-zero:count")
		g.ata(3, 0xb4, 0x14, 1, overwrite, nil)
		g.wait(1599)
		if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.count != 1<<14 {
			t.Errorf("one pass was not made sixteen: %+v", a)
		}
		g = newRig(t, Spec{Profile: "sata-hdd"}, "hba-zero:lba")
		if a := g.ata(3, 0xb4, 0x14, 1, overwrite, nil); !a.failed {
			t.Errorf("a signature came through: %+v", a)
		}
	})
	t.Run("security protocol", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-ssd", FilterSecurity: true})
		if r, _ := g.send(pass(5, 0xf1, 0, 0, 0), secret(0, "pw"), 0); key(r) != 0x052400 {
			t.Errorf("F1h through a filter: %+v", r)
		}
		info := func() []byte {
			return g.want("info", 0, []byte{0xa2, 0xef, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0}, nil, 16)
		}
		if b := info(); !bytes.Equal(b, []byte{0, 14, 0, 1, 0, 1, 0xff, 0xfe, 0, 0x21, 0, 0, 0, 0, 0, 0}) {
			t.Errorf("% x", b)
		}
		send := func(what string, function byte, length int, enhanced byte) {
			t.Helper()
			var list []byte
			if length > 0 {
				list = make([]byte, length)
				list[0] = enhanced
				copy(list[2:], "pw")
			}
			g.want(what, 0, []byte{0xb5, 0xef, 0, function, 0, 0, 0, 0, 0, byte(length), 0, 0}, list, 0)
		}
		send("set", 1, 36, 0)
		if b := info(); b[9] != 0x23 {
			t.Errorf("% x", b)
		}
		send("prepare", 3, 0, 0)
		send("erase", 4, 34, 1)
		if b := info(); b[9] != 0x21 {
			t.Errorf("% x", b)
		}
		g.holds("enhanced erase", false, false)
		if got := g.medium().Begun(); !slices.Equal(got, []string{"f4:1"}) {
			t.Errorf("%q", got)
		}
	})
	t.Run("docks", func(t *testing.T) {
		for profile, registers := range map[string]bool{"usb-sata": true, "usb-sata-drops": false} {
			g := newRig(t, Spec{Profile: profile})
			inq := g.want("inquiry", 0, []byte{0x12, 0, 0, 0, 36, 0}, nil, 36)
			serial := g.want("serial", 0, []byte{0x12, 1, 0x80, 0, 64, 0}, nil, 64)
			if bytes.HasPrefix(inq[8:], []byte("ATA")) || string(serial[4:]) == "S" || !bytes.HasPrefix(serial[4:], []byte("D0C")) {
				t.Errorf("%q, %q", inq[8:], serial)
			}
			if w := g.identity(); w[10] != uint16('S')<<8|' ' {
				t.Errorf("IDENTIFY through the dock: serial %04x", w[10])
			}
			if a := g.ata(3, 0xb4, 0, 0, 0, nil); a.checkReturned != registers {
				t.Errorf("%s: %+v", profile, a)
			}
		}
		g := newRig(t, Spec{Profile: "usb-stick"})
		g.want("the power-on", 0x062900, []byte{0, 0, 0, 0, 0, 0}, nil, 0)
		for _, cdb := range [][]byte{pass(3, 0xb4, 0, 0, 0), {0xa1, 0x08, 0x0e, 0, 1, 0, 0, 0, 0, 0xec, 0, 0}, {0x48, 0x83, 0, 0, 0, 0, 0, 0, 0, 0}, {0x04, 0, 0, 0, 0, 0}} {
			g.want("stick", 0x052000, cdb, nil, 0)
		}
	})
	t.Run("SCSI commands of the translation", func(t *testing.T) {
		g := newRig(t, Spec{Profile: "sata-hdd"})
		data := bytes.Repeat([]byte{0x5a}, 1024)
		g.want("write", 0, []byte{0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0}, data, 0)
		g.want("sync", 0, []byte{0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
		if got := g.want("read", 0, []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0}, nil, 1024); !bytes.Equal(got, data) {
			t.Error("reads something else")
		}
		g.want("beyond", 0x052100, []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0, 0}, nil, 512)
		if b := g.want("mode sense", 0, []byte{0x5a, 8, 0x0a, 0, 0, 0, 0, 0, 64, 0}, nil, 64); len(b) != 20 || b[8] != 0x0a {
			t.Errorf("% x", b)
		}
		if b := g.want("LUNs", 0, []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, nil, 64); len(b) != 16 || b[3] != 8 {
			t.Errorf("% x", b)
		}
	})
}
