// Package blockiotest holds any Queue against its contract, whatever carries it. What was written is read by another
// way than the queue.
package blockiotest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Target is what a queue carries I/O to. Its contents may be destroyed.
type Target struct {
	Open  func(t *testing.T, depth int) blockio.Queue
	Size  int64 // bytes, 64 blocks at least
	Block int   // bytes of a logical block
	// Read reads what is stored, by another way than a queue.
	Read func(t *testing.T, p []byte, off int64)
	// File: a write behind the end makes it longer, and requests of parts of a block may be carried out.
	File bool
	// Bad is the offset of a block that can be neither read nor written; 0 is none.
	Bad int64
	// AtEnd says whether an error is the one that a read behind the end has to have; nil: any error.
	AtEnd func(error) bool
}

// Run holds the queues of a target against the contract of Queue.
func Run(t *testing.T, target Target) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Target)
	}{
		{"every byte is where it belongs", testBytes},
		{"operations in any order", testOrder},
		{"a queue is bounded", testBounds},
		{"the end", testEnd},
		{"requests that are none", testBadRequests},
		{"flush", testFlush},
		{"stopping to wait", testStop},
		{"closing waits", testClose},
		{"closing gives all back", testLeaks},
		{"a bad block", testBadBlock},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			test.run(t, target)
		})
	}
}

// Fill makes bytes that tell where they belong.
func Fill(p []byte, off int64, generation byte) {
	var word [8]byte
	for i := range p {
		at := off + int64(i)
		if i == 0 || at%8 == 0 {
			binary.LittleEndian.PutUint64(word[:], uint64(at/8)*0x9e3779b97f4a7c15+uint64(generation)*0xbf58476d1ce4e5b9)
		}
		p[i] = word[at%8]
	}
}

// usable is the end of the part of a target that is free of bad blocks.
func (target Target) usable() int64 {
	if target.Bad > 0 {
		return target.Bad
	}
	return target.Size
}

func (target Target) open(t *testing.T, depth int) blockio.Queue {
	t.Helper()
	q := target.Open(t, depth)
	if q.Depth() != depth {
		t.Fatalf("depth %d, asked for %d", q.Depth(), depth)
	}
	return q
}

func (target Target) stored(t *testing.T, off, n int64) []byte {
	t.Helper()
	p := make([]byte, n)
	target.Read(t, p, off)
	return p
}

