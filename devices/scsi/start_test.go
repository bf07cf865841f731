package scsi

import (
	"bytes"
	"testing"
)

func TestSanitizeRefuses(t *testing.T) {
	one := []byte{0}
	for name, s := range map[string]Sanitize{
		"no action": {}, "reserved action": {Action: 4}, "no passes": {Action: SanitizeOverwrite, Pattern: one, BlockLength: 512},
		"32 passes": {Action: SanitizeOverwrite, Count: 32, Pattern: one, BlockLength: 512}, "no pattern": {Action: SanitizeOverwrite, Count: 1, BlockLength: 512},
		"pattern longer than a block": {Action: SanitizeOverwrite, Count: 1, Pattern: make([]byte, 513), BlockLength: 512},
		"no block length":             {Action: SanitizeOverwrite, Count: 1, Pattern: one},
		"list too long":               {Action: SanitizeOverwrite, Count: 1, Pattern: make([]byte, 1<<16-4), BlockLength: 1 << 20},
		"passes of a block erase":     {Action: SanitizeBlockErase, Count: 1}, "pattern of a crypto erase": {Action: SanitizeCryptoErase, Pattern: one},
		"inverse of a block erase": {Action: SanitizeBlockErase, Invert: true}, "exit with AUSE": {Action: SanitizeExitFailure, AUSE: true},
	} {
		if c, err := s.Command(); err == nil {
			t.Errorf("%s: %x", name, c.CDB)
		}
	}
	for a, want := range map[SanitizeAction]string{SanitizeOverwrite: "overwrite", SanitizeBlockErase: "block erase", SanitizeCryptoErase: "crypto erase", SanitizeExitFailure: "exit failure mode", 4: "reserved action 04h"} {
		if a.String() != want {
			t.Errorf("%02x: %v", uint8(a), a)
		}
	}
}

func TestFormatRefuses(t *testing.T) {
	for name, f := range map[string]FormatUnit{"reserved": {ProtectionInformation: 1}, "too high": {ProtectionInformation: 4}, "pattern too long": {Pattern: make([]byte, 1<<16)}} {
		if c, err := f.Command(); err == nil {
			t.Errorf("%s: %x", name, c.CDB)
		}
	}
	// A length that has no room is not sent as another one.
	if c := ModeSelectBlockLength(1<<24 | 512); !bytes.Equal(c.Data[12:], []byte{1, 0, 2, 0}) {
		t.Errorf("%x", c.Data)
	}
}

func TestParseRequestSense(t *testing.T) {
	pad := func(s string) []byte { return append(unhex(t, s), make([]byte, 4)...) }
	for _, x := range []struct {
		name string
		b    []byte
		want Sense
	}{
		{"nothing to tell", pad("700000000000000a00000000000000000000"), Sense{}},
		{"nothing to tell, descriptor format", pad("7200000000000000"), Sense{Descriptor: true}},
		{"in progress", pad("700002000000000a00000000041b00804000"), Sense{Key: 2, ASC: 4, ASCQ: 0x1b, Progress: 0x4000, ProgressValid: true}},
		{"a progress behind its length", pad("7000020000000006000000000" + "41b00804000"), Sense{Key: 2, ASC: 4, ASCQ: 0x1b}},
	} {
		s, err := ParseRequestSense(x.b)
		s.Raw = nil
		if err != nil || s.Key != x.want.Key || s.ASC != x.want.ASC || s.ASCQ != x.want.ASCQ || s.Progress != x.want.Progress || s.ProgressValid != x.want.ProgressValid || s.Descriptor != x.want.Descriptor {
			t.Errorf("%s: %+v %v", x.name, s, err)
		}
	}
	for name, b := range map[string][]byte{"none": nil, "zeros": make([]byte, 252), "response code 0": unhex(t, "80000000000000000000000000000000")} {
		if s, err := ParseRequestSense(b); err != ErrNoSense {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
	for name, s := range map[string]string{"in part": "700002000000000a00000000041b", "header": "7000", "without codes": "7000000000000000", "reserved": "7f00000000000000"} {
		if s, err := ParseRequestSense(unhex(t, s)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
