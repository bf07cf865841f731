package blockio

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Fixed buffers: memory whose pages the kernel looks up once and holds, where it would otherwise do so for each
// request. What it holds are pages, not addresses. Were a registered buffer freed, the runtime could return its
// pages and get others at the same address, and a request by the old registration would carry bytes of nobody:
// so this table refers to each buffer as long as the kernel has it registered, and a request is given as fixed
// only if it lies within one of the table's. Memory of the Go heap does not move, and what is referred to
// is neither freed nor returned.

// The bounds of a ring's table.
const (
	mostFixed      = 128       // buffers: as many as an agent has in all
	mostFixedBytes = 128 << 20 // what all hold together
	leastFixedSize = 32 << 10  // below, looking pages up costs less than registering
	mostFixedSize  = 4 << 20
)

// From linux/io_uring.h; Linux 5.13, without buffers at first 5.19.
const (
	unregisterBuffers     = 1
	registerBuffers2      = 15
	registerBuffersUpdate = 16
	registerSparse        = 1 << 0
)

// uringBuffers is struct io_uring_rsrc_register.
type uringBuffers struct {
	n, flags   uint32
	_          uint64
	data, tags unsafe.Pointer
}

// uringBufferUpdate is struct io_uring_rsrc_update2.
type uringBufferUpdate struct {
	offset, _ uint32
	data      unsafe.Pointer
	tags      unsafe.Pointer
	n, _      uint32
}

// fixedBuffer is one that the kernel has registered.
type fixedBuffer struct {
	data     []byte
	inFlight int
	dead     bool // the kernel may have it or not: it is kept, and never used again
}

type fixedBuffers struct {
	ring  *uring
	on    bool  // the kernel has a table
	why   error // it has none, or takes no more
	held  []fixedBuffer
	next  int   // in held, of the one that goes first
	bytes int   // held
	of    []int // by the request's place: 1 + the place of its buffer, or 0
}

// begin asks for an empty table.
func (t *fixedBuffers) begin() {
	r := uringBuffers{n: mostFixed, flags: registerSparse}
	if err := t.ring.kernel.uringRegister(t.ring.fd, registerBuffers2, unsafe.Pointer(&r), uint32(unsafe.Sizeof(r))); err != nil {
		t.why = fmt.Errorf("fixed buffers: %w", err)
		return
	}
	t.on = true
}

// use finds the place of the buffer that data lies in, and notes that a request uses it. It is -1 for one that is
// not fixed.
func (t *fixedBuffers) use(slot int, data []byte) int {
	place := t.find(data)
	if place < 0 {
		place = t.register(data)
	}
	if place >= 0 {
		t.held[place].inFlight++
	}
	t.of[slot] = place + 1
	return place
}

// release notes that a request has ended.
func (t *fixedBuffers) release(slot int) {
	if place := t.of[slot] - 1; place >= 0 {
		t.held[place].inFlight--
		t.of[slot] = 0
	}
}

func (t *fixedBuffers) find(data []byte) int {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	for i, b := range t.held {
		first := uintptr(unsafe.Pointer(unsafe.SliceData(b.data)))
		if !b.dead && from >= first && from+uintptr(len(data)) <= first+uintptr(len(b.data)) {
			return i
		}
	}
	return -1
}

// register has the kernel hold a buffer that it has not seen, in place of the oldest when there are many.
func (t *fixedBuffers) register(data []byte) int {
	whole := data[:cap(data)]
	if !t.on || t.why != nil || len(data) < leastFixedSize || len(whole) > mostFixedSize {
		return -1
	}
	place := len(t.held)
	if place == mostFixed || t.bytes+len(whole) > mostFixedBytes {
		if place = t.oldest(); place < 0 || t.bytes-len(t.held[place].data)+len(whole) > mostFixedBytes {
			return -1
		}
	}
	v := unix.Iovec{Base: unsafe.SliceData(whole)}
	v.SetLen(len(whole))
	u := uringBufferUpdate{offset: uint32(place), data: unsafe.Pointer(&v), n: 1}
	if err := t.ring.kernel.uringRegister(t.ring.fd, registerBuffersUpdate, unsafe.Pointer(&u), uint32(unsafe.Sizeof(u))); err != nil {
		// Most likely RLIMIT_MEMLOCK. What is there stays and is used, the rest goes without.
		t.why = fmt.Errorf("more than %d fixed buffers: %w", len(t.held), err)
		if place < len(t.held) {
			t.held[place].dead = true
		}
		return -1
	}
	if place == len(t.held) {
		t.held = append(t.held, fixedBuffer{})
	}
	t.bytes += len(whole) - len(t.held[place].data)
	t.held[place] = fixedBuffer{data: whole}
	return place
}

// oldest is the place of the buffer that was registered first, of those that no request uses; -1: there is none.
func (t *fixedBuffers) oldest() int {
	for range t.held {
		place := t.next
		t.next = (t.next + 1) % len(t.held)
		if t.held[place].inFlight == 0 {
			return place
		}
	}
	return -1
}

// end has the kernel let go of all buffers.
func (t *fixedBuffers) end() error {
	if !t.on {
		return nil
	}
	t.on = false
	if err := t.ring.kernel.uringRegister(t.ring.fd, unregisterBuffers, nil, 0); err != nil {
		return fmt.Errorf("unregister buffers: %w", err)
	}
	t.held = nil
	return nil
}
