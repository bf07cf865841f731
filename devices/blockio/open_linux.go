package blockio

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Node is an open node with what queues need of it. The kernel's queues carry I/O to File themselves, the pool
// has Backend do it; both must come to the same.
type Node struct {
	File    *os.File // stays open until the queue is closed
	Backend Backend
	// Wrap makes of a request's error what Backend would have made of it. io.EOF is a read that began at or
	// behind the end. nil leaves errors as they are.
	Wrap func(error) error
}

// Open makes the best queue that the kernel grants for a node: io_uring, else linux-aio, else the pool.
// Engine and Refused tell which it is, and why.
func Open(n Node, depth int) (Queue, error) { return open(&linux, n, depth) }

func open(k *kernel, n Node, depth int) (Queue, error) {
	ring, noRing := openURing(k, n, depth, true)
	if noRing == nil {
		return ring, nil
	}
	aio, noAIO := openAIO(k, n, depth)
	if noAIO == nil {
		aio.why = noRing
		return aio, nil
	}
	q, err := NewPool(n.Backend, depth)
	if err != nil {
		return nil, err
	}
	q.(*pool).why = errors.Join(noRing, noAIO)
	return q, nil
}

// OpenURing makes a queue of io_uring, or fails; with fixed, buffers are registered as far as the kernel grants
// it. It is for tests and measurements: what works should use Open.
func OpenURing(n Node, depth int, fixed bool) (Queue, error) {
	q, err := openURing(&linux, n, depth, fixed)
	if err != nil {
		return nil, err // not a nil *carried in a Queue
	}
	return q, nil
}

// OpenAIO makes a queue of linux-aio, or fails. It is for tests and measurements, as OpenURing is.
func OpenAIO(n Node, depth int) (Queue, error) {
	q, err := openAIO(&linux, n, depth)
	if err != nil {
		return nil, err
	}
	return q, nil
}

func openURing(k *kernel, n Node, depth int, fixed bool) (*carried, error) {
	err := suits(n, depth)
	if err == nil {
		var r *uring
		if r, err = newURing(k, n.File, depth, fixed); err == nil {
			return carry(n, r, depth), nil
		}
	}
	return nil, fmt.Errorf("io_uring: %w", err)
}

func openAIO(k *kernel, n Node, depth int) (*carried, error) {
	err := suits(n, depth)
	if err == nil {
		var a *aio
		if a, err = newAIO(k, n.File, depth); err == nil {
			return carry(n, a, depth), nil
		}
	}
	return nil, fmt.Errorf("linux-aio: %w", err)
}

// suits says why the kernel's queues are nothing for a node. Without O_DIRECT linux-aio carries requests out
// while they are submitted, and so does io_uring what goes to the page cache.
func suits(n Node, depth int) error {
	if depth < 1 || depth > mostDepth {
		return errDepth(depth)
	}
	if unsafe.Sizeof(uintptr(0)) != 8 {
		return fmt.Errorf("its structures are written for addresses of 64 bits: %w", errors.ErrUnsupported)
	}
	flags, err := unix.FcntlInt(n.File.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("ask how %s was opened: %w", n.File.Name(), err)
	}
	if flags&unix.O_DIRECT == 0 {
		return fmt.Errorf("%s was opened without direct I/O: %w", n.File.Name(), errors.ErrUnsupported)
	}
	return nil
}
