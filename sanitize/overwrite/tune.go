package overwrite

import (
	"slices"
	"sync/atomic"
	"time"
)

// How a Tuner measures. An epoch is long enough for a rate, and has enough ends for one; a trial is three pairs of
// epochs, so that a drive which becomes slower or faster by itself does not decide it.
const (
	epochTime = 100 * time.Millisecond
	epochEnds = 64
	pairs     = 3
	maxTrials = 12

	leastGain  = 1.03 // of each pair, for more in flight
	medianGain = 1.05
	leastLoss  = 0.99 // of each pair, for less in flight
	groupGain  = 1.01 // of all drives of the adapter together

	silence = 5 * time.Second // after which a drive that tries is taken to hang

	shiftTime  = 10 * time.Second // a window in which a settled drive is watched
	shiftRatio = 0.15
	shifts     = 3 // windows in a row that differ so much from the first
)

// Tuner finds out how many requests a drive needs in flight: by comparing what is with double and with half of it, a
// few times at the start, and again when the drive's rate has changed for long. A good beginning is nearly everything;
// it must never cost. It belongs to one goroutine at a time.
type Tuner struct {
	group      *Group
	from, most int // requests in flight at first, and at most

	depth   int // the best that is known
	trial   int // what it is compared with; 0: nothing
	trials  int
	smaller bool // double was tried and is no better
	grown   bool // double was better: less will not be as good
	settled bool
	turn    bool // the trial's
	skip    int  // ends that belong to the turn before
	epoch   epoch
	plain   epoch // of the other turn
	gains   []float64
	totals  []float64 // of the group

	window epoch
	usual  float64 // bytes a second when it had settled
	shifts int
	seen   int64 // changes of the group that are known
}

// epoch is what ended in some time.
type epoch struct {
	since       time.Time
	took        time.Duration
	bytes, ends int64
	total       int64 // bytes of the group, before
}

func (e epoch) rate() float64 { return float64(e.bytes) / e.took.Seconds() }

// NewTuner begins with so many requests in flight and tries up to most. Drives behind one adapter share a group; nil is one alone.
func NewTuner(group *Group, from, most int) *Tuner {
	if group == nil {
		group = &Group{}
	}
	return &Tuner{group: group, from: from, most: max(from, most), depth: from, settled: most <= from}
}

// InFlight is how many requests are best, as far as is known.
func (t *Tuner) InFlight() int { return t.depth }

// limit is how many requests may be in flight now; nil is no limit.
func (t *Tuner) limit(slots int) int {
	switch {
	case t == nil:
		return slots
	case t.turn:
		return t.trial
	}
	return t.depth
}

// ended takes the end of a request into account.
func (t *Tuner) ended(now time.Time, bytes int64) {
	if t == nil {
		return
	}
	t.group.moved.Add(bytes)
	if t.group.changes.Load() != t.seen {
		t.regroup()
	}
	if t.settled {
		t.watch(now, bytes)
		return
	}
	if t.trial == 0 && !t.begin(now) {
		return
	}
	if t.group.trying.Load() != t {
		t.drop() // it was silent for so long that another took its turn
		return
	}
	t.group.heard.Store(now.UnixNano())
	if t.skip > 0 {
		if t.skip--; t.skip == 0 {
			t.epoch = epoch{since: now, total: t.group.moved.Load()}
		}
		return
	}
	t.epoch.bytes += bytes
	t.epoch.ends++
	if t.epoch.took = now.Sub(t.epoch.since); t.epoch.took < epochTime || t.epoch.ends < epochEnds {
		return
	}
	t.epoch.total = t.group.moved.Load() - t.epoch.total
	if !t.turn {
		t.plain = t.epoch
		t.take(true)
		return
	}
	t.gains = append(t.gains, t.epoch.rate()/t.plain.rate())
	t.totals = append(t.totals, float64(t.epoch.total)/t.epoch.took.Seconds()/(float64(t.plain.total)/t.plain.took.Seconds()))
	t.take(false)
	t.decide()
}

