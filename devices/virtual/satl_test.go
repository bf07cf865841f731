package virtual

import (
	"bytes"
	"slices"
	"testing"
)

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
		g := newRig(t, Spec{Profile: "sata-ssd", FilterSecurity: true, EraseSeconds: 120})
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
		send("erase", 4, 36, 1)
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