func closed(t *testing.T, q blockio.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func submit(t *testing.T, q blockio.Queue, r blockio.Request) {
	t.Helper()
	if err := q.Submit(r); err != nil {
		t.Fatalf("submit %v %d+%d: %v", r.Op, r.Offset, len(r.Data), err)
	}
}

// one carries one request out.
func one(t *testing.T, q blockio.Queue, r blockio.Request) blockio.Completion {
	t.Helper()
	r.Tag = 1<<63 + 7
	submit(t, q, r)
	var done [1]blockio.Completion
	n, err := q.Complete(t.Context(), done[:])
	if n != 1 || err != nil || done[0].Tag != r.Tag {
		t.Fatalf("%v %d+%d: %d completions, %+v, %v", r.Op, r.Offset, len(r.Data), n, done[0], err)
	}
	if done[0].Err == nil && done[0].N != len(r.Data) {
		t.Fatalf("%v %d+%d: %d bytes moved and no error", r.Op, r.Offset, len(r.Data), done[0].N)
	}
	return done[0]
}

// stream carries out all of count requests, as many at a time as the queue takes, and calls ended with each.
func stream(t *testing.T, q blockio.Queue, count int, request func(i int) blockio.Request, ended func(i int, c blockio.Completion)) {
	t.Helper()
	done := make([]blockio.Completion, q.Depth())
	seen := make([]bool, count)
	for next, left := 0, count; left > 0; {
		for ; next < count; next++ {
			r := request(next)
			r.Tag = uint64(next) << 32
			err := q.Submit(r)
			if errors.Is(err, blockio.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		n, err := q.Complete(t.Context(), done)
		if err != nil || n == 0 {
			t.Fatalf("%d completions, %v", n, err)
		}
		for _, c := range done[:n] {
			i := int(c.Tag >> 32)
			if c.Tag&0xffffffff != 0 || i >= next || seen[i] {
				t.Fatalf("tag %#x came back, of %d", c.Tag, next)
			}
			seen[i] = true
			ended(i, c)
		}
		left -= n
	}
}

func testBytes(t *testing.T, target Target) {
	const depth = 9
	block := int64(target.Block)
	for generation, request := range []int64{block, 5 * block, max(block, 128<<10/block*block)} {
		q := target.open(t, depth)
		size := target.usable() / block * block
		count := int((size + request - 1) / request)
		// Every request once, far from its neighbours: the stride has no divisor in common with the count.
		stride := count/2 + 1
		for gcd(stride, count) != 1 {
			stride++
		}
		extent := func(i int) (off, n int64) {
			off = int64(i*stride%count) * request
			return off, min(request, size-off)
		}
		buffers := make(map[int][]byte)
		bad := func(i int, c blockio.Completion) {
			if _, n := extent(i); c.Err != nil || int64(c.N) != n {
				t.Errorf("request %d of %d: %+v", i, count, c)
			}
		}
		fresh := func(i int) blockio.Request {
			off, n := extent(i)
			if buffers[i] == nil {
				buffers[i] = blockio.AlignedBuffer(int(n))
			}
			return blockio.Request{Offset: off, Data: buffers[i]}
		}
		stream(t, q, count, func(i int) blockio.Request {
			r := fresh(i)
			r.Op = blockio.Write
			Fill(r.Data, r.Offset, byte(generation))
			return r
		}, func(i int, c blockio.Completion) {
			bad(i, c)
			clear(buffers[i]) // it is ours again: what is stored must not change with it
			delete(buffers, i)
		})
		if c := one(t, q, blockio.Request{Op: blockio.Flush}); c.Err != nil {
			t.Fatalf("flush: %v", c.Err)
		}
		want := make([]byte, size)
		Fill(want, 0, byte(generation))
		if got := target.stored(t, 0, size); !bytes.Equal(got, want) {
			t.Fatalf("requests of %d bytes: what is stored differs from what was written, first at %d", request, first(got, want))
		}
		stream(t, q, count, func(i int) blockio.Request {
			r := fresh(i)
			r.Op = blockio.Read
			return r
		}, func(i int, c blockio.Completion) {
			bad(i, c)
			off, n := extent(i)
			if !bytes.Equal(buffers[i], want[off:off+n]) {
				t.Errorf("read %d+%d: not what was written", off, n)
			}
			delete(buffers, i)
		})
		closed(t, q)
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func first(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

func testBounds(t *testing.T, target Target) {
	const depth = 3
	q := target.open(t, depth)
	done := make([]blockio.Completion, 8)
	if n, err := q.Complete(t.Context(), done); n != 0 || !errors.Is(err, blockio.ErrIdle) {
		t.Fatalf("an idle queue: %d, %v; want ErrIdle", n, err)
	}
	for round := range 3 {
		for tag := range uint64(depth) {
			submit(t, q, blockio.Request{Op: blockio.Read, Data: blockio.AlignedBuffer(target.Block), Tag: tag})
		}
		if err := q.Submit(blockio.Request{Op: blockio.Read, Data: blockio.AlignedBuffer(target.Block)}); !errors.Is(err, blockio.ErrFull) {
			t.Fatalf("a full queue: %v, want ErrFull", err)
		}
		if n, err := q.Complete(t.Context(), nil); n != 0 || err != nil {
			t.Fatalf("no room for completions: %d, %v", n, err)
		}
		seen := uint64(0)
		for left := depth; left > 0; {
			n, err := q.Complete(t.Context(), done[:1+round%2])
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range done[:n] {
				if c.Err != nil {
					t.Error(c.Err)
				}
				seen |= 1 << c.Tag
			}
			left -= n
		}
		if seen != 1<<depth-1 {
			t.Fatalf("tags %b came back", seen)
		}
	}
	if _, err := q.Complete(t.Context(), done); !errors.Is(err, blockio.ErrIdle) {
		t.Fatalf("idle again: %v, want ErrIdle", err)
	}
	closed(t, q)
}

// testEnd: what lies behind the end was neither read nor written, and nobody may believe that it was.
func testEnd(t *testing.T, target Target) {
	q := target.open(t, 2)
	block := int64(target.Block)
	tail := blockio.AlignedBuffer(int(block))
	Fill(tail, target.Size-block, 17)
	last := blockio.Request{Op: blockio.Write, Offset: target.Size - block, Data: tail}
	if c := one(t, q, last); c.Err != nil {
		t.Fatal(c.Err)
	}
	for name, r := range map[string]blockio.Request{
		"read at the end":       {Op: blockio.Read, Offset: target.Size},
		"read behind the end":   {Op: blockio.Read, Offset: target.Size + 1<<20/block*block},
		"read across the end":   {Op: blockio.Read, Offset: target.Size - block},
		"write at the end":      {Op: blockio.Write, Offset: target.Size},
		"write behind the end":  {Op: blockio.Write, Offset: target.Size + 1<<40/block*block},
		"write across the end":  {Op: blockio.Write, Offset: target.Size - block},
		"read far across":       {Op: blockio.Read, Offset: target.Size - 3*block},
		"write farther than it": {Op: blockio.Write, Offset: target.Size - 3*block},
	} {
		if r.Op == blockio.Write && target.File {
			continue
		}
		n := 2 * block
		if r.Offset == target.Size-3*block {
			n = 16 * block
		}
		r.Data = blockio.AlignedBuffer(int(n))
		c := one(t, q, r)
		if c.Err == nil || int64(c.N) >= n {
			t.Errorf("%s: %+v; want an error", name, c)
		} else if r.Op == blockio.Read && target.AtEnd != nil && !target.AtEnd(c.Err) {
			t.Errorf("%s: %v is not the error of an end", name, c.Err)
		}
	}
	closed(t, q)
	if got := target.stored(t, target.Size-block, block); target.File && !bytes.Equal(got, tail) {
		t.Error("the last block is not what was written")
	}
}

func testBadRequests(t *testing.T, target Target) {
	q := target.open(t, 2)
	block := target.Block
	whole := blockio.AlignedBuffer(8 * block)
	Fill(whole, 0, 3)
	if c := one(t, q, blockio.Request{Op: blockio.Write, Data: whole}); c.Err != nil {
		t.Fatal(c.Err)
	}
	zeros := blockio.AlignedBuffer(2 * block)
	for name, r := range map[string]blockio.Request{
		"part of a block":      {Op: blockio.Write, Data: zeros[:100]},
		"inside a block":       {Op: blockio.Write, Offset: 100, Data: zeros[:block]},
		"a block and a half":   {Op: blockio.Write, Data: zeros[:block+block/2]},
		"read inside a block":  {Op: blockio.Read, Offset: 100, Data: zeros[:block]},
		"read part of a block": {Op: blockio.Read, Data: zeros[:100]},
		"offset of a block":    {Op: blockio.Write, Offset: -int64(block), Data: zeros[:block]},
		// The place where a file stands, to some kernels.
		"offset of -1":         {Op: blockio.Write, Offset: -1, Data: zeros[:block]},
		"read at -1":           {Op: blockio.Read, Offset: -1, Data: zeros[:block]},
		"no such operation":    {Op: 99, Data: zeros[:block]},
		"bytes with a flush":   {Op: blockio.Flush, Data: zeros[:block]},
		"the least of offsets": {Op: blockio.Read, Offset: -1 << 63, Data: zeros[:block]},
	} {
		if unaligned := r.Offset > 0 || r.Op != 99 && len(r.Data)%block != 0; unaligned && target.File {
			continue
		}
		if c := one(t, q, r); c.Err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	closed(t, q)
	if got := target.stored(t, 0, int64(len(whole))); !bytes.Equal(got, whole) {
		t.Errorf("a request that failed wrote, first at %d", first(got, whole))
	}
}

func testFlush(t *testing.T, target Target) {
	q := target.open(t, 4)
	for generation := range byte(5) {
		data := blockio.AlignedBuffer(4 * target.Block)
		Fill(data, 0, generation)
		if c := one(t, q, blockio.Request{Op: blockio.Write, Data: data}); c.Err != nil {
			t.Fatal(c.Err)
		}
		// A flush among requests, as it comes in a stream.
		other := blockio.AlignedBuffer(target.Block)
		submit(t, q, blockio.Request{Op: blockio.Write, Offset: int64(8 * target.Block), Data: other, Tag: 1})
		submit(t, q, blockio.Request{Op: blockio.Flush, Tag: 2})
		submit(t, q, blockio.Request{Op: blockio.Read, Data: blockio.AlignedBuffer(target.Block), Tag: 3})
		seen, done := uint64(0), make([]blockio.Completion, 4)
		for seen != 1<<1|1<<2|1<<3 {
			n, err := q.Complete(t.Context(), done)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range done[:n] {
				if c.Err != nil || c.Tag == 2 && c.N != 0 {
					t.Fatalf("%+v", c)
				}
				seen |= 1 << c.Tag
			}
		}
		if got := target.stored(t, 0, int64(len(data))); !bytes.Equal(got, data) {
			t.Fatal("a write and a flush succeeded, and something else is stored")
		}
	}
	closed(t, q)
}

// testStop: who stops waiting still gets every completion later.
func testStop(t *testing.T, target Target) {
	const depth = 8
	q := target.open(t, depth)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	done := make([]blockio.Completion, depth)
	for round := range 20 {
		seen := uint64(0)
		take := func(n int) {
			for _, c := range done[:n] {
				if c.Err != nil || seen&(1<<c.Tag) != 0 {
					t.Fatalf("%+v", c)
				}
				seen |= 1 << c.Tag
			}
		}
		for tag := range uint64(depth) {
			data := blockio.AlignedBuffer(4 * target.Block)
			Fill(data, int64(tag)*int64(len(data)), byte(round))
			submit(t, q, blockio.Request{Op: blockio.Write, Offset: int64(tag) * int64(len(data)), Data: data, Tag: tag})
			n, err := q.Complete(ctx, done)
			if err != nil && (n != 0 || !errors.Is(err, stop)) {
				t.Fatalf("%d, %v; want the cause of the stop", n, err)
			}
			take(n)
		}
		for seen != 1<<depth-1 {
			n, err := q.Complete(t.Context(), done)
			if err != nil {
				t.Fatalf("tags %b came back, and then: %v", seen, err)
			}
			take(n)
		}
		want := make([]byte, depth*4*target.Block)
		Fill(want, 0, byte(round))
		if got := target.stored(t, 0, int64(len(want))); !bytes.Equal(got, want) {
			t.Fatal("what is stored is not what was written")
		}
	}
	closed(t, q)
}

func testClose(t *testing.T, target Target) {
	for round := range byte(5) {
		q := target.open(t, 4)
		want := make([]byte, 4*4*target.Block)
		Fill(want, 0, round)
		for i := range 4 {
			data := blockio.AlignedBuffer(4 * target.Block)
			copy(data, want[i*len(data):])
			submit(t, q, blockio.Request{Op: blockio.Write, Offset: int64(i * len(data)), Data: data})
		}
		closed(t, q)
		if got := target.stored(t, 0, int64(len(want))); !bytes.Equal(got, want) {
			t.Fatalf("closed before its requests had ended: differs at %d", first(got, want))
		}
	}
}

func testLeaks(t *testing.T, target Target) {
	use := func() {
		q := target.open(t, 5)
		if c := one(t, q, blockio.Request{Op: blockio.Read, Data: blockio.AlignedBuffer(max(target.Block, 64<<10/target.Block*target.Block))}); c.Err != nil {
			t.Fatal(c.Err)
		}
		if c := one(t, q, blockio.Request{Op: blockio.Flush}); c.Err != nil {
			t.Fatal(c.Err)
		}
		closed(t, q)
	}
	use()
	descriptors, mappings := holdings(t)
	for range 30 {
		use()
	}
	if d, m := holdings(t); d > descriptors || m > mappings {
		t.Fatalf("%d descriptors and %d mappings of queues, were %d and %d", d, m, descriptors, mappings)
	}
}

// holdings counts open descriptors, and what the kernel maps for queues.
func holdings(t *testing.T) (descriptors, mappings int) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors cannot be counted here")
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("mappings cannot be counted here")
	}
	return len(list), bytes.Count(maps, []byte("[aio]")) + bytes.Count(maps, []byte("[io_uring]"))
}

func testBadBlock(t *testing.T, target Target) {
	if target.Bad == 0 {
		t.Skip("this target has no bad block")
	}
	q := target.open(t, 4)
	block := int64(target.Block)
	for _, op := range []blockio.Op{blockio.Write, blockio.Read} {
		for at := target.Bad - 2*block; at <= target.Bad+2*block; at += block {
			data := blockio.AlignedBuffer(target.Block)
			if c := one(t, q, blockio.Request{Op: op, Offset: at, Data: data}); (c.Err != nil) != (at == target.Bad) {
				t.Errorf("%v at %d, the bad block is at %d: %+v", op, at, target.Bad, c)
			}
		}
		data := blockio.AlignedBuffer(int(5 * block))
		if c := one(t, q, blockio.Request{Op: op, Offset: target.Bad - 2*block, Data: data}); c.Err == nil || c.N >= len(data) {
			t.Errorf("%v across the bad block: %+v", op, c)
		}
	}
	closed(t, q)
}
