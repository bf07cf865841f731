package devices_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

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

// A program that is killed while it writes, and started again at once, has its drive again.
func TestNodeOfAKilledProcessIsFree(t *testing.T) {
	const variable = "DEVICES_NODE_TO_WRITE"
	if node := os.Getenv(variable); node != "" {
		t.Fatal(writeForever(t, node))
	}
	node, _ := devicetest.Loop(t, 16<<20, nil)
	for round := range 10 {
		c := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		c.Env = append(os.Environ(), variable+"="+node)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		said := make([]byte, len(writing))
		if _, err := io.ReadFull(out, said); err != nil || string(said) != writing {
			rest, _ := io.ReadAll(out) // for people
			t.Fatalf("%s%s, %v", said, rest, err)
		}
		time.Sleep(time.Duration(round) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
		tr, err := devices.OpenNode(t.Context(), node, devices.Exclusive)
		if err != nil {
			t.Fatalf("killed %d times, and then: %v", round+1, err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const writing = "writing\n"

// writeForever keeps a node's queue full, until the process is killed.
func writeForever(t *testing.T, node string) error {
	tr, err := devices.OpenNode(t.Context(), node, devices.Exclusive)
	if err != nil {
		return err
	}
	q, err := tr.Queue(8)
	if err != nil {
		return err
	}
	var buffers [8][]byte
	done := make([]blockio.Completion, len(buffers))
	for i := range buffers {
		buffers[i] = blockio.AlignedBuffer(1 << 20)
		done[i].Tag = uint64(i)
	}
	if _, err := os.Stdout.WriteString(writing); err != nil {
		return err
	}
	for n := len(done); ; {
		for _, c := range done[:n] {
			err = errors.Join(err, c.Err, q.Submit(blockio.Request{Op: blockio.Write, Offset: int64(c.Tag) << 20, Data: buffers[c.Tag], Tag: c.Tag}))
		}
		if err != nil {
			return err
		}
		if n, err = q.Complete(t.Context(), done); err != nil {
			return err
		}
	}
}
