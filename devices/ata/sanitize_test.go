package ata

import (
	"errors"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices/scsi"
)

func TestSanitizeRefuses(t *testing.T) {
	for name, s := range map[string]Sanitize{
		"no such feature": {Feature: 0x13}, "no passes": {Feature: OverwriteExt}, "16 passes": {Feature: OverwriteExt, Passes: 16},
		"passes of a block erase": {Feature: BlockEraseExt, Passes: 1}, "pattern of a crypto scramble": {Feature: CryptoScrambleExt, Pattern: 1},
		"inverse of a block erase": {Feature: BlockEraseExt, Invert: true}, "ending of a status": {Definitive: true},
		"clear failed with a start": {Feature: BlockEraseExt, ClearFailed: true}, "failure mode of a status": {FailureMode: true},
		"failure mode of a lock": {Feature: SanitizeFreezeLockExt, FailureMode: true}, "zones of a status": {ZNR: true},
	} {
		if c, err := s.Command(); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if c, err := (Sanitize{Feature: BlockEraseExt, ZNR: true, FailureMode: true}).Command(); err != nil || c.Count != 0x8010 {
		t.Errorf("zones not reset: %+v %v", c, err)
	}
	for f, want := range map[SanitizeFeature]string{
		SanitizeStatusExt: "sanitize status", CryptoScrambleExt: "crypto scramble", BlockEraseExt: "block erase", OverwriteExt: "overwrite", 0x13: "reserved feature 0013h",
	} {
		if f.String() != want {
			t.Errorf("%04x: %v", uint16(f), f)
		}
		if c, err := (Sanitize{Feature: f, Passes: map[bool]uint8{true: 1}[f == OverwriteExt]}).Command(); err == nil && (c.Timeout == startTimeout) != f.starts() {
			t.Errorf("%v: a timeout of %v", f, c.Timeout)
		}
	}
}

// The state of an operation is taken from whole registers or not at all.
func TestParseSanitizeStatus(t *testing.T) {
	const head = "72 01 00 1d 00 00 00 0e 09 0c "
	for _, x := range []struct {
		name, sense string
		want        SanitizeStatus
	}{
		{"never run", head + "01 00 00 00 00 ff 00 ff 00 00 40 50", SanitizeStatus{}},
		{"completed", head + "01 00 80 00 00 ff 00 ff 00 00 40 50", SanitizeStatus{Completed: true}},
		{"in progress", head + "01 00 40 00 00 34 00 12 00 00 40 50", SanitizeStatus{InProgress: true, Progress: 0x1234}},
		{"frozen after a success", head + "01 00 a0 00 00 ff 00 ff 00 00 40 50", SanitizeStatus{Completed: true, Frozen: true}},
		{"antifreeze", head + "01 00 10 00 00 ff 00 ff 00 00 40 50", SanitizeStatus{Antifreeze: true}},
		{"failed", "72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 01 00 00 00 00 40 51", SanitizeStatus{Failed: true, Reason: 1}},
		{"failed, as the drive's own sense", "72 03 31 03 00 00 00 0e 09 0c 01 04 10 00 00 01 00 00 00 00 40 51", SanitizeStatus{Failed: true, Antifreeze: true, Reason: 1}},
		{"failed, registers as asked for", "72 01 00 1d 00 00 00 0e 09 0c 00 04 80 00 00 01 00 00 00 00 40 51", SanitizeStatus{Failed: true, Reason: 1}},
	} {
		if s, err := ParseSanitizeStatus(unhex(t, x.sense)); err != nil || s != x.want {
			t.Errorf("%s: %+v %v", x.name, s, err)
		}
	}
	for name, sense := range map[string]string{
		"none": "", "zeros": strings.Repeat("00", 22), "registers of zeros": head + "00 00 00 00 00 00 00 00 00 00 00 00",
		"upper halves that mean nothing": head + "00 00 80 00 00 ff 00 ff 00 00 40 50", "busy": head + "01 00 80 00 00 00 00 00 00 00 00 d0",
		"fixed format":          "70 00 01 00 50 40 00 0a 80 ff ff 00 00 1d 00 00 00 00",
		"fixed format, aborted": "70 00 01 04 51 40 00 0a 80 01 00 00 00 1d 00 00 00 00",
		"of an earlier command": "73 01 00 1d 00 00 00 0e 09 0c 01 00 80 00 00 ff 00 ff 00 00 40 50",
		"no registers":          "72 01 00 1d 00 00 00 00",
	} {
		if s, err := ParseSanitizeStatus(unhex(t, sense)); !errors.Is(err, ErrNoRegisters) || s != (SanitizeStatus{}) {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
	var aborted *Error
	for sense, want := range map[string]string{
		"72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 00 00 00 00 00 40 51": "refused in this state",
		"72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 02 00 00 00 00 40 51": "invalid feature",
		"72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 03 00 00 00 00 40 51": "frozen",
		"72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 04 00 00 00 00 40 51": "antifreeze",
		"72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 05 00 00 00 00 40 51": "reserved reason 05h",
		"72 0b 00 00 00 00 00 0e 09 0c 01 00 00 00 00 01 00 00 00 00 40 51": "status 51h, error 00h", // an error, and no abort
		"72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 01 00 00 00 00 40 71": "status 71h",            // device fault
		"72 04 44 00 00 00 00 0e 09 0c 01 04 00 00 00 01 00 00 00 00 40 51": "status 51h",            // something else went wrong
	} {
		if s, err := ParseSanitizeStatus(unhex(t, sense)); !errors.As(err, &aborted) || s != (SanitizeStatus{}) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v %v", want, s, err)
		}
	}
	for name, sense := range map[string]string{
		"completed and in progress": head + "01 00 c0 00 00 ff 00 ff 00 00 40 50",
		"frozen and in progress":    head + "01 00 60 00 00 ff 00 ff 00 00 40 50",
		"failed and completed":      "72 0b 00 00 00 00 00 0e 09 0c 01 04 80 00 00 01 00 00 00 00 40 51",
	} {
		if s, err := ParseSanitizeStatus(unhex(t, sense)); err == nil || s != (SanitizeStatus{}) || errors.Is(err, ErrNoRegisters) {
			t.Errorf("%s: %+v %v", name, s, err)
		}
	}
	var refused *scsi.CommandError
	if s, err := ParseSanitizeStatus(unhex(t, "72 05 20 00 00 00 00 00")); !errors.As(err, &refused) || !RefusedByTranslation(err) {
		t.Errorf("refused by the translation: %+v %v", s, err)
	}
}
