// Package boot tells moments by a clock that nobody sets: how long the host has been up, and since which start.
package boot

import "time"

// Moment is a moment of a host. Two of the same start are as far apart as their Up says, whatever was done to the clock; of
// two starts only the order is known.
type Moment struct {
	ID string        // of the start of the kernel; "" when it is not known
	Up time.Duration // since then, with the time that the host slept
}

// Since is the least time that has passed from a moment to this one, as far as these clocks tell; known says that it is
// exactly that.
func (m Moment) Since(from Moment) (least time.Duration, known bool) {
	if m.ID == "" || from.ID == "" {
		return 0, false
	}
	if m.ID == from.ID {
		return max(0, m.Up-from.Up), true
	}
	return m.Up, false // it was before this start
}
