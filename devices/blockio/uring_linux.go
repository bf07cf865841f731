package blockio

// A ring of io_uring (linux/io_uring.h): two queues in memory that kernel and program share. Entries go to the
// kernel one by one, at once; completions are read from memory, and waited for when there is none.
//
// The kernel finishes a request in the thread that submitted it, when that next enters the kernel. In Go a thread
// is anybody's: once the goroutine has moved on, its thread may sit in a command to another drive for hours, and
// what it had submitted would end no earlier. So the goroutine keeps its thread while requests are in flight.
// It may have another thread later, which is why the ring is not said to have a single issuer.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/io_uring.h.
const (
	opFsync      = 3
	opReadFixed  = 4
	opWriteFixed = 5
	opRead       = 22
	opWrite      = 23

	sqeFixedFile  = 1 << 0
	sqeAsync      = 1 << 4
	fsyncDataSync = 1 << 0

	setupCoopTaskrun = 1 << 8

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featExtArg     = 1 << 8 // Linux 5.11; waits with a timeout

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3

	offsetSQEs = 0x10000000

	registerFiles   = 2
	unregisterFiles = 3
)

// uringParams is struct io_uring_params.
type uringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     struct {
		head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
		_                                                           uint64
	}
	cq struct {
		head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
		_                                                           uint64
	}
}

// submission is struct io_uring_sqe. It lies in memory that is not Go's, so that an address in it keeps nothing
// alive and is a number: the flight of the request keeps the buffer.
type submission struct {
	opcode, flags uint8
	_             uint16
	fd            int32
	offset        uint64
	addr          uint64
	length        uint32
	opFlags       uint32
	slot          uint64
	buffer        uint16
	_             [22]byte
}

// completion is struct io_uring_cqe.
type completion struct {
	slot   uint64
	result int32
	_      uint32
}

// uringWait is struct io_uring_getevents_arg.
type uringWait struct {
	signals     unsafe.Pointer // none
	signalsSize uint32
	_           uint32
	timeout     *unix.Timespec
}

type uring struct {
	kernel      *kernel
	fd          int
	queues      []byte // mapped: both queues
	entries     []byte // mapped: the submissions
	submissions []submission
	order       []uint32 // the submission queue: which submissions, in which order
	completions []completion

	sqHead, sqTail, cqHead, cqTail *atomic.Uint32

	inKernel int
	buffers  fixedBuffers
	wait     uringWait
	timeout  unix.Timespec
}

func newURing(k *kernel, file *os.File, depth int, fixed bool) (*uring, error) {
	// Linux before 5.19 does not know the flag.
	p := uringParams{flags: setupCoopTaskrun}
	fd, err := k.uringSetup(uint32(depth), &p)
	if errors.Is(err, unix.EINVAL) {
		p = uringParams{}
		fd, err = k.uringSetup(uint32(depth), &p)
	}
	if err != nil {
		return nil, fmt.Errorf("set up a ring: %w", err)
	}
	u := &uring{kernel: k, fd: fd}
	u.wait.timeout = &u.timeout
	if err := u.prepare(&p, file, depth); err != nil {
		return nil, errors.Join(err, u.close())
	}
	u.buffers = fixedBuffers{ring: u, of: make([]int, depth)}
	if fixed {
		u.buffers.begin()
	}
	return u, nil
}

func (u *uring) prepare(p *uringParams, file *os.File, depth int) error {
	if need := uint32(featSingleMmap | featNoDrop | featExtArg); p.features&need != need {
		return fmt.Errorf("the kernel's is older than Linux 5.11 (features %#x): %w", p.features, errors.ErrUnsupported)
	}
	if int(p.sqEntries) < depth || p.cqEntries < p.sqEntries {
		return fmt.Errorf("%d entries and %d completions for a depth of %d", p.sqEntries, p.cqEntries, depth)
	}
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(completion{})))
	const protection, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	var err error
	if u.queues, err = unix.Mmap(u.fd, 0, int(size), protection, flags); err != nil {
		return fmt.Errorf("map the queues of a ring: %w", err)
	}
	if u.entries, err = unix.Mmap(u.fd, offsetSQEs, int(p.sqEntries)*int(unsafe.Sizeof(submission{})), protection, flags); err != nil {
		return fmt.Errorf("map the entries of a ring: %w", err)
	}
	word := func(at uint32) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&u.queues[at])) }
	u.sqHead, u.sqTail, u.cqHead, u.cqTail = word(p.sq.head), word(p.sq.tail), word(p.cq.head), word(p.cq.tail)
	u.submissions = unsafe.Slice((*submission)(unsafe.Pointer(&u.entries[0])), p.sqEntries)
	u.order = unsafe.Slice((*uint32)(unsafe.Pointer(&u.queues[p.sq.array])), p.sqEntries)
	u.completions = unsafe.Slice((*completion)(unsafe.Pointer(&u.queues[p.cq.cqes])), p.cqEntries)
	files := [1]int32{int32(file.Fd())}
	if err := u.kernel.uringRegister(u.fd, registerFiles, unsafe.Pointer(&files), 1); err != nil {
		return fmt.Errorf("register %s with a ring: %w", file.Name(), err)
	}
	return nil
}