// begin chooses what to try next; false when it is another drive's turn to try.
func (t *Tuner) begin(now time.Time) bool {
	next := min(2*t.depth, t.most)
	if t.smaller || next == t.depth {
		t.smaller, next = true, t.depth/2
	}
	if next == 0 || t.smaller && t.grown || t.trials == maxTrials || t.group.crowded.Load() {
		t.settle()
		return false
	}
	if !t.group.turn(t, now) {
		return false
	}
	t.trial, t.trials, t.gains, t.totals = next, t.trials+1, nil, nil
	t.take(false)
	return true
}

// take gives one of the two its turn.
func (t *Tuner) take(trial bool) { t.turn, t.skip = trial, max(t.depth, t.trial) }

// decide ends a trial that is over, which it is with the first pair that is not good enough.
func (t *Tuner) decide() {
	larger := t.trial > t.depth
	least := leastLoss
	if larger {
		least = leastGain
	}
	slices.Sort(t.gains)
	slices.Sort(t.totals)
	better := t.gains[0] > least
	switch {
	case better && len(t.gains) < pairs:
		return
	case !larger && better:
		t.depth = t.trial
	case !larger:
		t.settle()
	case !better || t.gains[pairs/2] <= medianGain:
		t.smaller = true
	case t.totals[pairs/2] < groupGain:
		// What it gained others lost: the adapter has no more to give, and all have the same of it.
		t.group.crowd()
	default:
		t.depth, t.grown = t.trial, true
	}
	t.drop()
}

// drop ends a trial.
func (t *Tuner) drop() {
	t.group.trying.CompareAndSwap(t, nil)
	t.trial, t.turn, t.skip = 0, false, 0
}

func (t *Tuner) settle() {
	t.settled, t.usual, t.shifts, t.window = true, 0, 0, epoch{}
}

// disturbed gives up what is measured: something other than the number of requests decides the rate just now.
func (t *Tuner) disturbed() {
	if t != nil {
		t.drop()
		t.window = epoch{}
	}
}

// watch tries again when a settled drive's rate is another one for long.
func (t *Tuner) watch(now time.Time, bytes int64) {
	if t.most <= t.from {
		return
	}
	if t.window.since.IsZero() {
		t.window = epoch{since: now}
		return
	}
	t.window.bytes += bytes
	if t.window.took = now.Sub(t.window.since); t.window.took < shiftTime {
		return
	}
	rate := t.window.rate()
	t.window = epoch{since: now}
	switch {
	case t.usual == 0:
		t.usual = rate
	case rate < t.usual*(1-shiftRatio) || rate > t.usual*(1+shiftRatio):
		if t.shifts++; t.shifts == shifts && !t.group.crowded.Load() {
			t.retry()
		}
	default:
		t.shifts = 0
	}
}

// regroup follows a change of the group: when its adapter is crowded all drives have the same in flight, and when one
// has left there may be more to have.
func (t *Tuner) regroup() {
	t.seen = t.group.changes.Load()
	if t.most <= t.from {
		return
	}
	t.drop()
	t.settle()
	if t.group.crowded.Load() {
		t.depth = t.from
		return
	}
	t.retry()
}

// retry begins to try anew.
func (t *Tuner) retry() { t.settled, t.smaller, t.grown, t.trials = false, false, false, 0 }

// leave says that the drive is not worked on for now.
func (t *Tuner) leave() {
	if t != nil {
		t.drop()
		t.group.left(t)
	}
}

// Group is the drives behind one adapter. The zero value is ready.
type Group struct {
	moved   atomic.Int64 // bytes of all
	trying  atomic.Pointer[Tuner]
	heard   atomic.Int64 // when a request of that one last ended, in nanoseconds
	crowded atomic.Bool
	changes atomic.Int64
}

// turn gives a drive the turn to try, unless another has it. One of which nothing is heard loses it.
func (g *Group) turn(t *Tuner, now time.Time) bool {
	has := g.trying.Load()
	if has != nil && now.Sub(time.Unix(0, g.heard.Load())).Abs() < silence || !g.trying.CompareAndSwap(has, t) {
		return false
	}
	g.heard.Store(now.UnixNano())
	return true
}

func (g *Group) crowd() {
	g.crowded.Store(true)
	g.changes.Add(1)
}

// left says that a drive needs its share no longer.
func (g *Group) left(t *Tuner) {
	g.trying.CompareAndSwap(t, nil)
	if g.crowded.CompareAndSwap(true, false) {
		g.changes.Add(1)
	}
}
