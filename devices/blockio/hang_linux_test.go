package blockio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// pipe is a node that answers a read when the test writes to it, a packet of up to 4096 bytes at a time: a drive
// that hangs, and moves less than it was asked for.
func pipe(t *testing.T) (Node, *os.File) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_DIRECT|unix.O_CLOEXEC); err != nil {
		t.Skipf("no pipe of packets: %v", err)
	}
	from, to := os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe")
	t.Cleanup(func() { _ = errors.Join(from.Close(), to.Close()) }) // one may be closed already
	return Node{File: from, Backend: synced{from}}, to
}

func ring(t *testing.T, n Node, depth int) Queue {
	t.Helper()
	u, err := newURing(&linux, n.File, depth, true) // OpenURing would refuse a pipe
	if err != nil {
		t.Skipf("this machine grants no ring: %v", err)
	}
	return carry(n, u, depth)
}

func take(t *testing.T, q Queue) Completion {
	t.Helper()
	var done [1]Completion
	if n, err := q.Complete(t.Context(), done[:]); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	return done[0]
}

// hangs holds a queue whose request does not end until release is called against the contract.
func hangs(t *testing.T, q Queue, r Request, release func(), ended func(c Completion)) {
	t.Helper()
	if err := q.Submit(r); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, stop)
	defer cancel()
	done := make([]Completion, q.Depth())
	for range 3 {
		if n, err := q.Complete(ctx, done); n != 0 || !errors.Is(err, stop) {
			t.Fatalf("%d completions of a request that hangs, %v; want the cause of the stop", n, err)
		}
	}
	runtime.GC()
	release()
	ended(take(t, q))

	// Closing waits, and the request is carried out.
	closed := make(chan error)
	var released atomic.Bool
	go func() {
		closed <- q.Submit(r)
		err := q.Close()
		if !released.Load() {
			t.Error("closed with a request in flight")
		}
		closed <- err
	}()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	released.Store(true)
	release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestRingThatHangs(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n, to := pipe(t)
	want := bytes.Repeat([]byte{0x5e}, 4096)
	r := Request{Op: Read, Data: AlignedBuffer(4096), Tag: 9}
	hangs(t, ring(t, n, 4), r, func() {
		if _, err := to.Write(want); err != nil {
			t.Error(err)
		}
	}, func(c Completion) {
		if c.Tag != 9 || c.Err != nil || c.N != 4096 || !bytes.Equal(r.Data, want) {
			t.Errorf("%+v", c)
		}
	})
}

