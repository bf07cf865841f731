package sanitize

import (
	"context"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// The paces of a drive that the host writes or reads (house rule: a drive is never worked beyond the temperatures
// that it names itself).
const (
	PaceFull   = "full"
	PaceSlowed = "slowed" // at its warning: half of what is in flight, and half of that again while it stays so
	PacePaused = "paused" // at its critical temperature
)

const (
	coolBy      = 5                // degrees below a limit that end what the limit began
	watchBelow  = 10               // degrees below its warning from which a drive is looked at often
	thermalTime = 10 * time.Second // between two looks then
	longestRest = time.Hour        // at its critical temperature: it is not the work that warms it
	leastLimit  = 40               // degrees below which a limit is none: drives are that warm in a warm room
)

// thermal is how fast a drive can go, by what it last said of its temperature.
type thermal struct {
	pace  string
	most  int       // requests in flight
	since time.Time // of a pause
}

// judge takes a look at the drive into account. usual is what is in flight of a cool one. A drive that does not
// tell its temperature, or no limit, is not slowed; one that stops telling it goes on slowly.
func (t thermal) judge(h devices.Health, usual int) thermal {
	warns := h.Critical != nil && *h.Critical&(1<<1) != 0 // of its temperature (NVMe base 2.0, figure 208)
	at := func(limit *int64, less int64) bool {
		return limit != nil && *limit >= leastLimit && h.TemperatureC != nil && *h.TemperatureC >= *limit-less
	}
	unknown := t.pace != PaceFull && h.TemperatureC == nil && !warns
	switch {
	case at(h.CriticalC, 0) || t.pace == PacePaused && at(h.CriticalC, coolBy-1):
		return thermal{pace: PacePaused, since: t.since}
	case at(h.WarningC, 0) || warns:
		if t.pace == PacePaused {
			return thermal{pace: PaceSlowed, most: 1}
		}
		if t.pace == PaceFull {
			t.most = usual
		}
		return thermal{pace: PaceSlowed, most: max(1, t.most/2)}
	case t.pace != PaceFull && at(h.WarningC, coolBy-1), unknown:
		return thermal{pace: PaceSlowed, most: max(1, t.most)}
	}
	return thermal{pace: PaceFull, most: overwrite.MostRequests}
}

// near says whether the drive has to be looked at often.
func (t thermal) near(h devices.Health) bool {
	return t.pace != PaceFull || h.WarningC != nil && h.TemperatureC != nil && *h.TemperatureC >= *h.WarningC-watchBelow
}

// paced is overwrite.Options.Pace: it looks at the drive from time to time, and notes when its temperature changes
// how fast it is worked. usual is how many requests are in flight of a cool one.
func (r *run) paced(ctx context.Context, usual int) (overwrite.Pace, error) {
	if r.thermal.pace == "" {
		r.thermal = thermal{pace: PaceFull, most: overwrite.MostRequests}
	}
	every := healthTime
	if r.thermal.near(r.condition) {
		every = thermalTime
	}
	if due := r.looked.Add(every); r.now().Before(due) && r.thermal.pace == PaceFull {
		return overwrite.Pace{Most: overwrite.MostRequests, Again: due.Sub(r.now())}, nil
	}
	if err := r.look(context.WithoutCancel(ctx), "during"); err != nil {
		return overwrite.Pace{}, err
	}
	next := r.thermal.judge(r.condition, usual)
	if next.pace != r.thermal.pace {
		limit := r.condition.WarningC
		if next.pace == PacePaused {
			limit = r.condition.CriticalC
		}
		if err := r.append(kindPaced, pacedRecord{next.pace, next.most, r.condition.TemperatureC, limit}); err != nil {
			return overwrite.Pace{}, err
		}
	}
	if next.pace == PacePaused && next.since.IsZero() {
		next.since = r.now()
	}
	if next.pace == PacePaused && r.now().Sub(next.since) >= longestRest {
		return overwrite.Pace{}, fmt.Errorf("%s has rested for %v and is still at %d degrees Celsius, %d are critical: cool it, and resume the job", r.drive.Serial, longestRest, *r.condition.TemperatureC, *r.condition.CriticalC)
	}
	r.thermal = next
	r.meter.setPace(next.pace)
	every = healthTime
	if next.near(r.condition) {
		every = thermalTime
	}
	return overwrite.Pace{Most: next.most, Again: every}, nil
}
