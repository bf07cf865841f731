package overwrite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// The sizes used when Options has none.
const (
	// DefaultRequest is large enough that the cost of a request vanishes and small enough for the
	// transfer limit of every host adapter in use.
	DefaultRequest = 1 << 20
	// DefaultCommitBytes and DefaultCommitEvery bound what an interruption can cost.
	DefaultCommitBytes = 1 << 30
	DefaultCommitEvery = 5 * time.Second
)

// Requests of DefaultRequest bytes in flight. A hard disk has one head: a few keep it busy, and what is more only
// waits. Drives without one begin with eight, which is nearly always enough, and are tried with up to sixteen.
const (
	MagneticRequests = 4
	UsualRequests    = 8
	MostRequests     = 16
	QueueDepth       = MostRequests + 1 // and a flush
	// DefaultBudget is for all drives together: as many as twelve fast drives can use at once, or forty-eight hard
	// disks; of more drives each has a share.
	DefaultBudget = 192
)

// Options tune Fill and Check. Block is required; the zero value of the rest works.
type Options struct {
	Block   int // bytes of a logical block: what requests are multiples of
	Request int // bytes of one request, at most DefaultRequest

	// Budget is shared with the work on other drives; nil is one that is enough for this alone.
	Budget *Budget

	// Boundary is what no request reaches across: multiples of so many bytes. 0 is none.
	Boundary int64
	// Zoned has Fill write zone by zone: those between boundaries. nil writes in any order.
	Zoned *Zoned

	// Commit receives what has been done since the last call: extents that are on stable media
	// (Fill) or were read (Check), and those blocks that could not be, or did not match. It is
	// called from the goroutine that called Fill or Check; its error ends the work.
	Commit      func(Progress) error
	CommitBytes int64
	CommitEvery time.Duration

	// Resets counts how often the drive told that it was reset, or lost its power: what its cache held then may be
	// lost. nil is never.
	Resets func() int64

	// Gone tells errors that mean that the drive no longer answers: they end the work at once.
	Gone func(error) bool

	// BadLimit ends the work when more bytes than this failed or did not match. 0 is no limit.
	BadLimit int64

	// Moved counts bytes transferred, for progress displays. It may be nil.
	Moved *atomic.Int64

	// Pace says how much may be in flight. It is asked before the first request and from the goroutine that called
	// Fill or Check; its error ends the work. nil is as much as there is room for.
	Pace func(context.Context) (Pace, error)

	// Tuner says how many requests the drive needs in flight; nil is as many as the queue has room for.
	Tuner *Tuner

	Now  func() time.Time                                 // nil is time.Now
	Wait func(ctx context.Context, d time.Duration) error // for pauses of Pace, which needs it

	inspect func(got []byte, off int64) []Extent
}

// Progress is what happened between two commits.
type Progress struct {
	Done     []Extent // ascending
	Failed   []Extent // the device reported an error for exactly these blocks
	Cause    error    // of one of Failed; nil when there are none
	Mismatch []Extent // Check: read, and not the pattern
}

// ErrTooManyBad: more blocks failed or did not match than the limit allows. The drive holds data.
var ErrTooManyBad = errors.New("too many bad blocks")

// FlushError: the drive or the host could not put written data on stable media. What was written
// since the last commit is in an unknown state, and flushing again would not tell.
type FlushError struct{ Err error }

func (e *FlushError) Error() string { return "flush: " + e.Err.Error() }
func (e *FlushError) Unwrap() error { return e.Err }

// Fill writes the pattern over the extents of todo. Failing blocks are left out and reported; the
// work goes on. It ends when everything was written or reported, when ctx ends (what is in flight
// is waited for, flushed and committed first), or with an error that no other block can change.
func Fill(ctx context.Context, q blockio.Queue, todo []Extent, p Pattern, o Options) error {
	return run(ctx, q, blockio.Write, todo, p, o)
}

// Check reads the extents of todo and compares them with the pattern. Blocks that cannot be read
// or do not match are reported; the work goes on. It ends as Fill does.
func Check(ctx context.Context, q blockio.Queue, todo []Extent, p Pattern, o Options) error {
	return run(ctx, q, blockio.Read, todo, p, o)
}

// Inspect reads the extents of todo and lets judge name the blocks that are not as they should be.
// Blocks that cannot be read, and those, are reported as with Check.
func Inspect(ctx context.Context, q blockio.Queue, todo []Extent, judge func(got []byte, off int64) []Extent, o Options) error {
	o.inspect = judge
	return run(ctx, q, blockio.Read, todo, nil, o)
}

