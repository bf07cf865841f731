package nvme

import "testing"

// What a reset or the host ended is neither refused nor failed: how far it came is not known.
func TestStatusOfAnEndedCommand(t *testing.T) {
	for _, c := range []struct {
		name             string
		status           uint16
		refused, aborted bool
	}{
		{"power loss", 0x005, false, true},
		{"abort requested", 0x4007, false, true},
		{"queue deleted by a reset", 0x008, false, true},
		{"no path", 0x370, false, true},
		{"aborted by the host", 0x371, false, true},
		{"internal error", 0x006, false, false},
		{"format in progress", 0x084, false, false},
		{"invalid field", 0x4002, true, false},
		{"invalid format", 0x10a, true, false},
	} {
		err, is := Completion{Status: c.status}.Err().(*StatusError)
		if !is || err.Refused() != c.refused || err.Aborted() != c.aborted {
			t.Errorf("%s: %v, refused %v, aborted %v", c.name, err, err.Refused(), err.Aborted())
		}
	}
}
