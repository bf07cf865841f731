package virtual

import (
	"bytes"
	"slices"
	"testing"
)

// inquiry is a page of vital product data, or with 0 the standard INQUIRY data.
func (g *rig) inquiry(page byte) []byte {
	g.t.Helper()
	cdb := []byte{0x12, 0, page, 0, 255, 0}
	if page != 0 {
		cdb[1] = 1
	}
	return g.want("INQUIRY", 0, cdb, nil, 255)
}

// What a drive says in one place is what it says in another: tools that were written apart read both.
func TestPagesAgree(t *testing.T) {
	for _, profile := range []string{"sata-ssd", "sata-hdd"} {
		g := newRig(t, Spec{Profile: profile})
		if revision := string(g.inquiry(0)[32:36]); revision != "1.0 " {
			t.Errorf("%s: revision %q, which is the last four characters of %q (SAT-4 9.2)", profile, revision, firmware)
		}
		words, character := g.identity(), g.inquiry(0xb1)
		if form := words[168] & 0x0f; form == 0 || form != uint16(character[7]&0x0f) {
			t.Errorf("%s: form factor %d and %d", profile, form, character[7]&0x0f)
		}
		if rotation := words[217]; rotation != uint16(character[4])<<8|uint16(character[5]) {
			t.Errorf("%s: rotation %d and %x", profile, rotation, character[4:6])
		}
	}
	for _, profile := range []string{"sata-ssd", "sas-ssd"} {
		g := newRig(t, Spec{Profile: profile})
		if profile == "sas-ssd" {
			g.want("the power-on", 0x062900, tur, nil, 0)
		}
		if limits, provisioning := g.inquiry(0xb0), g.inquiry(0xb2); !bytes.Equal(limits[20:36], make([]byte, 16)) || provisioning[5] != 0 || provisioning[6] != 0 {
			t.Errorf("%s: limits %x, provisioning %x, and no UNMAP", profile, limits, provisioning)
		}
		g.want("UNMAP", 0x052000, []byte{0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0)
	}
}

// The usage data of a command with a service action has that where it is in the CDB (SPC-5 6.36.3).
func TestOpcodeUsage(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-ssd"})
	for _, action := range []byte{2, 3, 0x1f} {
		reply := g.want("REPORT SUPPORTED OPERATION CODES", 0, []byte{0xa3, 0x0c, 3, 0x48, 0, action, 0, 0, 0, 64, 0, 0}, nil, 64)
		if len(reply) != 14 || reply[1] != 3 || reply[4] != 0x48 || reply[5]&0x1f != action {
			t.Errorf("action %d: %x", action, reply)
		}
	}
}

// A block descriptor may come with the mode page that was read with it, as sg_format sends it.
func TestModeSelectWithPage(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-520"})
	list := g.want("MODE SENSE", 0, []byte{0x5a, 0, 0x01, 0, 0, 0, 0, 0, 252, 0}, nil, 252)
	if len(list) != 8+8+12 {
		t.Fatalf("%x", list)
	}
	list[0], list[1] = 0, 0
	copy(list[8:], []byte{0, 0, 0, 0, 0, 0, 2, 0}) // all of it in blocks of 512
	changed := slices.Clone(list)
	changed[20] = 1
	length := byte(len(list))
	g.want("a page that is changed", 0x052600, []byte{0x55, 1 << 4, 0, 0, 0, 0, 0, 0, length, 0}, changed, 0)
	g.want("part of a page", 0x052600, []byte{0x55, 1 << 4, 0, 0, 0, 0, 0, 0, length - 1, 0}, list[:length-1], 0)
	g.want("with its page", 0, []byte{0x55, 1 << 4, 0, 0, 0, 0, 0, 0, length, 0}, list, 0)
	if next := g.medium().memory.Units[0].Next; next == nil || next.Block != 512 {
		t.Errorf("the next format makes %+v", next)
	}
}
