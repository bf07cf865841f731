package blockio

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// Backend is positioned, blocking I/O on an open node, as pread, pwrite and fdatasync do it. Its
// methods may be called from several goroutines at once.
type Backend interface {
	io.ReaderAt
	io.WriterAt
	// Flush puts everything whose write has returned on stable media.
	Flush() error
}

// pool is a Queue of goroutines that each keep one blocking call in flight.
type pool struct {
	backend  Backend
	depth    int
	inFlight int // the submitting goroutine's alone
	requests chan Request
	ended    chan Completion
	workers  sync.WaitGroup
	why      error // there is no better one
}

const mostDepth = 4096

func errDepth(depth int) error {
	return fmt.Errorf("queue of depth %d: 1 to %d are possible", depth, mostDepth)
}

// NewPool makes a queue of depth goroutines over blocking I/O. It is the queue that works
// everywhere; queues of the kernel's own kind implement the same interface.
func NewPool(b Backend, depth int) (Queue, error) {
	if depth < 1 || depth > mostDepth {
		return nil, errDepth(depth)
	}
	p := &pool{backend: b, depth: depth, requests: make(chan Request, depth), ended: make(chan Completion, depth)}
	for range depth {
		p.workers.Go(p.work)
	}
	return p, nil
}

func (p *pool) work() {
	for r := range p.requests {
		p.ended <- p.carryOut(r)
	}
}

func (p *pool) carryOut(r Request) Completion {
	c := Completion{Tag: r.Tag}
	switch r.Op {
	case Read:
		c.N, c.Err = p.backend.ReadAt(r.Data, r.Offset)
	case Write:
		c.N, c.Err = p.backend.WriteAt(r.Data, r.Offset)
	case Flush:
		c.Err = p.backend.Flush()
	default:
		c.Err = fmt.Errorf("%v is not a request", r.Op)
	}
	if c.Err == nil && c.N != len(r.Data) {
		c.Err = fmt.Errorf("%v %d+%d: %d bytes moved: %w", r.Op, r.Offset, len(r.Data), c.N, io.ErrUnexpectedEOF)
	}
	return c
}

func (p *pool) Depth() int { return p.depth }

func (p *pool) engine() string { return "pool" }
func (p *pool) refused() error { return p.why }

func (p *pool) Submit(r Request) error {
	if p.inFlight == p.depth {
		return ErrFull
	}
	p.inFlight++
	p.requests <- r
	return nil
}

func (p *pool) Complete(ctx context.Context, done []Completion) (int, error) {
	if p.inFlight == 0 {
		return 0, ErrIdle
	}
	if len(done) == 0 {
		return 0, nil
	}
	select {
	case done[0] = <-p.ended:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	n := 1
	for n < len(done) {
		select {
		case done[n] = <-p.ended:
			n++
			continue
		default:
		}
		break
	}
	p.inFlight -= n
	return n, nil
}

func (p *pool) Close() error {
	close(p.requests)
	// ended has room for all that is in flight, so the workers never wait for a reader.
	p.workers.Wait()
	return nil
}

// ReadFull reads len(b) bytes at off with one request in flight at a time, through aligned memory.
// off and len(b) need no alignment: block is what requests are rounded to.
func ReadFull(ctx context.Context, q Queue, b []byte, off int64, block int) error {
	from := off / int64(block) * int64(block)
	to := (off + int64(len(b)) + int64(block) - 1) / int64(block) * int64(block)
	buf := AlignedBuffer(int(to - from))
	if err := q.Submit(Request{Op: Read, Offset: from, Data: buf}); err != nil {
		return fmt.Errorf("read %d+%d: %w", from, len(buf), err)
	}
	var done [1]Completion
	if _, err := q.Complete(ctx, done[:]); err != nil {
		return fmt.Errorf("read %d+%d: %w", from, len(buf), err)
	}
	if done[0].Err != nil {
		return fmt.Errorf("read %d+%d: %w", from, len(buf), done[0].Err)
	}
	copy(b, buf[off-from:])
	return nil
}