// pump keeps a queue full. All fields belong to the goroutine that called run.
type pump struct {
	q       blockio.Queue
	op      blockio.Op
	pattern Pattern
	Options

	todo  []Extent // ascending, what has not been cut into requests yet
	retry []Extent // parts of failed requests, next one last
	// suspect are blocks that failed while other requests were in flight. A kernel makes one request of
	// neighbours that it has at the same time, and fails all of it for one of them; each is tried alone
	// before it is called bad.
	suspect []Extent
	alone   bool // the suspects are tried now
	slots   []slot
	own     []byte // the buffer that is nobody else's; nil while it is in flight
	taken   int    // buffers of the budget
	// constant is what every write is given a part of, in place of a buffer of its own. It is only read. nil: there is none.
	constant *constant

	inFlight int
	ended    []blockio.Completion
	flushing bool
	covered  Progress // what the flush in flight will make stable
	pending  Progress // completed since the last commit
	bytes    int64    // of pending.Done
	bad      int64    // bytes failed or mismatched in all
	since    time.Time
	dead     bool // the drive or the journal failed: nothing more can be committed

	most    int // requests in flight by Pace
	paceAt  time.Time
	paceFor time.Duration

	mark   [8]byte // what is in memory before it is read into
	resets int64   // that are known
}

const flushTag = ^uint64(0)

func run(ctx context.Context, q blockio.Queue, op blockio.Op, todo []Extent, pattern Pattern, o Options) error {
	set := NewSet(todo...)
	p := &pump{q: q, op: op, pattern: pattern, Options: o, todo: set.Extents()}
	if err := p.prepare(); err != nil {
		return err
	}
	defer p.enter()()
	defer p.Tuner.leave()
	stopped := p.work(ctx)
	// Nothing more is started, but buffers are the queue's until their requests have ended.
	settled := p.settle(context.WithoutCancel(ctx))
	return errors.Join(stopped, settled)
}

func (p *pump) prepare() error {
	if p.Block <= 0 {
		return fmt.Errorf("%v with blocks of %d bytes", p.op, p.Block)
	}
	for _, e := range p.todo {
		if e.Offset < 0 || e.Offset%int64(p.Block) != 0 || e.Length%int64(p.Block) != 0 {
			return fmt.Errorf("%v %d+%d: not whole blocks of %d bytes", p.op, e.Offset, e.Length, p.Block)
		}
	}
	if p.Request <= 0 || p.Request > DefaultRequest {
		p.Request = DefaultRequest
	}
	if p.Block > ownRequest {
		return fmt.Errorf("%v with blocks of %d bytes: at most %d", p.op, p.Block, ownRequest)
	}
	p.Request = p.whole(p.Request)
	if p.CommitBytes <= 0 {
		p.CommitBytes = DefaultCommitBytes
	}
	if p.CommitEvery <= 0 {
		p.CommitEvery = DefaultCommitEvery
	}
	if p.Gone == nil {
		p.Gone = func(error) bool { return false }
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Pace != nil && p.Wait == nil {
		return fmt.Errorf("%v at a pace, and nothing waits for it", p.op)
	}
	if p.Moved == nil {
		p.Moved = new(atomic.Int64)
	}
	// One place is kept for the flush, so that a full queue can always be flushed.
	slots := max(1, p.q.Depth()-1)
	if p.op != blockio.Write {
		p.Zoned = nil
	}
	if p.Zoned != nil {
		if p.Boundary <= 0 {
			return fmt.Errorf("%v zone by zone, of zones of %d bytes", p.op, p.Boundary)
		}
		if p.Zoned.Lanes > 0 {
			slots = min(slots, p.Zoned.Lanes)
		}
	}
	p.slots = make([]slot, slots)
	if p.Budget == nil {
		p.Budget = NewBudget(slots)
	}
	if q := p.q.Depth(); q < 2 {
		return fmt.Errorf("%v with a queue of depth %d: one place is for flushes", p.op, q)
	}
	rand.Read(p.mark[:])
	if p.Resets != nil {
		p.resets = p.Resets()
	}
	p.ended = make([]blockio.Completion, p.q.Depth())
	p.since = p.Now()
	return nil
}

// whole rounds down to blocks, of which there is at least one.
func (p *pump) whole(n int) int { return max(p.Block, n/p.Block*p.Block) }

// work goes on until everything is done and committed, or an error.
func (p *pump) work(ctx context.Context) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if p.BadLimit > 0 && p.bad > p.BadLimit {
			return fmt.Errorf("%w: %d bytes, at most %d", ErrTooManyBad, p.bad, p.BadLimit)
		}
		if err := p.keepPace(ctx); err != nil {
			return err
		}
		if err := p.submit(); err != nil {
			return err
		}
		if p.due() {
			if err := p.beginCommit(); err != nil {
				return err
			}
		}
		if p.inFlight == 0 {
			if p.idle() {
				return nil
			}
			continue
		}
		n, err := p.q.Complete(ctx, p.ended)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			p.dead = true
			return fmt.Errorf("wait for %v: %w", p.op, err)
		}
		if err := p.finish(p.ended[:n]); err != nil {
			return err
		}
	}
}

func (p *pump) idle() bool {
	lanes := slices.ContainsFunc(p.slots, func(s slot) bool { return s.lane.left() > 0 })
	return len(p.todo) == 0 && len(p.retry) == 0 && len(p.suspect) == 0 && !lanes && p.pending.empty()
}

// maxSuspects bounds what waits to be tried alone, so that a drive on which everything fails is found
// out soon.
const maxSuspects = 16

