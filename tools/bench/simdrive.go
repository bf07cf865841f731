package main

import (
	"container/heap"
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// simDrive is a drive that exists in this process only: it takes what it is given at its rate, answers
// after its latency, and keeps nothing. It implements blockio.Queue; what it is given was really made.
type simDrive struct {
	depth    int
	latency  time.Duration
	own      *lane // its rate
	shared   *lane // of the adapter that it shares with others; nil is none
	clock    *simClock
	hangs    int64 // after so many bytes it never answers again; negative never does that
	taken    int64
	inFlight int // the submitting goroutine's alone, as taken
	ended    chan blockio.Completion

	mu       sync.Mutex // guards what hangs
	held     []blockio.Completion
	released bool
}

// errHung: a simulated drive did not answer, and the simulation is over.
var errHung = errors.New("the simulated drive hung")

var errReads = errors.New("a simulated drive keeps nothing: it cannot be read")

// lane is a way that carries so many bytes each second, one request after the other.
type lane struct {
	mu   sync.Mutex
	rate float64 // bytes per second
	free time.Time
}

// carry returns when n bytes that come now are through.
func (l *lane) carry(now time.Time, n int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / l.rate * 1e9))
	return l.free
}

func newSimDrive(clock *simClock, depth int, rate float64, latency time.Duration, shared *lane) *simDrive {
	return &simDrive{depth: depth, latency: latency, own: &lane{rate: rate}, shared: shared, clock: clock, hangs: -1, ended: make(chan blockio.Completion, depth)}
}

// Depth implements blockio.Queue.
func (d *simDrive) Depth() int { return d.depth }

// Submit implements blockio.Queue.
func (d *simDrive) Submit(r blockio.Request) error {
	if d.inFlight == d.depth {
		return blockio.ErrFull
	}
	d.inFlight++
	now := time.Now()
	c := blockio.Completion{Tag: r.Tag, N: len(r.Data)}
	if r.Op == blockio.Read {
		c.N, c.Err = 0, errReads
		d.ended <- c
		return nil
	}
	if d.hangs >= 0 && d.taken >= d.hangs {
		d.hang(c)
		return nil
	}
	d.taken += int64(len(r.Data))
	due := d.own.carry(now, len(r.Data)) // a flush carries nothing: it waits for what came before
	if d.shared != nil {
		if through := d.shared.carry(now, len(r.Data)); through.After(due) {
			due = through
		}
	}
	d.clock.at(due.Add(d.latency), d.ended, c)
	return nil
}

func (d *simDrive) hang(c blockio.Completion) {
	c.N, c.Err = 0, errHung
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.released {
		d.ended <- c
		return
	}
	d.held = append(d.held, c)
}

// release ends what hangs, with errors.
func (d *simDrive) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.released = true
	for _, c := range d.held {
		d.ended <- c // has room for all that is in flight
	}
	d.held = nil
}

// Complete implements blockio.Queue.
func (d *simDrive) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	if d.inFlight == 0 {
		return 0, blockio.ErrIdle
	}
	if len(done) == 0 {
		return 0, nil
	}
	select {
	case done[0] = <-d.ended:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n := 1
	for ; n < len(done) && len(d.ended) > 0; n++ {
		done[n] = <-d.ended
	}
	d.inFlight -= n
	return n, nil
}

// Close implements blockio.Queue.
func (d *simDrive) Close() error {
	d.release()
	for ; d.inFlight > 0; d.inFlight-- {
		<-d.ended
	}
	return nil
}

// simClock ends requests when they are due. It has a thread of its own that sleeps in the kernel, since
// a timer of the runtime may come a millisecond late, which is much for a fast drive.
type simClock struct {
	mu     sync.Mutex
	events events
	over   chan struct{}
	used   chan time.Duration
}

// tick bounds how late a request can end that was submitted while the clock slept.
const tick = 200 * time.Microsecond

func newSimClock() *simClock {
	c := &simClock{over: make(chan struct{}), used: make(chan time.Duration, 1)}
	go c.run()
	return c
}

func (c *simClock) at(due time.Time, to chan<- blockio.Completion, what blockio.Completion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heap.Push(&c.events, event{due, to, what})
}

// stop ends the clock and returns the processor time that it took.
func (c *simClock) stop() time.Duration {
	close(c.over)
	return <-c.used
}

func (c *simClock) run() {
	runtime.LockOSThread()
	began, beganErr := usedBy(unix.RUSAGE_THREAD)
	for {
		select {
		case <-c.over:
			used, err := usedBy(unix.RUSAGE_THREAD)
			if err != nil || beganErr != nil {
				used = began // then nothing is taken off
			}
			c.used <- used - began
			return
		default:
		}
		pause := unix.NsecToTimespec(int64(c.deliver()))
		_ = unix.Nanosleep(&pause, nil) // woken early, it looks early
	}
}

// deliver ends what is due and returns how long the clock may sleep.
func (c *simClock) deliver() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for len(c.events) > 0 && !c.events[0].due.After(now) {
		e := heap.Pop(&c.events).(event)
		e.to <- e.what // has room for all that is in flight
	}
	if len(c.events) == 0 {
		return tick
	}
	return min(tick, c.events[0].due.Sub(now))
}

// event is a request's end.
type event struct {
	due  time.Time
	to   chan<- blockio.Completion
	what blockio.Completion
}

type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].due.Before(e[j].due) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop implements heap.Interface.
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
