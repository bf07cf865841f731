package devicetest

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// Run holds a Transport against its contract. open gives an exclusive one on a drive of at least
// 1 MiB whose contents may be destroyed.
func Run(t *testing.T, open func(t *testing.T) devices.Transport) {
	for name, test := range map[string]func(*testing.T, devices.Transport){
		"geometry":              testGeometry,
		"read what was written": testReadBack,
		"queue is bounded":      testBounds,
		"bad requests":          testBadRequests,
		"every tag comes back":  testTags,
		"doors":                 testDoors,
	} {
		t.Run(name, func(t *testing.T) {
			defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
			tr := open(t)
			test(t, tr)
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func geometry(t *testing.T, tr devices.Transport) devices.Geometry {
	t.Helper()
	g, err := tr.Geometry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func testGeometry(t *testing.T, tr devices.Transport) {
	g := geometry(t, tr)
	if g.SizeBytes < 1<<20 || g.LogicalBlock < 512 || g.SizeBytes%int64(g.LogicalBlock) != 0 || g.PhysicalBlock < g.LogicalBlock {
		t.Fatalf("%+v", g)
	}
	if tr.Number() == (devices.Number{}) {
		t.Fatal("the open node has no device number")
	}
}

func queue(t *testing.T, tr devices.Transport, depth int) blockio.Queue {
	t.Helper()
	q, err := tr.Queue(depth)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// do carries one request out.
func do(t *testing.T, q blockio.Queue, r blockio.Request) blockio.Completion {
	t.Helper()
	if err := q.Submit(r); err != nil {
		t.Fatal(err)
	}
	var done [1]blockio.Completion
	if n, err := q.Complete(t.Context(), done[:]); n != 1 || err != nil {
		t.Fatalf("%d completions, %v", n, err)
	}
	return done[0]
}

func closeQueue(t *testing.T, q blockio.Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

func testReadBack(t *testing.T, tr devices.Transport) {
	g := geometry(t, tr)
	q := queue(t, tr, 2)
	defer closeQueue(t, q)
	for _, off := range []int64{0, int64(g.LogicalBlock), g.SizeBytes - 64<<10} {
		want := blockio.AlignedBuffer(64 << 10)
		for i := range want {
			want[i] = byte(i>>8) ^ byte(off>>9) ^ 0x5a
		}
		if c := do(t, q, blockio.Request{Op: blockio.Write, Offset: off, Data: want, Tag: 7}); c.Err != nil || c.N != len(want) || c.Tag != 7 {
			t.Fatalf("write at %d: %+v", off, c)
		}
		if c := do(t, q, blockio.Request{Op: blockio.Flush}); c.Err != nil {
			t.Fatalf("flush: %v", c.Err)
		}
		if err := tr.DropCaches(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := blockio.AlignedBuffer(len(want))
		if c := do(t, q, blockio.Request{Op: blockio.Read, Offset: off, Data: got}); c.Err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read at %d: %v, equal %v", off, c.Err, bytes.Equal(got, want))
		}
	}
}

func testBounds(t *testing.T, tr devices.Transport) {
	q := queue(t, tr, 3)
	defer closeQueue(t, q)
	if q.Depth() != 3 {
		t.Fatalf("depth %d, asked for 3", q.Depth())
	}
	var done [8]blockio.Completion
	if _, err := q.Complete(t.Context(), done[:]); !errors.Is(err, blockio.ErrIdle) {
		t.Fatalf("an idle queue answers %v, want ErrIdle", err)
	}
	for range 3 {
		if err := q.Submit(blockio.Request{Op: blockio.Read, Data: blockio.AlignedBuffer(4096)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Submit(blockio.Request{Op: blockio.Read, Data: blockio.AlignedBuffer(4096)}); !errors.Is(err, blockio.ErrFull) {
		t.Fatalf("a full queue answers %v, want ErrFull", err)
	}
	for left := 3; left > 0; {
		n, err := q.Complete(t.Context(), done[:])
		if err != nil {
			t.Fatal(err)
		}
		left -= n
	}
	for _, depth := range []int{0, -1} {
		if q, err := tr.Queue(depth); err == nil {
			closeQueue(t, q)
			t.Fatalf("a queue of depth %d was opened", depth)
		}
	}
}

func testBadRequests(t *testing.T, tr devices.Transport) {
	g := geometry(t, tr)
	q := queue(t, tr, 2)
	defer closeQueue(t, q)
	block := int64(g.LogicalBlock)
	for name, r := range map[string]blockio.Request{
		"read past the end":    {Op: blockio.Read, Offset: g.SizeBytes, Data: blockio.AlignedBuffer(int(block))},
		"write past the end":   {Op: blockio.Write, Offset: g.SizeBytes, Data: blockio.AlignedBuffer(int(block))},
		"write across the end": {Op: blockio.Write, Offset: g.SizeBytes - block, Data: blockio.AlignedBuffer(int(2 * block))},
		"part of a block":      {Op: blockio.Write, Offset: 0, Data: blockio.AlignedBuffer(int(block))[:100]},
		"inside a block":       {Op: blockio.Write, Offset: 100, Data: blockio.AlignedBuffer(int(block))},
		"negative offset":      {Op: blockio.Read, Offset: -block, Data: blockio.AlignedBuffer(int(block))},
		"no such operation":    {Op: 99, Data: blockio.AlignedBuffer(int(block))},
	} {
		if c := do(t, q, r); c.Err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if now := geometry(t, tr); now.SizeBytes != g.SizeBytes {
		t.Errorf("the size is %d now, was %d", now.SizeBytes, g.SizeBytes)
	}
}

func testTags(t *testing.T, tr devices.Transport) {
	q := queue(t, tr, 4)
	defer closeQueue(t, q)
	seen := map[uint64]int{}
	var done [4]blockio.Completion
	next, ended := uint64(0), 0
	for ended < 40 {
		for next < 40 {
			if err := q.Submit(blockio.Request{Op: blockio.Read, Offset: int64(next) * 4096, Data: blockio.AlignedBuffer(4096), Tag: next}); err != nil {
				break
			}
			next++
		}
		n, err := q.Complete(t.Context(), done[:])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range done[:n] {
			seen[c.Tag]++
			ended++
		}
	}
	for tag := range uint64(40) {
		if seen[tag] != 1 {
			t.Errorf("tag %d came back %d times", tag, seen[tag])
		}
	}
}

// A door that is not there answers ErrNoDoor; it never makes an answer up.
func testDoors(t *testing.T, tr devices.Transport) {
	if r, err := tr.SCSI(t.Context(), &scsi.Command{CDB: make([]byte, 6), Timeout: time.Second}); err != nil && !errors.Is(err, devices.ErrNoDoor) {
		t.Errorf("SCSI door: %+v, %v", r, err)
	}
	identify := &nvme.Command{Opcode: 0x06, CDW10: 1, Data: make([]byte, 4096), Timeout: time.Second}
	if c, err := tr.NVMe(t.Context(), identify); err != nil && !errors.Is(err, devices.ErrNoDoor) {
		t.Errorf("NVMe door: %+v, %v", c, err)
	}
}
