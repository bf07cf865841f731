package virtual

import (
	"encoding/binary"
	"errors"
	"testing"
)

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
