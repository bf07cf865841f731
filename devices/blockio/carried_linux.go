package blockio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long the kernel is waited for at a time, and so how late a context's end may be noticed.
const patience = 100 * time.Millisecond

// mostBytes bounds one request, far below what the kernel cuts off (MAX_RW_COUNT).
const mostBytes = 1 << 30

// carrier is a way by which the kernel carries many requests at once. All its methods are called by the goroutine
// that the queue belongs to.
type carrier interface {
	// give hands over what is left of a request and returns at once. EAGAIN: the kernel can take none now.
	// errBroken: it will take none any more. Another error is the request's own.
	give(slot int, f *flight) error
	// collect waits for an end, but not longer than d, and tells at most so many.
	collect(most int, d time.Duration, ended func(slot int, result int64)) error
	// close gives everything back to the kernel. Nothing is in flight.
	close() error

	engine
}

// errBroken: the carrier itself failed, which says nothing of any block.
var errBroken = errors.New("the kernel takes no more requests")

// flight is a request that the kernel has. It keeps the buffer alive, whose address the kernel has as a number.
type flight struct {
	Request
	moved    int
	again    bool // the rest after a short transfer
	attempts int  // that the kernel gave up before it began
}

func (f *flight) rest() []byte  { return f.Data[f.moved:] }
func (f *flight) offset() int64 { return f.Offset + int64(f.moved) }

// carried is a Queue over a carrier.
type carried struct {
	node    Node
	carrier carrier
	why     error // there is no better one

	flights  []flight
	free     []int        // places of flights
	waiting  []int        // places of those that the kernel could not take yet
	inKernel int          // requests that it has
	inFlight int          // submitted and not returned
	ended    []Completion // of those, what is known
	closed   bool
}

// alive are the queues that are not closed. The kernel knows their buffers by address alone: were a queue dropped
// with requests in flight, the garbage collector would give their memory to somebody else.
var alive sync.Map

func carry(n Node, c carrier, depth int) *carried {
	q := &carried{node: n, carrier: c, flights: make([]flight, depth), ended: make([]Completion, 0, depth)}
	for i := range depth {
		q.free = append(q.free, depth-1-i)
	}
	alive.Store(q, true)
	return q
}

func (q *carried) Depth() int { return len(q.flights) }

func (q *carried) engine() string { return q.carrier.engine() }
func (q *carried) refused() error { return errors.Join(q.why, q.carrier.refused()) }

func (q *carried) Submit(r Request) error {
	if q.closed {
		return os.ErrClosed
	}
	if q.inFlight == len(q.flights) {
		return ErrFull
	}
	if done, err := check(r); done {
		q.inFlight++
		q.ended = append(q.ended, Completion{Tag: r.Tag, Err: q.told(r, err)})
		return nil
	}
	slot := q.free[len(q.free)-1]
	q.free = q.free[:len(q.free)-1]
	q.flights[slot] = flight{Request: r}
	err := q.give(slot)
	if errors.Is(err, errBroken) {
		q.flights[slot] = flight{}
		q.free = append(q.free, slot)
		return fmt.Errorf("%v %d+%d: %w", r.Op, r.Offset, len(r.Data), err)
	}
	q.inFlight++
	if err != nil {
		q.end(slot, err)
	}
	return nil
}

// check finds what the kernel needs not, or must not, be given: it would take some of it for something else. An
// offset of -1, for one, is the place where a file stands to io_uring.
func check(r Request) (done bool, err error) {
	switch {
	case r.Op > Flush:
		return true, fmt.Errorf("%v is not a request", r.Op)
	case r.Op == Flush && len(r.Data) > 0:
		return true, fmt.Errorf("%d bytes with a flush: %w", len(r.Data), syscall.EINVAL)
	case r.Op == Flush:
		return false, nil
	case r.Offset < 0, len(r.Data) > mostBytes:
		return true, syscall.EINVAL
	}
	return len(r.Data) == 0, nil
}

