package devices_test

import (
	"os"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/blockio/blockiotest"
	"github.com/expunge-dev/expunge/devices/devicetest"
)

// The queue of a real node is the kernel's own, and says of the end of a drive what plain reads say: it is gone.
func TestQueueOfANode(t *testing.T) {
	const size = 4 << 20
	node, file := devicetest.Loop(t, size, nil)
	tr, err := devices.OpenNode(t.Context(), node, devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	blockiotest.Run(t, blockiotest.Target{
		Size: size, Block: 512, AtEnd: devices.IsGone,
		Open: func(t *testing.T, depth int) blockio.Queue {
			t.Helper()
			q, err := tr.Queue(depth)
			if err != nil {
				t.Fatal(err)
			}
			if blockio.Engine(q) == "pool" && blockio.Refused(q) == nil {
				t.Error("a real node has a pool, and nothing better was refused")
			}
			t.Logf("%s (refused: %v)", blockio.Engine(q), blockio.Refused(q))
			return q
		},
		Read: func(t *testing.T, p []byte, off int64) {
			t.Helper()
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.ReadAt(p, off); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		},
	})
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}

// What is closed is free at once: a kernel that takes a queue apart later must not hold the claim on the drive.
func TestClosedNodeIsFree(t *testing.T) {
	node, _ := devicetest.Loop(t, 1<<20, nil)
	for i := range 300 {
		tr, err := devices.OpenNode(t.Context(), node, devices.Exclusive)
		if err != nil {
			t.Fatalf("opened and closed %d times, and then: %v", i, err)
		}
		q, err := tr.Queue(4)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := q.Submit(blockio.Request{Op: blockio.Write, Data: blockio.AlignedBuffer(64 << 10)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Submit(blockio.Request{Op: blockio.Flush}); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			done := make([]blockio.Completion, 4)
			for left := 4; left > 0; {
				n, err := q.Complete(t.Context(), done)
				if err != nil {
					t.Fatal(err)
				}
				left -= n
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
