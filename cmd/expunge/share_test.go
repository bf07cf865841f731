package main

import (
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// A rate and a time left that nobody tells any more are no news: the agent has gone, or it hangs.
func TestOldNewsIsNotTold(t *testing.T) {
	g := &told{}
	r := sanitize.Reading{Stage: "pass 1/1", Done: 1 << 20, Total: 4 << 20}
	g.last.Store(&r)
	m := metered{drive: sanitize.DrivePlan{Serial: "A", ID: devices.ID("x")}, meter: g, rate: 1e6}
	now := time.Unix(1000, 0)
	for ago, want := range map[time.Duration]string{2 * time.Second: "left", 31 * time.Second: "no news for 31s"} {
		g.at.Store(now.Add(-ago).UnixNano())
		read := m.read(now)
		m.rate = 1e6
		if line := m.line(read, 10, false, false, 80); !strings.Contains(line, want) || strings.Contains(line, "left") != (want == "left") {
			t.Errorf("told %v ago: %s", ago, line)
		}
	}
}

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
