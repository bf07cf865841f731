package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/sanitize"
)

// frame is what is said of all drives in so many lines: how far they are together, those that ended
// badly, and those at work, as many as fit, each in so many columns (0: as many as it takes). all is for a terminal; elsewhere those that ended badly
// have been told, and of many drives only what they do together is.
func (p *progress) frame(now time.Time, rows, columns int, all bool) []string {
	readings := make([]sanitize.Reading, len(p.drives))
	for i, m := range p.drives {
		readings[i] = m.read(now)
	}
	var lines []string
	stopping := p.stopping()
	if len(p.order) > 1 {
		lines = append(lines, p.together(now, readings, stopping, columns))
	}
	if all {
		lines = append(lines, cutShort(p.trouble, max(1, rows/3), "more that ended otherwise")...)
	} else if len(p.order) > many {
		return lines
	}
	var atWork []string
	for _, i := range p.troubledFirst(readings) {
		atWork = append(atWork, p.drives[i].line(readings[i], p.pad(), len(p.order) > many, stopping, columns))
	}
	lines = append(lines, cutShort(atWork, max(1, rows-len(lines)), "more at work")...)
	return lines[:min(len(lines), max(1, rows))]
}

// cutShort is at most so many lines, of which the last tells how many are missing.
func cutShort(lines []string, most int, missing string) []string {
	if len(lines) <= most {
		return lines
	}
	return append(slices.Clone(lines[:most-1]), fmt.Sprintf("… and %d %s", len(lines)-most+1, missing))
}

// troubledFirst is the order of the drives at work: those with bad blocks before the others.
func (p *progress) troubledFirst(readings []sanitize.Reading) []int {
	order := make([]int, len(readings))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		bad := func(i int) int { return min(1, int(readings[i].Bad)) }
		return bad(b) - bad(a)
	})
	return order
}

// pad is the width of the longest serial number at work, with its colon.
func (p *progress) pad() int {
	width := 0
	for _, m := range p.drives {
		width = max(width, len(m.drive.Serial)+1)
	}
	return width
}

// together is one line for all drives.
func (p *progress) together(now time.Time, readings []sanitize.Reading, stopping bool, columns int) string {
	ended := p.good + len(p.trouble)
	waiting := len(p.order) - ended - len(p.drives)
	sum, rate := float64(ended), 0.0
	longest, known := time.Duration(0), waiting <= 0 && len(p.drives) > 0
	for i, m := range p.drives {
		share := m.share(readings[i])
		sum += share
		if !readings[i].ByDrive {
			rate += m.rate
		}
		left, ok := m.left(now, share)
		longest, known = max(longest, left), known && ok
	}
	parts := []part{{fmt.Sprintf("%.1f %%", 100*sum/float64(len(p.order))), 0}}
	if stopping {
		parts, known, rate = append(parts, part{"  stopping", 0}), false, 0
	}
	if known {
		parts = append(parts, part{"  " + duration(longest) + " left", 2})
	}
	if rate > 0 {
		parts = append(parts, part{fmt.Sprintf("  %s/s", size(int64(rate))), 5})
	}
	parts = append(parts, part{"  " + p.count(), 1}, part{fmt.Sprintf(", %d at work", len(p.drives)), 3})
	if waiting > 0 {
		parts = append(parts, part{fmt.Sprintf(", %d to begin", waiting), 4})
	}
	return fitting(parts, columns)
}

// duration is a time that is not known better than that.
func duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	case d >= 10*time.Hour:
		return fmt.Sprintf("%dh", int(d.Round(time.Hour).Hours()))
	}
	return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
}
