package sanitize

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// looks are what a drive says one after the other; 0 is nothing.
type looks struct {
	now, warning, critical int64
	bit                    bool
	want                   string
	most                   int
}

func (l looks) health() devices.Health {
	told := func(n int64) *int64 {
		if n == 0 {
			return nil
		}
		return &n
	}
	h := devices.Health{TemperatureC: told(l.now), WarningC: told(l.warning), CriticalC: told(l.critical)}
	if l.bit {
		h.Critical = told(2)
	}
	return h
}

// A drive is never worked faster for what it does not say: what it said of its limits stays, a pause ends by a
// temperature alone, and limits that no drive has are none.
func TestJudgeHeat(t *testing.T) {
	for name, list := range map[string][]looks{
		"warms and cools": {
			{34, 70, 80, false, PaceFull, 16}, {69, 70, 80, false, PaceFull, 16}, {70, 70, 80, false, PaceSlowed, 4}, {72, 70, 80, false, PaceSlowed, 2},
			{68, 70, 80, false, PaceSlowed, 2}, {66, 70, 80, false, PaceSlowed, 2}, {65, 70, 80, false, PaceFull, 16},
		},
		"too hot":                      {{80, 70, 80, false, PacePaused, 0}, {76, 70, 80, false, PacePaused, 0}, {75, 70, 80, false, PaceSlowed, 1}, {60, 70, 80, false, PaceFull, 16}},
		"its limits are told once":     {{34, 70, 80, false, PaceFull, 16}, {95, 0, 0, false, PacePaused, 0}, {72, 0, 0, false, PaceSlowed, 1}},
		"it says nothing while paused": {{95, 70, 80, false, PacePaused, 0}, {0, 70, 80, false, PacePaused, 0}, {0, 0, 0, true, PacePaused, 0}, {50, 0, 0, false, PaceFull, 16}},
		"it says nothing while slowed": {{71, 70, 80, false, PaceSlowed, 4}, {0, 0, 0, false, PaceSlowed, 4}},
		"it never says anything":       {{0, 0, 0, false, PaceFull, 16}, {0, 70, 80, false, PaceFull, 16}},
		"a warning without degrees":    {{0, 0, 0, true, PaceSlowed, 4}, {0, 0, 0, true, PaceSlowed, 2}, {34, 70, 0, false, PaceFull, 16}},
		"too cold":                     {{-5, 70, 80, true, PaceFull, 16}},
		"critical below the warning":   {{35, 70, 27, false, PaceFull, 16}, {72, 70, 50, false, PaceSlowed, 4}},
		"limits of a cellar":           {{35, 1, 30, false, PaceFull, 16}},
		"no warning":                   {{79, 0, 80, false, PaceFull, 16}, {81, 0, 80, false, PacePaused, 0}, {74, 0, 80, false, PaceFull, 16}},
	} {
		pace, heat := thermal{pace: PaceFull, most: 16}, temperatures{}
		for i, l := range list {
			heat.take(l.health())
			if pace = pace.judge(heat, 8); pace.pace != l.want || pace.most != l.most {
				t.Errorf("%s, look %d: %s, %d in flight; want %s, %d", name, i+1, pace.pace, pace.most, l.want, l.most)
			}
		}
	}
}
