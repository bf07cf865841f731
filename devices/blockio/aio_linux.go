package blockio

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/aio_abi.h.
const (
	aioPread  = 0
	aioPwrite = 1
	aioFdsync = 2 + 1
)

// aioContext is aio_context_t: the kernel's name of a queue.
type aioContext uintptr

// iocb is struct iocb. The address is a pointer, so that the garbage collector sees it.
type iocb struct {
	slot     uint64
	_        [2]uint32 // key and flags
	opcode   uint16
	priority int16
	fd       uint32
	data     unsafe.Pointer
	length   uint64
	offset   int64
	_        uint64
	flags    uint32
	eventFD  uint32
}

// aioEvent is struct io_event.
type aioEvent struct {
	slot    uint64
	request uint64
	result  int64
	_       int64
}

// aio carries requests by linux-aio, which every kernel has and few policies forbid.
type aio struct {
	kernel   *kernel
	file     *os.File
	context  aioContext
	requests []iocb
	events   []aioEvent

	noSync bool          // the kernel knows no flush among its requests: Linux before 4.18
	synced chan aioEvent // ends of flushes that a goroutine makes in its place
	syncs  int           // of those in flight
}

func newAIO(k *kernel, file *os.File, depth int) (*aio, error) {
	// EAGAIN: everybody together has asked for more than fs.aio-max-nr.
	c, err := k.aioSetup(depth)
	if err != nil {
		return nil, fmt.Errorf("set up for %d requests: %w", depth, err)
	}
	return &aio{
		kernel: k, file: file, context: c, requests: make([]iocb, depth), events: make([]aioEvent, depth),
		synced: make(chan aioEvent, depth),
	}, nil
}

func (a *aio) engine() string { return "linux-aio" }
func (a *aio) refused() error { return nil }

func (a *aio) give(slot int, f *flight) error {
	if f.Op == Flush && a.noSync {
		a.sync(slot)
		return nil
	}
	r := &a.requests[slot]
	*r = iocb{slot: uint64(slot), fd: uint32(a.file.Fd())}
	switch f.Op {
	case Flush:
		r.opcode = aioFdsync
	case Read:
		r.opcode = aioPread
	default:
		r.opcode = aioPwrite
	}
	if f.Op != Flush {
		data := f.rest()
		r.data, r.length, r.offset = unsafe.Pointer(unsafe.SliceData(data)), uint64(len(data)), f.offset()
	}
	for {
		err := a.kernel.aioSubmit(a.context, r)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case f.Op == Flush && errors.Is(err, unix.EINVAL):
			a.noSync = true
			a.sync(slot)
			return nil
		}
		return err
	}
}

// sync flushes in a goroutine, which close does not outlive: what is in flight is waited for.
func (a *aio) sync(slot int) {
	a.syncs++
	go func() {
		e := aioEvent{slot: uint64(slot)}
		var errno unix.Errno
		if err := a.kernel.fdatasync(int(a.file.Fd())); errors.As(err, &errno) {
			e.result = -int64(errno)
		} else if err != nil {
			e.result = -int64(unix.EIO)
		}
		a.synced <- e
	}()
}

func (a *aio) collect(most int, d time.Duration, ended func(slot int, result int64)) error {
	if a.syncs > 0 {
		// Two things are waited for: in turns.
		d = min(d, time.Millisecond)
		select {
		case e := <-a.synced:
			a.syncs--
			ended(int(e.slot), e.result)
			return nil
		default:
		}
	}
	least := 0
	if d > 0 {
		least = 1
	}
	timeout := timespec(d)
	n, err := a.kernel.aioEvents(a.context, least, a.events[:min(most, len(a.events))], &timeout)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return fmt.Errorf("wait for linux-aio: %w", err)
	}
	for _, e := range a.events[:n] {
		a.requests[e.slot].data = nil
		ended(int(e.slot), e.result)
	}
	return nil
}

func (a *aio) close() error {
	if err := a.kernel.aioDestroy(a.context); err != nil {
		return fmt.Errorf("end linux-aio: %w", err)
	}
	return nil
}
