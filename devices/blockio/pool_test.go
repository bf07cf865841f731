package blockio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
)

// backend is memory that answers when it is let to.
type backend struct {
	data  []byte
	gate  chan struct{} // nil: at once
	short bool          // moves half and says nothing
}

func (b *backend) wait() {
	if b.gate != nil {
		<-b.gate
	}
}

func (b *backend) ReadAt(p []byte, off int64) (int, error) {
	b.wait()
	if b.short {
		return len(p) / 2, nil
	}
	return copy(p, b.data[off:]), nil
}

func (b *backend) WriteAt(p []byte, off int64) (int, error) {
	b.wait()
	if b.short {
		return len(p) / 2, nil
	}
	return copy(b.data[off:], p), nil
}

func (b *backend) Flush() error { b.wait(); return nil }

func pooled(t *testing.T, b *backend, depth int) Queue {
	t.Helper()
	q, err := NewPool(b, depth)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// A transfer that moved less than asked must never pass for a whole one.
func TestShortTransferIsAnError(t *testing.T) {
	q := pooled(t, &backend{data: make([]byte, 8192), short: true}, 1)
	var done [1]Completion
	for _, op := range []Op{Read, Write} {
		if err := q.Submit(Request{Op: op, Data: AlignedBuffer(4096)}); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Complete(t.Context(), done[:]); err != nil || !errors.Is(done[0].Err, io.ErrUnexpectedEOF) {
			t.Errorf("%v: %+v, %v", op, done[0], err)
		}
	}
	if err := ReadFull(t.Context(), q, make([]byte, 10), 0, 512); err == nil {
		t.Error("a short read filled the buffer")
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// Who stops waiting has not stopped the requests: their buffers are still the queue's, and closing
// waits for them.
func TestStoppingToWaitStopsNothing(t *testing.T) {
	defer goleak.VerifyNone(t)
	b := &backend{data: make([]byte, 4096), gate: make(chan struct{})}
	q := pooled(t, b, 2)
	if err := q.Submit(Request{Op: Write, Data: bytes.Repeat([]byte{7}, 4096), Tag: 3}); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	var done [2]Completion
	if n, err := q.Complete(ctx, done[:]); n != 0 || !errors.Is(err, stop) {
		t.Fatalf("%d completions, %v; want the cause of the stop", n, err)
	}
	close(b.gate)
	if n, err := q.Complete(t.Context(), done[:]); n != 1 || err != nil || done[0].Tag != 3 || done[0].Err != nil {
		t.Fatalf("%d, %+v, %v", n, done[0], err)
	}
	if err := q.Submit(Request{Op: Write, Data: bytes.Repeat([]byte{9}, 4096)}); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil || b.data[0] != 9 {
		t.Fatalf("closed before its request ended: %v, %d", err, b.data[0])
	}
}

func TestReadFullAnyRange(t *testing.T) {
	data := make([]byte, 8192)
	for i := range data {
		data[i] = byte(i * 7)
	}
	q := pooled(t, &backend{data: data}, 1)
	for _, r := range [][2]int{{0, 1}, {511, 2}, {100, 5000}, {8191, 1}, {0, 8192}} {
		got := make([]byte, r[1])
		if err := ReadFull(t.Context(), q, got, int64(r[0]), 512); err != nil || !bytes.Equal(got, data[r[0]:r[0]+r[1]]) {
			t.Errorf("%v: %v", r, err)
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAlignedBuffer(t *testing.T) {
	for _, n := range []int{1, 512, 4096, 1 << 20} {
		b := AlignedBuffer(n)
		if len(b) != n || cap(b) != n || uintptr(unsafe.Pointer(&b[0]))%Alignment != 0 {
			t.Errorf("%d: length %d, capacity %d, address %p", n, len(b), cap(b), b)
		}
	}
	if AlignedBuffer(0) != nil || AlignedBuffer(-1) != nil {
		t.Error("a buffer of nothing")
	}
}