// give hands a request to the kernel, or has it wait until that takes some again.
func (q *carried) give(slot int) error {
	err := q.carrier.give(slot, &q.flights[slot])
	if errors.Is(err, unix.EAGAIN) {
		q.waiting = append(q.waiting, slot)
		return nil
	}
	if err == nil {
		q.inKernel++
	}
	return err
}

// goOn gives a request to the kernel once more.
func (q *carried) goOn(slot int) {
	if err := q.give(slot); err != nil {
		q.end(slot, err)
	}
}

func (q *carried) Complete(ctx context.Context, done []Completion) (int, error) {
	if q.inFlight == 0 {
		return 0, ErrIdle
	}
	if len(done) == 0 {
		return 0, nil
	}
	for {
		stopped, d := ctx.Err() != nil, patience
		if stopped || len(q.ended) > 0 {
			d = 0
		}
		err := q.advance(len(done), d)
		if n := copy(done, q.ended); n > 0 {
			q.ended = append(q.ended[:0], q.ended[n:]...)
			q.inFlight -= n
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if stopped {
			return 0, context.Cause(ctx)
		}
	}
}

// advance gives the kernel what waits for it and takes what has ended.
func (q *carried) advance(most int, d time.Duration) error {
	waiting := q.waiting
	q.waiting = nil
	for _, slot := range waiting {
		q.goOn(slot)
	}
	if q.inKernel > 0 {
		return q.carrier.collect(most, d, q.result)
	}
	if d > 0 && len(q.ended) == 0 {
		time.Sleep(time.Millisecond) // the kernel has none of ours and takes none: its memory is short
	}
	return nil
}

// mostAttempts bounds how often a request is given again that the kernel gave up before it began.
const mostAttempts = 100

// result takes what the kernel says of a request: bytes moved, or an error's number made negative.
func (q *carried) result(slot int, result int64) {
	q.inKernel--
	f := &q.flights[slot]
	left := int64(len(f.rest()))
	switch errno := syscall.Errno(-result); {
	case result < 0 && (errno == unix.EINTR || errno == unix.EAGAIN) && f.attempts < mostAttempts:
		f.attempts++
		q.goOn(slot)
	case result < 0:
		q.end(slot, errno)
	case f.Op == Flush:
		q.end(slot, nil)
	case result > left:
		q.end(slot, fmt.Errorf("the kernel says that %d bytes moved, of %d", result, left))
	case result == 0 && f.Op == Read:
		q.end(slot, io.EOF)
	case result < left && (f.again || result == 0):
		f.moved += int(result)
		q.end(slot, io.ErrUnexpectedEOF)
	default:
		f.moved += int(result)
		if result == left {
			q.end(slot, nil)
			return
		}
		f.again = true
		q.goOn(slot)
	}
}

// end makes a completion, and the buffer the caller's again.
func (q *carried) end(slot int, err error) {
	f := q.flights[slot]
	q.flights[slot] = flight{}
	q.free = append(q.free, slot)
	if err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("%v %d+%d: %d bytes moved: %w", f.Op, f.Offset, len(f.Data), f.moved, err)
	}
	q.ended = append(q.ended, Completion{Tag: f.Tag, N: f.moved, Err: q.told(f.Request, err)})
}

// told makes an error what a Backend would have answered.
func (q *carried) told(r Request, err error) error {
	if errno, ok := err.(syscall.Errno); ok && r.Op != Flush {
		err = &fs.PathError{Op: r.Op.String(), Path: q.node.File.Name(), Err: errno}
	}
	if err == nil || q.node.Wrap == nil {
		return err
	}
	return q.node.Wrap(err)
}

func (q *carried) Close() error {
	if q.closed {
		return os.ErrClosed
	}
	for q.inKernel > 0 || len(q.waiting) > 0 {
		if err := q.advance(len(q.flights), patience); err != nil {
			return fmt.Errorf("wait for what is in flight: %w", err) // it stays alive, and so do its buffers
		}
	}
	q.closed = true
	alive.Delete(q)
	if err := q.carrier.close(); err != nil {
		return fmt.Errorf("close queue: %w", err)
	}
	return nil
}
