package render

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// grouped writes a number with a mark between thousands, as people can read it.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	first := len(s) % 3
	var parts []string
	if first > 0 {
		parts = append(parts, s[:first])
	}
	for i := first; i < len(s); i += 3 {
		parts = append(parts, s[i:i+3])
	}
	return strings.Join(parts, ",")
}

// capacity writes a size as drives are sold, and exactly.
func capacity(bytes int64) string {
	units := []string{"kB", "MB", "GB", "TB", "PB"}
	value, unit := float64(bytes), "bytes"
	for _, u := range units {
		if value < 1000 {
			break
		}
		value, unit = value/1000, u
	}
	if unit == "bytes" {
		return grouped(bytes) + " bytes"
	}
	return fmt.Sprintf("%.4g %s (%s bytes)", value, unit, grouped(bytes))
}

// count writes a number of things; what ends in y or s is given its plural by the caller.
func count(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return grouped(n) + " " + one + "s"
}

func percent(ppm int64) string { return fmt.Sprintf("%.1f %%", float64(ppm)/1e4) }

// moment writes a time of a statement, which is UTC, for people.
func moment(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return s
	}
	return t.UTC().Format("2 January 2006, 15:04:05 UTC")
}

// span is how long it was between two times of a statement; "" where that cannot be told.
func span(from, to string) string {
	a, errA := time.Parse(time.RFC3339, from)
	b, errB := time.Parse(time.RFC3339, to)
	if errA != nil || errB != nil || b.Before(a) {
		return ""
	}
	d := b.Sub(a)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
