package overwrite

import (
	"errors"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// constant is memory that holds a repeating pattern, made once and never written to again: every request of every
// drive that writes the pattern is given a part of it, so that nothing need be filled, and it stays in the caches.
// Since nobody else ever has it for anything, nothing that reads or makes another pattern can change what is in it;
// and that nothing did is looked at before what was written from it is told.
type constant struct {
	data   []byte
	unit   Repeating
	starts [maxUnit]int // where in data a phase of the unit begins, at a multiple of Alignment; -1: nowhere
	users  int          // guarded by the budget
}

// errAltered: memory that nobody writes to has changed. Nothing is known of what was written from it.
var errAltered = errors.New("the memory that the pattern was written from does not hold it any more")

func newConstant(r Repeating) *constant {
	c := &constant{unit: r}
	for i := range c.starts {
		c.starts[i] = -1
	}
	// Multiples of Alignment go round the phases that they reach, and come back to 0.
	last := 0
	for phase := 0; c.starts[phase] < 0; phase = (phase + blockio.Alignment) % len(r.unit) {
		c.starts[phase] = last
		last += blockio.Alignment
	}
	c.data = blockio.AlignedBuffer(DefaultRequest + last - blockio.Alignment)
	r.Fill(c.data, 0)
	return c
}

// suits says whether a request of at most DefaultRequest bytes at any multiple of block can be written from it.
func (c *constant) suits(block int) bool {
	for phase, n := 0, 0; n < len(c.unit.unit); phase, n = (phase+block)%len(c.unit.unit), n+1 {
		if c.starts[phase] < 0 {
			return false
		}
	}
	return true
}

// part is what the pattern has for an extent of at most DefaultRequest bytes, at a multiple of a block that suits.
func (c *constant) part(e Extent) ([]byte, error) {
	if at := c.starts[e.Offset%int64(len(c.unit.unit))]; at >= 0 {
		return c.data[at : at+int(e.Length)], nil
	}
	return nil, errors.New("it does not begin with a block")
}

// intact says whether it still holds the pattern.
func (c *constant) intact() bool { return c.unit.Equal(c.data, 0) }

// borrow lends the memory that holds a pattern. Whoever has it calls unborrow, and writes nothing to it.
func (b *Budget) borrow(r Repeating) *constant {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.constants[string(r.unit)]
	if c == nil || !c.intact() {
		if b.constants == nil {
			b.constants = map[string]*constant{}
		}
		c = newConstant(r)
		b.constants[string(r.unit)] = c
	}
	c.users++
	return c
}

// unborrow gives the memory up when nobody has it any more. A request may still be in flight, of a drive that does
// not answer: its queue keeps the memory.
func (b *Budget) unborrow(c *constant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.users--; c.users == 0 && b.constants[string(c.unit.unit)] == c {
		delete(b.constants, string(c.unit.unit))
	}
}

// enter has the pump take its memory from the budget, or borrow it when all that it writes is the same; the function
// gives it back.
func (p *pump) enter() (leave func()) {
	if r, ok := p.pattern.(Repeating); ok && p.op == blockio.Write {
		c := p.Budget.borrow(r)
		if c.suits(p.Block) {
			p.constant = c
			return func() { p.Budget.unborrow(c) }
		}
		p.Budget.unborrow(c)
	}
	p.own = blockio.AlignedBuffer(p.whole(min(p.Request, ownRequest)))
	p.Budget.join()
	return p.Budget.leave
}
