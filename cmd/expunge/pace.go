package main

import (
	"time"

	"github.com/expunge-dev/expunge/sanitize"
)

// How fast a drive is, from what is told of it. A slow one gets on in leaps, seconds apart: its rate is taken from leap to leap, over
// as many as make it steady.

// move is how far a stage was when it had got on.
type move struct {
	at   time.Time
	done int64
}

const (
	paceOver  = 15 * time.Second // what a rate is taken over, or
	paceLeaps = 4                // so many times the longest while between two leaps, and so many leaps, where that is more
)

// pace keeps the rate after a reading that was told at seen.
func (m *metered) pace(r sanitize.Reading, seen time.Time) {
	if r.Stage != m.last.Stage || len(m.moves) == 0 {
		m.moves, m.rate = []move{{r.Since, r.Before}}, 0
		if took := seen.Sub(r.Since); took > paceOver { // who comes late begins with the average
			lately := float64(r.Done-r.Before) * paceOver.Seconds() / took.Seconds()
			m.moves[0] = move{seen.Add(-paceOver), r.Done - int64(lately)}
		}
	}
	last := m.moves[len(m.moves)-1]
	if r.Done != last.done && seen.Sub(last.at) > 100*time.Millisecond {
		last = move{seen, r.Done}
		m.moves = append(m.moves, last)
	}
	longest := time.Duration(0)
	for n := min(2, len(m.moves)-1); n > 0 && n < len(m.moves); n++ {
		longest = max(longest, m.moves[n].at.Sub(m.moves[n-1].at))
	}
	over := max(paceOver, paceLeaps*longest)
	for len(m.moves) > paceLeaps+1 && seen.Sub(m.moves[0].at) > over {
		m.moves = m.moves[1:]
	}
	first := m.moves[0]
	if last == first {
		return // it has not moved yet
	}
	until := last.at
	if stands := seen.Add(-2 * longest); stands.After(until) {
		until = stands
	}
	m.rate = max(0, float64(last.done-first.done)/until.Sub(first.at).Seconds())
	if seen.Sub(last.at) > over {
		m.rate = 0 // it stands still
	}
}
