package ata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

func overlayPage() []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint16(b, 2)
	binary.LittleEndian.PutUint64(b[6:], 0x1d1c0beaf)
	b[510] = 0xa5
	b[511] = -sum(b)
	return b
}

func TestHiddenAreas(t *testing.T) {
	type areas struct{ hpa, password, dco, ama bool }
	for _, x := range []struct {
		name string
		w    map[int]uint16
		want areas
	}{
		{"none", map[int]uint16{83: 1 << 14, 87: 1 << 14}, areas{}},
		{"HPA", map[int]uint16{82: 1 << 10, 83: 1 << 14, 87: 1 << 14}, areas{hpa: true}},
		{"HPA whose word is not valid", map[int]uint16{82: 1 << 10, 83: 1 << 15}, areas{}},
		{"password supported", map[int]uint16{82: 1 << 10, 83: 1<<14 | 1<<8, 87: 1 << 14}, areas{hpa: true}},
		{"password enabled", map[int]uint16{82: 1 << 10, 83: 1<<14 | 1<<8, 86: 1 << 8, 87: 1 << 14}, areas{hpa: true, password: true}},
		{"DCO", map[int]uint16{83: 1<<14 | 1<<11}, areas{dco: true}},
		{"AMA", map[int]uint16{86: 1 << 15, 87: 1 << 14, 119: 1<<14 | 1<<8}, areas{ama: true}},
		{"AMA without words 119 and 120", map[int]uint16{87: 1 << 14, 119: 1<<14 | 1<<8}, areas{}},
		{"ones", map[int]uint16{82: 0xffff, 83: 0xffff, 86: 0xffff, 87: 0xffff, 119: 0xffff}, areas{}},
	} {
		i := words(x.w)
		if got := (areas{i.HPA(), i.HPAPassword(), i.DCO(), i.AMA()}); got != x.want {
			t.Errorf("%s: %+v", x.name, got)
		}
	}
}

func TestParseMaxLBA(t *testing.T) {
	g := Registers{Whole: true, Extend: true, Status: 0x50, LBA: 0x1d1c0beaf, Device: 0x4b}
	if lba, err := ParseMaxLBA(g, true); err != nil || lba != 0x1d1c0beaf {
		t.Errorf("%x %v", lba, err)
	}
	if lba, err := ParseMaxLBA(Registers{Whole: true, Status: 0x50, LBA: 0xc0beaf, Device: 0x4b}, false); err != nil || lba != 0xbc0beaf {
		t.Errorf("%x %v", lba, err)
	}
	half := g
	half.Extend = false
	lost := g
	lost.Whole = false
	for name, g := range map[string]Registers{"halves": half, "not whole": lost} {
		if lba, err := ParseMaxLBA(g, true); !errors.Is(err, ErrNoRegisters) {
			t.Errorf("%s: %x %v", name, lba, err)
		}
	}
	for name, x := range map[string]struct {
		g      Registers
		extend bool
	}{
		"zero": {Registers{Whole: true, Extend: true}, true}, "ones": {Registers{Whole: true, Extend: true, LBA: 1<<48 - 1}, true},
		"needs 48 bits": {Registers{Whole: true, LBA: 0xffffff, Device: 0x4f}, false},
	} {
		if lba, err := ParseMaxLBA(x.g, x.extend); err == nil {
			t.Errorf("%s: %x", name, lba)
		}
	}
	if c, err := SetMax(1<<28, false, true).SCSI(); err == nil {
		t.Errorf("an address that does not fit 28 bits: %x", c.CDB)
	}
}

func TestParseDCOMax(t *testing.T) {
	if lba, err := ParseDCOMax(overlayPage()); err != nil || lba != 0x1d1c0beaf {
		t.Errorf("%x %v", lba, err)
	}
	bad := overlayPage()
	bad[6]++
	for name, b := range map[string][]byte{"zeros": make([]byte, 512), "ones": bytes.Repeat([]byte{0xff}, 512), "short": overlayPage()[:511], "checksum": bad} {
		if lba, err := ParseDCOMax(b); err == nil {
			t.Errorf("%s: %x", name, lba)
		}
	}
}
