package overwrite

import (
	"sync"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Budget is the memory that the work on many drives shares. A drive takes a buffer for each request
// and gives it back when the request has ended, never more at a time than its even share while others
// are at work. Nobody waits for it: whoever finds it empty goes on with a small buffer of his own, one
// request at a time, so that a drive which never answers again holds up no other. Drives that are written with
// the same repeating pattern need no buffers: they share the one memory that holds it, and count for nothing here.
// The zero value has nothing to give.
type Budget struct {
	mu      sync.Mutex
	left    int      // buffers that can still be given out
	total   int      // buffers in all
	free    [][]byte // made, and given back
	sharers int
	groups  map[string]*Group

	constants map[string]*constant // what repeating patterns are written from, by their units
}

// NewBudget makes a budget of so many requests of DefaultRequest bytes.
func NewBudget(requests int) *Budget { return &Budget{left: requests, total: requests} }

// Group is the drives behind an adapter of this name; those behind none are each alone.
func (b *Budget) Group(adapter string) *Group {
	if b == nil || adapter == "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.groups == nil {
		b.groups = map[string]*Group{}
	}
	if b.groups[adapter] == nil {
		b.groups[adapter] = &Group{}
	}
	return b.groups[adapter]
}

// ownRequest is the size of the one request that a drive can always have in flight.
const ownRequest = 128 << 10

func (b *Budget) join() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sharers++
}

// leave is join's counterpart. When nobody is left the memory is given up.
func (b *Budget) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sharers--; b.sharers == 0 {
		b.free = nil
	}
}

// take returns a buffer of DefaultRequest bytes to somebody who has so many already; nil when that is
// his share, or none is left.
func (b *Budget) take(has int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 || has >= max(1, b.total/max(1, b.sharers)) {
		return nil
	}
	b.left--
	n := len(b.free)
	if n == 0 {
		return blockio.AlignedBuffer(DefaultRequest)
	}
	buf := b.free[n-1]
	b.free = b.free[:n-1]
	return buf
}

// share is how many buffers one drive can have.
func (b *Budget) share() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return max(1, b.total/max(1, b.sharers))
}

func (b *Budget) give(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left++
	b.free = append(b.free, buf)
}

// slot is one request's buffer and where it goes. It has a buffer while its request is in flight: of its own, or the
// pump's constant, which is only read.
type slot struct {
	buf    []byte
	extent Extent
	own    bool // the buffer is the pump's own
	alone  bool // nothing else was in flight with it
	again  bool // it may have been written before a reset, and is written again
	lane   lane // when written zone by zone
}

// equip finds a buffer for a request: one of the budget, or the own one when there is no other.
func (p *pump) equip(s *slot) bool {
	if p.constant != nil {
		s.buf = p.constant.data[:DefaultRequest]
		return true
	}
	if s.buf = p.Budget.take(p.taken); s.buf != nil {
		p.taken++
		return true
	}
	if p.taken > 0 || p.own == nil {
		return false
	}
	s.buf, s.own, p.own = p.own, true, nil
	return true
}

// release gives a buffer back when its request has ended.
func (p *pump) release(s *slot) {
	switch {
	case p.constant != nil:
	case s.own:
		p.own = s.buf
	default:
		p.Budget.give(s.buf)
		p.taken--
	}
	*s = slot{lane: s.lane}
}
