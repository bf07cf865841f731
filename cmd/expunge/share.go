package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expunge-dev/expunge/sanitize"
)

// gauge says how far a drive is.
type gauge interface{ Read() sanitize.Reading }

// timed is a gauge that is told from time to time how far a drive is: At is when it was told last, and zero where it looks itself.
type timed interface{ At() time.Time }

// metered is a drive that is worked on.
type metered struct {
	drive sanitize.DrivePlan
	meter gauge
	last  sanitize.Reading
	moves []move
	rate  float64 // bytes per second, lately
	// of all its passes, where the plan is not known here
	passes int

	begun time.Time // when its first reading came, and
	from  float64   // its share by then: a resumed drive does not begin at nothing
	seen  time.Time // when the latest was true

	silent time.Duration // for how long nothing was told
}

// silence is for how long nothing is told when whoever tells, each second, has gone or hangs.
const silence = 5 * time.Second

// read reads the meter and keeps the rate.
func (m *metered) read(now time.Time) sanitize.Reading {
	r, seen := m.meter.Read(), now
	if g, is := m.meter.(timed); is {
		if at := g.At(); !at.IsZero() {
			seen = at // nothing moves between two tidings, and that is no slowness of the drive
		}
	}
	m.pace(r, seen)
	m.last, m.seen, m.silent = r, seen, now.Sub(seen)
	if m.begun.IsZero() && r.Stage != "" {
		m.begun, m.from = seen, m.share(r)
	}
	return r
}

// line says how far the drive's stage is, how fast it goes and how long it will take at that rate, in so many columns; 0 is as many as
// it takes. The serial number is padded, so that the lines of several drives stand in columns; short is for a line among many.
// Of one that is stopping it is not said how long it would take.
func (m *metered) line(r sanitize.Reading, pad int, short, stopping bool, columns int) string {
	name := fmt.Sprintf("%-*s ", pad, m.drive.Serial+":")
	if r.Stage == "" {
		return name + "starting"
	}
	stage := r.Stage
	if short {
		if r.ByDrive {
			stage = sanitize.Technique(stage).Word()
		}
		stage = fmt.Sprintf("%-12s", shortened(stage, 12))
	}
	parts := []part{{name, 0}, {stage + " ", 5}, {fmt.Sprintf("%5.1f %%", 100*float64(r.Done)/float64(max(1, r.Total))), 0}}
	if stopping {
		parts = append(parts, part{"  stopping", 0})
	}
	if m.silent >= silence {
		return fitting(append(parts, part{"  no news for " + duration(m.silent), 0}), columns)
	}
	if r.ByDrive {
		return fitting(append(parts, part{"  by the drive itself", 5}), columns)
	}
	if !short {
		parts = append(parts, part{fmt.Sprintf("  %s of %s", size(r.Done), size(r.Total)), 7})
	}
	if m.rate > 0 && !stopping {
		left := time.Duration(float64(r.Total-r.Done) / m.rate * float64(time.Second))
		parts = append(parts, part{fmt.Sprintf("  %9s", size(int64(m.rate))+"/s"), 4}, part{fmt.Sprintf("  %4s left", duration(left)), 2})
	}
	if r.Bad > 0 {
		parts = append(parts, part{fmt.Sprintf("  %s BAD", size(r.Bad)), 1})
	}
	if r.Pace != "" {
		parts = append(parts, part{"  " + r.Pace + ": too warm", 3})
		if r.TemperatureC != nil && r.LimitC != nil {
			parts = append(parts, part{fmt.Sprintf(" (%d °C, its limit is %d)", *r.TemperatureC, *r.LimitC), 6})
		}
	}
	return fitting(parts, columns)
}

// part is a piece of a line; that with the largest number is left out first where the line is too long, and 0 never.
type part struct {
	text   string
	spared int
}

// fitting is as much of a line as fits into so many columns, the most important of it; 0 columns are no bound.
func fitting(parts []part, columns int) string {
	for {
		var b strings.Builder
		last := 0
		for i, p := range parts {
			b.WriteString(p.text)
			if p.spared > parts[last].spared {
				last = i
			}
		}
		line := b.String()
		if columns <= 0 || utf8.RuneCountInString(line) <= columns || parts[last].spared == 0 {
			return line
		}
		parts = slices.Delete(slices.Clone(parts), last, last+1)
	}
}

// readBackShare is how much of a drive's work the reading back is taken to be where a drive erases itself.
const readBackShare = 0.1

// share is how much of all that is to be done on the drive is done: an estimate, for a display.
func (m *metered) share(r sanitize.Reading) float64 {
	within := min(1, max(0, float64(r.Done)/float64(max(1, r.Total))))
	if n := float64(len(m.drive.Operations)); n > 0 {
		at := slices.IndexFunc(m.drive.Operations, func(o sanitize.Operation) bool { return string(o.Technique) == r.Stage })
		switch {
		case at >= 0:
			return (1 - readBackShare) * (float64(at) + within) / n
		case r.Stage == "verify":
			return 1 - readBackShare + readBackShare*within
		}
		return 0 // markers, before and after
	}
	// Of an agent's job there may be no plan here: a stage says how many passes there are.
	pass, of := 1, 0
	_, err := fmt.Sscanf(r.Stage, "pass %d/%d", &pass, &of)
	if err == nil {
		m.passes = of
	}
	passes := float64(max(1, len(m.drive.Passes)))
	if len(m.drive.Passes) == 0 {
		passes = float64(max(1, m.passes))
	}
	read := map[sanitize.VerifyMode]float64{"": readBackShare, sanitize.VerifySampled: readBackShare, sanitize.VerifyFull: 1}[m.drive.Verification]
	switch {
	case r.Stage == "verify":
		return (passes + read*within) / (passes + read)
	case err != nil:
		return 0
	}
	return min(1, max(0, (float64(pass-1)+within)/(passes+read)))
}

// left is how long the drive will take at the speed it had so far; false while that cannot be told.
func (m *metered) left(now time.Time, share float64) (time.Duration, bool) {
	took, made := m.seen.Sub(m.begun), share-m.from
	if m.begun.IsZero() || took < time.Second || made < 0.005 {
		return 0, false
	}
	return max(0, time.Duration(float64(took)*(1-share)/made)-now.Sub(m.seen)), true
}