// A ring is waited for until several requests have ended, for the fewer times that costs. When all others hang, the
// one that ended is told nevertheless, and so is each that ends after it.
func TestOneOfManyThatHang(t *testing.T) {
	n, to := pipe(t)
	q := ring(t, n, 16)
	for tag := range uint64(16) {
		if err := q.Submit(Request{Op: Read, Data: AlignedBuffer(4096), Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	told := map[uint64]bool{}
	for range 16 {
		// By another thread, or the ring would be told as this one writes; and not before it waits.
		wrote := make(chan error)
		time.AfterFunc(5*time.Millisecond, func() {
			_, err := to.Write(bytes.Repeat([]byte{0x5e}, 4096))
			wrote <- err
		})
		c := take(t, q)
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		if c.Err != nil || c.N != 4096 || told[c.Tag] {
			t.Fatalf("%+v, after %v", c, told)
		}
		told[c.Tag] = true
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

func TestAIOThatHangs(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n, name := directFile(t, 8192)
	var open atomic.Int32
	k := refusing(func(k *kernel) {
		k.aioEvents = func(c aioContext, least int, into []aioEvent, timeout *unix.Timespec) (int, error) {
			if open.Load() == 0 {
				time.Sleep(time.Duration(timeout.Nano()))
				return 0, nil
			}
			n, err := linux.aioEvents(c, least, into, timeout)
			open.Add(int32(-n))
			return n, err
		}
	})
	q, err := openAIO(k, n, 4)
	if err != nil {
		t.Skip(err)
	}
	r := Request{Op: Write, Data: AlignedBuffer(4096), Tag: 9}
	r.Data[17] = 0x5e
	hangs(t, q, r, func() { open.Add(1) }, func(c Completion) {
		if got, err := os.ReadFile(name); c.Tag != 9 || c.Err != nil || err != nil || got[17] != 0x5e {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// The kernel ends a request in the thread that submitted it. That thread must not get into another's work, which may
// take hours; and must be anybody's again when nothing is in flight.
func TestThreadIsKeptWhileRequestsAreInFlight(t *testing.T) {
	n, to := pipe(t)
	q := ring(t, n, 2)
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					// A call that takes its thread out of the others' hands.
					_ = unix.Nanosleep(&unix.Timespec{Nsec: 200_000}, nil)
				}
			}
		})
	}
	// moved says whether this goroutine comes to run on another thread.
	moved := func() bool {
		at := unix.Gettid()
		for range 500 {
			time.Sleep(100 * time.Microsecond)
			if unix.Gettid() != at {
				return true
			}
		}
		return false
	}
	moves := moved()
	if !moves {
		t.Log("goroutines keep their threads here whatever a queue does")
	}
	for tag := range uint64(2) {
		if err := q.Submit(Request{Op: Read, Data: AlignedBuffer(4096), Tag: tag}); err != nil {
			t.Fatal(err)
		}
	}
	for left := 2; left > 0; left-- {
		if moved() {
			t.Errorf("another thread, with %d requests in flight", left)
		}
		if _, err := to.Write(make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
		take(t, q)
	}
	if moves && !moved() {
		t.Error("the thread is kept with nothing in flight")
	}
	close(stop)
	busy.Wait()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// A transfer that stops short is gone on with once. What is short even then, or ends at nothing, is no success.
func TestShortTransfersOfARing(t *testing.T) {
	n, to := pipe(t)
	q := ring(t, n, 1)
	data := AlignedBuffer(64 << 10) // fixed
	for _, test := range []struct {
		packets, asked, moved int
		err                   error
	}{
		{1, 4096, 4096, nil}, {2, 8192, 8192, nil}, {2, 12288, 8192, io.ErrUnexpectedEOF}, {2, 64 << 10, 8192, io.ErrUnexpectedEOF},
	} {
		clear(data)
		want := make([]byte, len(data))
		for i := range test.packets {
			p := bytes.Repeat([]byte{byte(i + 1)}, 4096)
			copy(want[i*4096:], p)
			if _, err := to.Write(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Submit(Request{Op: Read, Data: data[:test.asked]}); err != nil {
			t.Fatal(err)
		}
		if c := take(t, q); c.N != test.moved || !errors.Is(c.Err, test.err) || (c.Err == nil) != (test.err == nil) {
			t.Errorf("%+v: %+v", test, c)
		}
		if !bytes.Equal(data, want) {
			t.Errorf("%+v: the bytes are not where they belong", test)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if err := q.Submit(Request{Op: Read, Data: data[:4096]}); err != nil {
		t.Fatal(err)
	}
	if c := take(t, q); c.Err != io.EOF || c.N != 0 {
		t.Errorf("a read of nothing: %+v, want io.EOF", c)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// script is a carrier that answers what it is told to.
type script struct {
	results []int64 // one for each time a request is given
	refuse  []error
	given   []flight
	slots   []int
}

func (s *script) engine() string { return "" }
func (s *script) refused() error { return nil }
func (s *script) close() error   { return nil }

func (s *script) give(slot int, f *flight) error {
	if len(s.refuse) > 0 {
		err := s.refuse[0]
		if s.refuse = s.refuse[1:]; err != nil {
			return err
		}
	}
	s.given, s.slots = append(s.given, *f), append(s.slots, slot)
	return nil
}

func (s *script) collect(_ int, _ time.Duration, ended func(int, int64)) error {
	r, slot := s.results[0], s.slots[0]
	if len(s.results) > 1 {
		s.results = s.results[1:]
	}
	s.slots = s.slots[1:]
	ended(slot, r)
	return nil
}

// Whatever a kernel says of a request, only all of its bytes are a success.
func TestWhatTheKernelSays(t *testing.T) {
	eintr, again := -int64(unix.EINTR), -int64(unix.EAGAIN)
	broken := errors.Join(errBroken, unix.EBADF)
	for _, test := range []struct {
		name    string
		op      Op
		refuse  []error
		results []int64
		moved   int
		err     error // nil: success
		offsets []int64
	}{
		{"all", Write, nil, []int64{8192}, 8192, nil, []int64{512}},
		{"in two", Write, nil, []int64{4096, 4096}, 8192, nil, []int64{512, 4608}},
		{"in three", Write, nil, []int64{4096, 2048, 2048}, 6144, io.ErrUnexpectedEOF, []int64{512, 4608}},
		{"half, then an error", Write, nil, []int64{4096, -int64(unix.EIO)}, 4096, unix.EIO, []int64{512, 4608}},
		{"half, then the end", Read, nil, []int64{4096, 0}, 4096, io.EOF, []int64{512, 4608}},
		{"half, then full of it", Write, nil, []int64{4096, -int64(unix.ENOSPC)}, 4096, unix.ENOSPC, []int64{512, 4608}},
		{"nothing written", Write, nil, []int64{0}, 0, io.ErrUnexpectedEOF, []int64{512}},
		{"nothing read", Read, nil, []int64{0}, 0, io.EOF, []int64{512}},
		{"more than was asked for", Write, nil, []int64{8193}, 0, errors.New("any"), []int64{512}},
		{"more than the rest", Write, nil, []int64{4096, 8192}, 4096, errors.New("any"), []int64{512, 4608}},
		{"interrupted", Write, nil, []int64{eintr, again, eintr, 8192}, 8192, nil, []int64{512, 512, 512, 512}},
		{"never begun", Write, nil, []int64{again}, 0, unix.EAGAIN, nil},
		{"cancelled", Write, nil, []int64{-int64(unix.ECANCELED)}, 0, unix.ECANCELED, []int64{512}},
		{"flushed", Flush, nil, []int64{0}, 0, nil, []int64{0}},
		{"flush interrupted", Flush, nil, []int64{eintr, 0}, 0, nil, []int64{0, 0}},
		{"not flushed", Flush, nil, []int64{-int64(unix.EIO)}, 0, unix.EIO, []int64{0}},
		{"taken late", Write, []error{unix.EAGAIN, unix.EAGAIN, nil}, []int64{8192}, 8192, nil, []int64{512}},
		{"the rest taken late", Write, []error{nil, unix.EAGAIN, nil}, []int64{4096, 4096}, 8192, nil, []int64{512, 4608}},
		{"refused", Write, []error{unix.EBADF}, nil, 0, unix.EBADF, nil},
		{"the rest refused", Write, []error{nil, broken}, []int64{4096}, 4096, errBroken, []int64{512}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, _ := directFile(t, 4096)
			s := &script{refuse: test.refuse, results: test.results}
			q := carry(n, s, 1)
			r := Request{Op: test.op, Offset: 512, Data: AlignedBuffer(8192), Tag: 5}
			if test.op == Flush {
				r.Offset, r.Data = 0, nil
			}
			if err := q.Submit(r); err != nil {
				t.Fatal(err)
			}
			c := take(t, q)
			if (c.Err == nil) != (test.err == nil) || c.N != test.moved || c.Tag != 5 {
				t.Errorf("%+v, want %d bytes and %v", c, test.moved, test.err)
			}
			if test.err != nil && test.err.Error() != "any" && !errors.Is(c.Err, test.err) {
				t.Errorf("%v, want %v", c.Err, test.err)
			}
			var offsets []int64
			for _, f := range s.given {
				offsets = append(offsets, f.offset())
			}
			if test.offsets != nil && !slices.Equal(offsets, test.offsets) {
				t.Errorf("given at %v, want %v", offsets, test.offsets)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	n, _ := directFile(t, 4096)
	q := carry(n, &script{refuse: []error{broken}}, 1)
	if err := q.Submit(Request{Op: Write, Data: AlignedBuffer(4096)}); !errors.Is(err, errBroken) {
		t.Errorf("%v: a carrier that is broken says nothing of a block", err)
	}
	if _, err := q.Complete(t.Context(), make([]Completion, 1)); !errors.Is(err, ErrIdle) {
		t.Errorf("%v: nothing was taken", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// A kernel that takes nothing for a while, or interrupts, loses no request.
func TestBusyKernel(t *testing.T) {
	var calls int
	trouble := func() error {
		calls++
		return []error{nil, unix.EAGAIN, unix.EINTR, unix.EAGAIN, nil}[calls%5]
	}
	k := refusing(func(k *kernel) {
		k.uringEnter = func(fd int, submit, least, flags uint32, arg *uringWait) error {
			if err := trouble(); err != nil {
				return err
			}
			return linux.uringEnter(fd, submit, least, flags, arg)
		}
		k.aioSubmit = func(c aioContext, r *iocb) error {
			if err := trouble(); err != nil {
				return err
			}
			return linux.aioSubmit(c, r)
		}
		k.aioEvents = func(c aioContext, least int, into []aioEvent, timeout *unix.Timespec) (int, error) {
			if calls++; calls%3 == 0 {
				return 0, unix.EINTR
			}
			return linux.aioEvents(c, least, into, timeout)
		}
	})
	for name, open := range map[string]func(Node) (*carried, error){
		"io_uring":  func(n Node) (*carried, error) { return openURing(k, n, 5, true) },
		"linux-aio": func(n Node) (*carried, error) { return openAIO(k, n, 5) },
	} {
		t.Run(name, func(t *testing.T) {
			n, file := directFile(t, 4<<20)
			q, err := open(n)
			if err != nil {
				t.Skip(err)
			}
			writeAll(t, q, file, 64, 64<<10)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// linux-aio of kernels that know no flush: an error of the call made in its place is the flush's.
func TestFlushBesideAIO(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var answer error
	synced := 0
	k := refusing(func(k *kernel) {
		k.aioSubmit = func(c aioContext, r *iocb) error {
			if r.opcode == aioFdsync {
				return unix.EINVAL
			}
			return linux.aioSubmit(c, r)
		}
		k.fdatasync = func(fd int) error {
			synced++
			return errors.Join(answer, linux.fdatasync(fd))
		}
	})
	n, name := directFile(t, 1<<20)
	q, err := openAIO(k, n, 5)
	if err != nil {
		t.Skip(err)
	}
	writeAll(t, q, name, 8, 64<<10)
	for _, answer = range []error{unix.EIO, nil, unix.ENOSPC, errors.New("anything")} {
		if err := q.Submit(Request{Op: Flush}); err != nil {
			t.Fatal(err)
		}
		c := take(t, q)
		if errno := syscall.Errno(0); (c.Err == nil) != (answer == nil) || errors.As(answer, &errno) && !errors.Is(c.Err, errno) {
			t.Errorf("%+v, want %v", c, answer)
		}
	}
	if err := q.Submit(Request{Op: Flush}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil || synced != 6 {
		t.Fatalf("%d flushes, %v", synced, err)
	}
}

// Buffers that nobody refers to any more, freed and given back to the kernel while the ring has them registered,
// would have later requests at the same addresses carry other pages than the program sees.
func TestFixedBuffersAreTheProgramsMemory(t *testing.T) {
	n, name := directFile(t, 8<<20)
	q := ring(t, n, 4)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	for round := range 40 {
		writeAll(t, q, name, 16, (64+round%3*64)<<10)
		debug.FreeOSMemory()
	}
	fixed := &q.(*carried).carrier.(*uring).buffers
	if fixed.why != nil || len(fixed.held) != mostFixed {
		t.Errorf("%d buffers are held, of at most %d: %v", len(fixed.held), mostFixed, fixed.why)
	}
	if fixed.bytes > mostFixedBytes {
		t.Errorf("%d bytes are held", fixed.bytes)
	}
	held := 0
	for _, b := range fixed.held {
		held += len(b.data)
		if b.inFlight != 0 {
			t.Errorf("%d requests use a buffer, and none is in flight", b.inFlight)
		}
	}
	if held != fixed.bytes {
		t.Errorf("%d bytes are held, %d counted", held, fixed.bytes)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// A buffer in flight keeps its place whatever else comes, and parts of buffers are carried from where they lie.
func TestFixedBuffersInFlightStay(t *testing.T) {
	n, to := pipe(t)
	q := ring(t, n, 4)
	fixed := &q.(*carried).carrier.(*uring).buffers
	whole := AlignedBuffer(64 << 10)
	if err := q.Submit(Request{Op: Read, Data: whole, Tag: 1}); err != nil {
		t.Fatal(err)
	}
	for range 2 * mostFixed {
		fixed.use(3, AlignedBuffer(64<<10))
		fixed.release(3)
	}
	if at := fixed.find(whole); at < 0 || fixed.held[at].inFlight != 1 || len(fixed.held) != mostFixed {
		t.Fatalf("the buffer in flight is at %d of %d", at, len(fixed.held))
	}
	if fixed.find(whole[4096:8192]) != fixed.find(whole) || fixed.find(AlignedBuffer(64<<10)) >= 0 {
		t.Fatal("a part of a buffer lies in it, and other memory does not")
	}
	for _, b := range [][]byte{AlignedBuffer(4096), AlignedBuffer(mostFixedSize + 1)} {
		if fixed.use(3, b) >= 0 {
			t.Errorf("a buffer of %d bytes was registered", len(b))
		}
		fixed.release(3)
	}
	want := bytes.Repeat([]byte{0x77}, 4096)
	for range 2 {
		if _, err := to.Write(want); err != nil {
			t.Fatal(err)
		}
	}
	if c := take(t, q); c.Tag != 1 || c.N != 8192 || !bytes.Equal(whole[:8192], append(want, want...)) {
		t.Fatalf("%+v", c)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
