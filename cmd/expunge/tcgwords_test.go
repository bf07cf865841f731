package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/tcg"
)

// What keeps a person from trusting a drive's encryption is in capitals, and what is unknown says so.
func TestShowSelfEncryption(t *testing.T) {
	seconds, ranges := int64(6), int64(9)
	facts := tcg.Facts{SSCs: []string{"Opal 2.02"}, LockingSupported: true, LockingEnabled: true, Locked: true, MediaEncryption: true, MBREnabled: true, Ranges: &ranges,
		BlockSID: &tcg.BlockSIDState{SIDIsMSID: true, Blocked: true},
		Removal:  &tcg.Removal{Mechanisms: []tcg.Mechanism{{Name: "cryptographic erase", Seconds: &seconds}, {Name: "overwrite", Seconds: &seconds, AtLeast: true}, {Name: "block erase"}}, Interrupted: true}}
	for name, x := range map[string]struct {
		t    *devices.TCG
		want []string
	}{
		"none": {nil, nil},
		"all": {&devices.TCG{Facts: facts}, []string{"Opal 2.02: activated, LOCKED, media encrypted, shadow MBR shown, 9 ranges",
			"the owner's PIN is the one it was made with, and authentication as owner is blocked until power is lost",
			"removes data by cryptographic erase (6 s), overwrite (over 6 s), block erase; the latest was INTERRUPTED"}},
		"plain":  {&devices.TCG{Facts: tcg.Facts{SSCs: []string{"Pyrite 2"}, LockingSupported: true}}, []string{"Pyrite 2: not activated, media NOT encrypted"}},
		"unread": {&devices.TCG{Unread: &devices.Reason{Code: "tcg_unread"}}, []string{"unknown: it cannot be read"}},
	} {
		var out bytes.Buffer
		if err := showText(&out, []shownDrive{{Drive: devices.Drive{TCG: x.t}}}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			if words, is := strings.CutPrefix(line, "tcg"); is {
				got = append(got, strings.TrimSpace(words))
			}
		}
		if strings.Join(got, "\n") != strings.Join(x.want, "\n") {
			t.Errorf("%s:\n%s", name, out.String())
		}
	}
}
