package sanitize

import (
	"context"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// The paces of a drive that the host writes or reads: it is never worked beyond the temperatures that it names itself.
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
	slowLook    = 5 * time.Second  // a look that took longer is not repeated soon
)

// thermal is how fast a drive can go, by what it said of its temperature.
type thermal struct {
	pace  string
	most  int       // requests in flight
	since time.Time // of a pause
}

// temperatures are what counts of a drive's condition: the latest temperature, and the limits that it has ever told.
type temperatures struct {
	now, warning, critical *int64
	warns                  bool // it says that it is too warm, and neither how warm nor what too warm is
}

// take adds what the drive says now. Limits that no drive has are none, and a critical one below the warning, too.
func (t *temperatures) take(h devices.Health) {
	t.now = h.TemperatureC
	if h.WarningC != nil && *h.WarningC >= leastLimit {
		t.warning = h.WarningC
	}
	if h.CriticalC != nil && *h.CriticalC >= leastLimit && (t.warning == nil || *h.CriticalC >= *t.warning) {
		t.critical = h.CriticalC
	}
	// NVMe base 2.0, figure 208: the bit also means too cold, which is no reason to go slowly.
	t.warns = h.Critical != nil && *h.Critical&(1<<1) != 0 && (t.now == nil || t.warning == nil)
}

// at says whether the drive is within so many degrees of a limit; false where it does not tell.
func (t temperatures) at(limit *int64, less int64) bool {
	return limit != nil && t.now != nil && *t.now >= *limit-less
}

// judge takes a look at the drive into account. usual is what is in flight of a cool one. A drive that does not
// tell its temperature, or no limit, is not slowed; one that stops telling stays as slow as it was.
func (t thermal) judge(d temperatures, usual int) thermal {
	unknown := d.now == nil && !d.warns
	switch {
	case d.at(d.critical, 0), t.pace == PacePaused && (d.at(d.critical, coolBy-1) || d.now == nil):
		return thermal{pace: PacePaused, since: t.since}
	case d.at(d.warning, 0) || d.warns:
		switch t.pace {
		case PacePaused:
			return thermal{pace: PaceSlowed, most: 1}
		case PaceFull:
			t.most = usual
		}
		return thermal{pace: PaceSlowed, most: max(1, t.most/2)}
	case t.pace != PaceFull && (unknown || d.at(d.warning, coolBy-1)):
		return thermal{pace: PaceSlowed, most: max(1, t.most)}
	}
	return thermal{pace: PaceFull, most: overwrite.MostRequests}
}

// paced is overwrite.Options.Pace: it looks at the drive from time to time, and notes when its temperature changes
// how fast it is worked. usual is how many requests are in flight of a cool one.
func (r *run) paced(ctx context.Context, usual int) (overwrite.Pace, error) {
	if r.thermal.pace == "" {
		r.thermal = thermal{pace: PaceFull, most: overwrite.MostRequests}
	}
	if since := r.now().Sub(r.looked); since >= r.lookEvery() || since < 0 {
		begun := time.Now()
		if err := r.look(context.WithoutCancel(ctx), "during"); err != nil {
			return overwrite.Pace{}, err
		}
		// Nothing is written meanwhile: a drive that takes long to answer, or does not, is asked less and less.
		if time.Since(begun) > slowLook {
			r.lookSlows = min(healthTime*60, max(healthTime, 2*r.lookSlows))
		}
	}
	next := r.thermal.judge(r.heat, usual)
	if next.pace == PacePaused && next.since.IsZero() {
		next.since = r.now()
	}
	if next.pace != r.thermal.pace || next.most != r.thermal.most {
		if err := r.append(kindPaced, pacedRecord{next.pace, next.most, r.heat.now, r.limit(next.pace)}); err != nil {
			return overwrite.Pace{}, err
		}
	}
	if next.pace == PacePaused && r.now().Sub(next.since) >= longestRest {
		return overwrite.Pace{}, fmt.Errorf("%s has rested for %v and is not cooler than its critical temperature: cool it, and resume the job", r.drive.Serial, longestRest)
	}
	r.thermal = next
	r.meter.setPace(next.pace, r.heat.now, r.limit(next.pace))
	return overwrite.Pace{Most: next.most, Again: r.lookEvery()}, nil
}

// limit is the drive's own that a pace is for.
func (r *run) limit(pace string) *int64 {
	if pace == PacePaused {
		return r.heat.critical
	}
	return r.heat.warning
}

// lookEvery is the time between two looks.
func (r *run) lookEvery() time.Duration {
	if r.thermal.pace != PaceFull || r.heat.at(r.heat.warning, watchBelow) {
		return max(thermalTime, r.lookSlows)
	}
	return max(healthTime, r.lookSlows)
}