// submit fills the free slots, as far as there are buffers.
func (p *pump) submit() error {
	if left := len(p.todo) + len(p.retry); !p.alone && (len(p.suspect) >= maxSuspects || len(p.suspect) > 0 && left == 0) {
		p.alone = true
	}
	p.alone = p.alone && len(p.suspect) > 0
	for i := range p.slots {
		s := &p.slots[i]
		if p.held() {
			return nil
		}
		if s.buf != nil {
			continue
		}
		if !p.has(s) {
			continue
		}
		if !p.equip(s) {
			return nil
		}
		s.alone = p.alone
		e := p.next(s)
		data, err := p.load(s, e)
		if err == nil {
			err = p.q.Submit(blockio.Request{Op: p.op, Offset: e.Offset, Data: data, Tag: uint64(i)})
		}
		if err != nil {
			p.dead = true
			p.release(s)
			return fmt.Errorf("%v %d+%d: %w", p.op, e.Offset, e.Length, err)
		}
		s.extent = e
		p.inFlight++
	}
	return nil
}

// load makes the bytes of a request: what is written, or what a read must take the place of.
func (p *pump) load(s *slot, e Extent) ([]byte, error) {
	if p.constant != nil {
		return p.constant.part(e)
	}
	data := s.buf[:e.Length]
	if p.op == blockio.Write {
		p.pattern.Fill(data, e.Offset)
	} else {
		p.markBlocks(data)
	}
	return data, nil
}

// has says whether there is something to do for a free slot.
func (p *pump) has(s *slot) bool {
	switch {
	case p.Zoned != nil:
		return s.lane.left() > 0 || len(p.todo) > 0
	case p.alone:
		return p.inFlight == 0
	}
	return len(p.todo) > 0 || len(p.retry) > 0
}

// next cuts the next request: parts of failed ones first, or their number could grow.
func (p *pump) next(s *slot) Extent {
	limit := int64(min(len(s.buf), p.Request))
	switch n := len(p.retry); {
	case p.Zoned != nil:
		return p.nextInZone(s, limit)
	case p.alone:
		return p.cut(&p.suspect, 0, limit)
	case n > 0:
		return p.cut(&p.retry, n-1, limit)
	}
	return p.cut(&p.todo, 0, limit)
}

// cut takes so much of one of what is left, or less.
func (p *pump) cut(from *[]Extent, at int, limit int64) Extent {
	e := (*from)[at]
	limit = limit / int64(p.Block) * int64(p.Block)
	if p.Boundary > 0 {
		limit = min(limit, p.Boundary-e.Offset%p.Boundary)
	}
	if e.Length > limit {
		(*from)[at] = Extent{e.Offset + limit, e.Length - limit}
		e.Length = limit
		return e
	}
	if at == 0 {
		*from = (*from)[1:]
	} else {
		*from = (*from)[:at] // the last one
	}
	return e
}

// finish takes what has ended.
func (p *pump) finish(ended []blockio.Completion) error {
	var first error
	for _, c := range ended {
		p.inFlight--
		if c.Tag == flushTag {
			first = errors.Join(first, p.endFlush(c.Err))
			continue
		}
		s := &p.slots[c.Tag]
		first = errors.Join(first, p.judge(s, c))
		p.release(s)
	}
	return first
}

// judge decides what one ended request says about its blocks.
func (p *pump) judge(s *slot, c blockio.Completion) error {
	e := s.extent
	if c.Err == nil && int64(c.N) != e.Length {
		c.Err = fmt.Errorf("%d of %d bytes moved and no error", c.N, e.Length)
	}
	if p.op == blockio.Read && c.Err == nil && p.marked(s.buf[:e.Length]) {
		c.Err = errUnread
	}
	switch {
	case p.Zoned != nil && (c.Err == nil || !p.dead && !p.Gone(c.Err)):
		return p.judgeInZone(s, c)
	case c.Err == nil && s.again:
		p.todo = NewSet(append(p.todo, e)...).extents
		return nil
	case c.Err == nil:
		p.Moved.Add(e.Length)
		p.bytes += e.Length
		p.tell(e.Length)
		p.pending.Done = append(p.pending.Done, e)
		if p.op == blockio.Read {
			p.compare(s.buf[:e.Length], e)
		}
		return nil
	case p.dead:
		return nil // the first error says it; the others in flight only repeat it
	case p.Gone(c.Err):
		p.dead = true
		return fmt.Errorf("%v %d+%d: %w", p.op, e.Offset, e.Length, c.Err)
	case e.Length > int64(p.Block):
		// Half by half, first half next: the failing blocks come out alone and in order.
		half := e.Length / 2 / int64(p.Block) * int64(p.Block)
		p.retry = append(p.retry, Extent{e.Offset + half, e.Length - half}, Extent{e.Offset, half})
		return nil
	case !s.alone && len(p.slots) > 1:
		p.suspect = append(p.suspect, e)
		return nil
	}
	p.fail(e, c.Err)
	return nil
}
