//go:build linux

package blockio_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/blockio/blockiotest"
	"github.com/expunge-dev/expunge/devices/devicetest"
)

// plain is blocking I/O on a file, as the devices package has it on a node.
type plain struct{ *os.File }

func (p plain) Flush() error { return unix.Fdatasync(int(p.Fd())) }

func nodeOf(f *os.File) blockio.Node { return blockio.Node{File: f, Backend: plain{f}} }

// engines are the ways to carry a queue, by what Engine calls them.
var engines = map[string]func(n blockio.Node, depth int) (blockio.Queue, error){
	"pool":                        func(n blockio.Node, depth int) (blockio.Queue, error) { return blockio.NewPool(n.Backend, depth) },
	"linux-aio":                   blockio.OpenAIO,
	"io_uring":                    func(n blockio.Node, depth int) (blockio.Queue, error) { return blockio.OpenURing(n, depth, false) },
	"io_uring with fixed buffers": func(n blockio.Node, depth int) (blockio.Queue, error) { return blockio.OpenURing(n, depth, true) },
}

// has skips a test when this machine does not grant an engine.
func has(t testing.TB, engine string, f *os.File) {
	t.Helper()
	q, err := engines[engine](nodeOf(f), 1)
	if err != nil {
		t.Skipf("this machine grants no %s: %v", engine, err)
	}
	name := blockio.Engine(q)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if name != engine {
		t.Skipf("this machine grants %s in place of %s", name, engine)
	}
}

// direct opens a file with direct I/O.
func direct(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EINVAL) {
		t.Skipf("the file system of %s has no direct I/O", filepath.Dir(name))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// stored reads a file past any queue.
func stored(name string) func(t *testing.T, p []byte, off int64) {
	return func(t *testing.T, p []byte, off int64) {
		t.Helper()
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(io.NewSectionReader(f, off, int64(len(p))), p); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFileConformance(t *testing.T) {
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			const size = 4 << 20
			name := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
			f := direct(t, name)
			has(t, engine, f)
			blockiotest.Run(t, target(open, f, size, 4096, name, true))
		})
	}
}

func TestLoopConformance(t *testing.T) {
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			const size = 4 << 20
			node, file := devicetest.Loop(t, size, nil)
			f := direct(t, node)
			has(t, engine, f)
			blockiotest.Run(t, target(open, f, size, 512, file, false))
			if n, err := f.Seek(0, io.SeekCurrent); n != 0 || err != nil {
				t.Errorf("the file stands at %d: a request went where the file stood, not where it belongs", n)
			}
		})
	}
}

// What is closed is free at once: a kernel that takes a queue apart later must not hold the claim on the drive.
func TestClosedQueueLetsGo(t *testing.T) {
	for engine, open := range engines {
		t.Run(engine, func(t *testing.T) {
			node, _ := devicetest.Loop(t, 1<<20, nil)
			has(t, engine, direct(t, node))
			for i := range 50 {
				f, err := os.OpenFile(node, os.O_RDWR|unix.O_DIRECT|unix.O_EXCL|unix.O_CLOEXEC, 0)
				if err != nil {
					t.Fatalf("opened and closed %d times, and then: %v", i, err)
				}
				q, err := open(nodeOf(f), 4)
				if err != nil {
					t.Fatal(err)
				}
				for _, op := range []blockio.Op{blockio.Write, blockio.Read, blockio.Flush} {
					r := blockio.Request{Op: op}
					if op != blockio.Flush {
						r.Data = blockio.AlignedBuffer(64 << 10)
					}
					if err := q.Submit(r); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(q.Close(), f.Close()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func target(open func(blockio.Node, int) (blockio.Queue, error), f *os.File, size int64, block int, file string, grows bool) blockiotest.Target {
	return blockiotest.Target{
		Size: size, Block: block, File: grows, Read: stored(file),
		AtEnd: func(err error) bool { return errors.Is(err, io.EOF) },
		Open: func(t *testing.T, depth int) blockio.Queue {
			t.Helper()
			q, err := open(nodeOf(f), depth)
			if err != nil {
				t.Fatal(err)
			}
			return q
		},
	}
}
