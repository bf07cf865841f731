package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/sanitize"
)

// gauge says how far a drive is.
type gauge interface{ Read() sanitize.Reading }

// metered is a drive that is worked on.
type metered struct {
	drive sanitize.DrivePlan
	meter gauge
	last  sanitize.Reading
	at    time.Time
	rate  float64 // bytes per second, smoothed

	begun time.Time // when its first reading came, and
	from  float64   // its share by then: a resumed drive does not begin at nothing
}

// read reads the meter and smooths the rate.
func (m *metered) read(now time.Time) sanitize.Reading {
	r := m.meter.Read()
	switch took := now.Sub(m.at).Seconds(); {
	case r.Stage != m.last.Stage || m.rate == 0:
		// The first reading of a stage: the average since it began.
		if all := now.Sub(r.Since).Seconds(); all > 0 {
			m.rate = float64(r.Done-r.Before) / all
		}
		m.last, m.at = r, now
	case took > 0.1:
		m.rate += 0.3 * (float64(r.Done-m.last.Done)/took - m.rate)
		m.last, m.at = r, now
	}
	if m.begun.IsZero() && r.Stage != "" {
		m.begun, m.from = now, m.share(r)
	}
	return r
}

// line says how far the drive's stage is, how fast it goes and how long it will take at that rate. The
// serial number is padded, so that the lines of several drives stand in columns; short is for a line
// among many.
func (m *metered) line(r sanitize.Reading, pad int, short bool) string {
	line := fmt.Sprintf("%-*s ", pad, m.drive.Serial+":")
	if r.Stage == "" {
		return line + "starting"
	}
	stage := r.Stage
	if short {
		if r.ByDrive {
			stage = sanitize.Technique(stage).Word()
		}
		stage = fmt.Sprintf("%-12s", shortened(stage, 12))
	}
	line += fmt.Sprintf("%s %5.1f %%", stage, 100*float64(r.Done)/float64(max(1, r.Total)))
	if r.ByDrive {
		return line + "  by the drive itself"
	}
	if !short {
		line += fmt.Sprintf("  %s of %s", size(r.Done), size(r.Total))
	}
	if m.rate > 0 {
		left := time.Duration(float64(r.Total-r.Done) / m.rate * float64(time.Second))
		line += fmt.Sprintf("  %9s  %4s left", size(int64(m.rate))+"/s", duration(left))
	}
	if r.Bad > 0 {
		line += fmt.Sprintf("  %s BAD", size(r.Bad))
	}
	if r.Pace != "" {
		line += "  " + r.Pace + ": too warm"
		if r.TemperatureC != nil && r.LimitC != nil {
			line += fmt.Sprintf(" (%d °C, its limit is %d)", *r.TemperatureC, *r.LimitC)
		}
	}
	return line
}

// readBackShare is how much of a drive's work the reading back is taken to be where a drive erases itself.
const readBackShare = 0.1

// share is how much of all that is to be done on the drive is done: an estimate, for a display.
func (m *metered) share(r sanitize.Reading) float64 {
	within := float64(r.Done) / float64(max(1, r.Total))
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
	passes := float64(len(m.drive.Passes))
	read := map[sanitize.VerifyMode]float64{sanitize.VerifySampled: 0.1, sanitize.VerifyFull: 1}[m.drive.Verification]
	if r.Stage == "verify" {
		return (passes + read*within) / (passes + read)
	}
	pass := 1
	if _, err := fmt.Sscanf(strings.TrimPrefix(r.Stage, "pass "), "%d/", &pass); err != nil {
		return 0
	}
	return (float64(pass-1) + within) / (passes + read)
}

// left is how long the drive will take at the speed it had so far; false while that cannot be told.
func (m *metered) left(now time.Time, share float64) (time.Duration, bool) {
	took, made := now.Sub(m.begun), share-m.from
	if m.begun.IsZero() || took < time.Second || made < 0.005 {
		return 0, false
	}
	return time.Duration(float64(took) * (1 - share) / made), true
}
