// Package blockio carries block I/O to an open node as a queue: submit, complete, many in flight.
// It knows what a request is and nothing of why it is made.
//
// A Queue belongs to one goroutine, which both submits and completes; this is what lets an
// io_uring or aio queue do without locks.
package blockio

import (
	"context"
	"errors"
	"fmt"
)

// Op is what a request does.
type Op uint8

// The requests that every queue carries.
const (
	Read  Op = iota
	Write    // positioned write; completed is not yet durable
	Flush    // everything completed before it was submitted is on stable media when it completes
)

func (o Op) String() string {
	switch o {
	case Read:
		return "read"
	case Write:
		return "write"
	case Flush:
		return "flush"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Request is one I/O. Offset and len(Data) are multiples of the logical block, and Data starts
// at an address that is a multiple of Alignment (see AlignedBuffer). The queue owns Data until
// the request's completion has been returned. A Flush has neither Offset nor Data.
type Request struct {
	Op     Op
	Offset int64
	Data   []byte
	Tag    uint64 // the caller's, returned with the completion
}

// Completion is a request's end. N bytes were transferred; N < len(Data) always comes with an
// error, so a short transfer can never pass for a whole one.
type Completion struct {
	Tag uint64
	N   int
	Err error
}

// Queue is block I/O with many requests in flight. Requests complete in any order.
type Queue interface {
	// Depth is the number of requests that may be in flight.
	Depth() int

	// Submit hands over one request and returns at once. ErrFull means that Depth requests are
	// in flight and nothing was taken.
	Submit(Request) error

	// Complete waits until at least one request has ended and fills done with as many as have.
	// It returns ErrIdle when nothing is in flight, and the context's error when that ends first:
	// requests then remain in flight, and Data stays the queue's.
	Complete(ctx context.Context, done []Completion) (int, error)

	// Close waits for what is in flight and releases the queue. The node stays open.
	Close() error
}

// What a queue itself can refuse; errors of the I/O travel in completions.
var (
	ErrFull = errors.New("queue is full")
	ErrIdle = errors.New("nothing in flight")
)