func (u *uring) engine() string {
	if u.buffers.on && (u.buffers.why == nil || len(u.buffers.held) > 0) {
		return "io_uring with fixed buffers"
	}
	return "io_uring"
}

func (u *uring) refused() error { return u.buffers.why }

// give implements carrier. What the kernel did not take is taken back, so that the queue is empty between calls.
func (u *uring) give(slot int, f *flight) error {
	s := submission{flags: sqeFixedFile, slot: uint64(slot)} // fd 0 is the first file that is registered
	if f.attempts > 0 {
		s.flags |= sqeAsync // by a thread that may wait
	}
	if f.Op == Flush {
		s.opcode, s.opFlags = opFsync, fsyncDataSync
	} else {
		data := f.rest()
		place := u.buffers.use(slot, data)
		s.opcode = opcodeOf(f.Op, place >= 0)
		s.buffer = uint16(max(0, place))
		s.offset, s.addr, s.length = uint64(f.offset()), uint64(uintptr(unsafe.Pointer(unsafe.SliceData(data)))), uint32(len(data))
	}
	if u.inKernel == 0 {
		runtime.LockOSThread()
	}
	tail := u.sqTail.Load()
	at := tail & uint32(len(u.submissions)-1)
	u.submissions[at], u.order[at] = s, at
	u.sqTail.Store(tail + 1)
	for {
		err := u.kernel.uringEnter(u.fd, 1, 0, 0, nil)
		if u.sqHead.Load() == tail+1 {
			u.inKernel++
			return nil
		}
		if errors.Is(err, unix.EINTR) {
			continue
		}
		u.sqTail.Store(tail)
		u.buffers.release(slot)
		if u.inKernel == 0 {
			runtime.UnlockOSThread()
		}
		if err == nil || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY) {
			return unix.EAGAIN
		}
		return fmt.Errorf("io_uring: %w: %w", errBroken, err)
	}
}

func opcodeOf(op Op, fixed bool) uint8 {
	switch {
	case op == Read && fixed:
		return opReadFixed
	case op == Read:
		return opRead
	case fixed:
		return opWriteFixed
	}
	return opWrite
}

func (u *uring) collect(most int, d time.Duration, ended func(slot int, result int64)) error {
	if u.reap(most, ended) > 0 {
		return nil
	}
	least := uint32(0)
	if d > 0 {
		// To be woken costs more than a request of a fast drive; three quarters of them keep it busy meanwhile. When
		// fewer end they are told once d is over. Of a hard disk's four each is waited for.
		least = uint32(max(1, u.inKernel/4))
	}
	u.timeout = timespec(d)
	err := u.kernel.uringEnter(u.fd, 0, least, enterGetEvents, &u.wait)
	u.reap(most, ended)
	switch {
	case err == nil, errors.Is(err, unix.ETIME), errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EBUSY):
		time.Sleep(time.Millisecond)
		return nil
	}
	return fmt.Errorf("wait for a ring: %w", err)
}

// reap takes completions that are there. Each is given back before it is told, since the one told may submit.
func (u *uring) reap(most int, ended func(slot int, result int64)) (n int) {
	for ; n < most; n++ {
		head := u.cqHead.Load()
		if head == u.cqTail.Load() {
			break
		}
		c := u.completions[head&uint32(len(u.completions)-1)]
		u.cqHead.Store(head + 1)
		u.buffers.release(int(c.slot))
		if u.inKernel--; u.inKernel == 0 {
			runtime.UnlockOSThread()
		}
		ended(int(c.slot), int64(c.result))
	}
	return n
}

// close gives back what is registered before the ring: the kernel takes a ring apart in its own time, and would
// hold the node, and the claim on it, until then.
func (u *uring) close() error {
	err := u.buffers.end()
	if u.submissions != nil {
		if e := u.kernel.uringRegister(u.fd, unregisterFiles, nil, 0); e != nil && !errors.Is(e, unix.ENXIO) {
			err = errors.Join(err, fmt.Errorf("unregister the node: %w", e))
		}
	}
	for _, m := range [][]byte{u.queues, u.entries} {
		if m != nil {
			err = errors.Join(err, unix.Munmap(m))
		}
	}
	return errors.Join(err, unix.Close(u.fd))
}
