package virtual

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

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
