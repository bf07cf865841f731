package attest

import (
	"encoding/binary"
	"testing"
)

// level0 is a discovery with the flags of its locking feature, and more features.
func level0(flags byte, features ...[]byte) string {
	p := append(make([]byte, 48), 0, 2, 0x10, 12, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	for _, f := range features {
		p = append(p, f...)
	}
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	return PackPage(p)
}

// What a self-encrypting drive said of itself has to bear out that its keys are gone, whoever wrote the statement.
func TestErasesByKeys(t *testing.T) {
	removal := func(state byte) []byte { return append([]byte{4, 4, 0x10, 32, 0, state}, make([]byte, 30)...) }
	pyrite := append([]byte{3, 3, 0x10, 16}, make([]byte, 16)...)
	const encrypts, active, locked, shadow, shown = 8 | 1, 2, 4, 0x10, 0x20
	for name, x := range map[string]struct {
		kind, code, protocol, before, after string
		command, succeeded                  bool
	}{
		"a revert":                           {"TCG Revert", "0x00000102", "nvme", level0(encrypts | active), level0(encrypts, removal(0)), true, true},
		"a revert of a locked drive":         {"TCG Revert", "0x00000201", "scsi", level0(encrypts | active | locked | shadow), level0(encrypts), true, true},
		"of an SP that was not active":       {"TCG Revert", "0x00000102", "ata", level0(encrypts), level0(encrypts), true, false},
		"that left the SP active":            {"TCG Revert", "0x00000102", "ata", level0(encrypts | active), level0(encrypts | active), true, false},
		"that was interrupted":               {"TCG Revert", "0x00000102", "ata", level0(encrypts | active), level0(encrypts, removal(2)), true, false},
		"that is not over":                   {"TCG Revert", "0x00000102", "ata", level0(encrypts | active), level0(encrypts, removal(1)), true, false},
		"interrupted, and then said not":     {"TCG Revert", "0x00000102", "ata", level0(encrypts | active), level0(encrypts, removal(2), removal(0)), true, false},
		"of a Pyrite drive":                  {"TCG Revert", "0x00000102", "ata", level0(encrypts|active, pyrite), level0(encrypts, pyrite), true, false},
		"of one that does not encrypt":       {"TCG Revert", "0x00000102", "ata", level0(1 | active), level0(1), true, false},
		"without a page before":              {"TCG Revert", "0x00000102", "ata", "", level0(encrypts), true, false},
		"cut short":                          {"TCG Revert", "0x00000102", "ata", level0(encrypts | active), PackPage(unpackPage(level0(encrypts))[:48]), true, false},
		"a revert by the code of new keys":   {"TCG Revert", "0x00000004", "ata", level0(encrypts | active), level0(encrypts), false, true},
		"of a card":                          {"TCG Revert", "0x00000002", "mmc", level0(encrypts | active), level0(encrypts), false, true},
		"new keys":                           {"TCG GenKey or Erase", "0x00000104", "nvme", level0(encrypts | active), level0(encrypts | active | shadow | shown), true, true},
		"bands":                              {"TCG GenKey or Erase", "0x00000005", "scsi", level0(encrypts | active | locked), level0(encrypts | active), true, true},
		"new keys of a drive that is locked": {"TCG GenKey or Erase", "0x00000004", "nvme", level0(encrypts | active), level0(encrypts | active | locked), true, false},
		"new keys of an SP that is inactive": {"TCG GenKey or Erase", "0x00000004", "nvme", level0(encrypts), level0(encrypts), true, false},
		"new keys by the code of a revert":   {"TCG GenKey or Erase", "0x00000002", "nvme", level0(encrypts | active), level0(encrypts | active), false, true},
	} {
		o := Operation{Technique: "TCG revert", Kind: x.kind, Code: x.code, StatusPageBefore: x.before, StatusPage: x.after}
		if command, succeeded := o.isCommand(x.protocol), o.succeeded(); command != x.command || succeeded != x.succeeded {
			t.Errorf("%s: a command of it: %v, succeeded: %v", name, command, succeeded)
		}
	}
}
