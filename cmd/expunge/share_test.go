package main

import (
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// Whoever looks at a drive that stands still is told that it must cool, and that nothing is wrong with it.
func TestHeatIsShown(t *testing.T) {
	m := metered{drive: sanitize.DrivePlan{Serial: "A", ID: devices.ID("x")}}
	r := sanitize.Reading{Stage: "pass 1/1", Done: 1 << 20, Total: 4 << 20}
	for pace, want := range map[string]string{"": "", "slowed": "slowed: too warm", "paused": "paused: too warm"} {
		r.Pace = pace
		for _, short := range []bool{false, true} {
			if line := m.line(r, 10, short, false, 0); (want == "") == strings.Contains(line, "warm") || !strings.Contains(line, want) {
				t.Errorf("%q: %s", pace, line)
			}
		}
	}
}
