package sanitize

import (
	"encoding/binary"
	"testing"
)

// namespacePage is Identify Namespace of blocks of 512 bytes, or 4096 by format 1.
func namespacePage(flbas, progress byte) []byte {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint64(b, 8192)
	b[26], b[32], b[130], b[134] = flbas, progress, 9, 12
	return b
}

// A drive keeps no account of a format: what is read says whether one runs, and whether the
// namespace is still in the format that the command was to keep.
func TestNVMeFormatAccount(t *testing.T) {
	for _, planned := range []Operation{{Kind: NVMeFormat, Technique: Format, Code: 0x200, NSID: 1}, {Kind: NVMeFormat, Technique: CryptographicFormat, Code: 0x400, NSID: 1}} {
		accounts(t, planned)
	}
	// The same page is no success of a command that its technique is not sent with.
	for _, planned := range []Operation{{Kind: NVMeFormat, Technique: Format, Code: 0x400, NSID: 1}, {Kind: NVMeFormat, Technique: CryptographicFormat, Code: 0x200, NSID: 1}} {
		if a, err := (nvmeFormat{}).parse(namespacePage(0, 0x80), planned); err != nil || a.explicit {
			t.Errorf("%s by %#x: %+v, %v", planned.Technique, planned.Code, a, err)
		}
	}
	if a, err := (nvmeFormat{}).parse(namespacePage(0, 0x80), Operation{Kind: NVMeFormat, Technique: BlockErase, Code: 0x200, NSID: 1}); err == nil {
		t.Errorf("a block erase by a format: %+v", a)
	}
}

func accounts(t *testing.T, planned Operation) {
	for _, c := range []struct {
		name     string
		page     []byte
		phase    phase
		explicit bool
	}{
		{"at rest", namespacePage(0, 0x80), atRest, true},
		{"does not tell", namespacePage(0, 40), atRest, true},
		{"in progress", namespacePage(0, 0x80|40), running, false},
		{"another format", namespacePage(1, 0x80), atRest, false},
		{"zeros", make([]byte, 4096), 0, false},
		{"short", namespacePage(0, 0x80)[:512], 0, false},
	} {
		a, err := nvmeFormat{}.parse(c.page, planned)
		if a.phase != c.phase || a.explicit != c.explicit || (err != nil) != (c.phase == 0) {
			t.Errorf("%s, %s: %+v, %v", planned.Technique, c.name, a, err)
		}
	}
}

// Only a command that was completed without error is a format that is done: a namespace at rest looks
// the same after one that a reset ended in its middle.
func TestNVMeFormatIsDoneWhenCompleted(t *testing.T) {
	rest := &account{phase: atRest, mine: true, explicit: true}
	for _, c := range []struct {
		name string
		op   operationState
		ours bool
	}{
		{"completed", operationState{sends: 1, taken: true, before: rest, last: rest}, true},
		{"no answer", operationState{sends: 1, before: rest, last: rest}, false},
		{"seen running, no answer", operationState{sends: 1, seen: true, before: rest, last: rest}, false},
		{"completed, nothing read since", operationState{sends: 1, taken: true, before: rest}, false},
		{"not sent", operationState{taken: true, before: rest, last: rest}, false},
	} {
		s := &state{operations: []operationState{c.op}, opened: &openedRecord{Drive: DrivePlan{Operations: []Operation{{Kind: NVMeFormat}}}}}
		if _, ours := s.ours(0); ours != c.ours {
			t.Errorf("%s: %v", c.name, ours)
		}
	}
}
