package blockio

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directFile makes a file of zeros, opened with direct I/O.
func directFile(t *testing.T, size int) (Node, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Skipf("no direct I/O in %s: %v", filepath.Dir(name), err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return Node{File: f, Backend: synced{f}}, name
}

type synced struct{ *os.File }

func (s synced) Flush() error { return s.Sync() }

// writeAll writes count requests of size bytes, each from memory of its own, and looks whether the file has them.
func writeAll(t *testing.T, q Queue, name string, count, size int) {
	t.Helper()
	want := make([]byte, count*size)
	for i := range want {
		want[i] = byte(i>>12) ^ byte(i*7) ^ 0x33
	}
	done := make([]Completion, q.Depth())
	flying := 0
	settle := func(least int) {
		for flying > least {
			n, err := q.Complete(t.Context(), done)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range done[:n] {
				if c.Err != nil || c.N != size && c.Tag != 1<<40 {
					t.Fatalf("%+v", c)
				}
			}
			flying -= n
		}
	}
	for i := range count {
		settle(q.Depth() - 1)
		data := AlignedBuffer(size)
		copy(data, want[i*size:])
		if err := q.Submit(Request{Op: Write, Offset: int64(i * size), Data: data, Tag: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		flying++
	}
	settle(0)
	if err := q.Submit(Request{Op: Flush, Tag: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	flying++
	settle(0)
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got[:len(want)], want) {
		t.Fatalf("the file is not what was written (%v)", err)
	}
}

func refusing(change func(*kernel)) *kernel {
	k := linux
	change(&k)
	return &k
}

// What a policy, a full table or an old kernel refuses costs speed, and nothing else.
func TestRefusedEngines(t *testing.T) {
	noRing := func(err error) func(*kernel) {
		return func(k *kernel) { k.uringSetup = func(uint32, *uringParams) (int, error) { return -1, err } }
	}
	register := func(refused uint32, err error) func(*kernel) {
		return func(k *kernel) {
			k.uringRegister = func(fd int, op uint32, arg unsafe.Pointer, n uint32) error {
				if op == refused {
					return err
				}
				return linux.uringRegister(fd, op, arg, n)
			}
		}
	}
	for _, test := range []struct {
		name   string
		change []func(*kernel)
		engine string
		why    error
	}{
		{"io_uring switched off, or by seccomp", []func(*kernel){noRing(unix.EPERM)}, "linux-aio", unix.EPERM},
		{"a kernel without io_uring", []func(*kernel){noRing(unix.ENOSYS)}, "linux-aio", unix.ENOSYS},
		{"no memory may be locked for a ring", []func(*kernel){noRing(unix.ENOMEM)}, "linux-aio", unix.ENOMEM},
		{"no descriptor left", []func(*kernel){noRing(unix.EMFILE)}, "linux-aio", unix.EMFILE},
		{"an old ring", []func(*kernel){func(k *kernel) {
			k.uringSetup = func(n uint32, p *uringParams) (int, error) {
				fd, err := linux.uringSetup(n, p)
				p.features &^= featExtArg
				return fd, err
			}
		}}, "linux-aio", errors.ErrUnsupported},
		{"the node is not taken", []func(*kernel){register(registerFiles, unix.EINVAL)}, "linux-aio", unix.EINVAL},
		{"all of fs.aio-max-nr is used, too", []func(*kernel){noRing(unix.EPERM), func(k *kernel) {
			k.aioSetup = func(int) (aioContext, error) { return 0, unix.EAGAIN }
		}}, "pool", unix.EAGAIN},
		{"no table of buffers", []func(*kernel){register(registerBuffers2, unix.EINVAL)}, "io_uring", unix.EINVAL},
		{"no buffer may be locked", []func(*kernel){register(registerBuffersUpdate, unix.ENOMEM)}, "io_uring", unix.ENOMEM},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := refusing(func(k *kernel) {
				for _, c := range test.change {
					c(k)
				}
			})
			n, name := directFile(t, 2<<20)
			before := descriptors(t)
			q, err := open(k, n, 5)
			if err != nil {
				t.Fatal(err)
			}
			writeAll(t, q, name, 16, 128<<10)
			if Engine(q) != test.engine {
				t.Errorf("engine %q (%v), want %q", Engine(q), Refused(q), test.engine)
			}
			if err := Refused(q); !errors.Is(err, test.why) {
				t.Errorf("refused: %v, want %v", err, test.why)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors are open, were %d", after, before)
			}
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Without direct I/O linux-aio waits while it submits: it is not asked.
func TestOnlyDirectFilesAreCarriedByTheKernel(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Open(Node{File: f, Backend: synced{f}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if Engine(q) != "pool" || !errors.Is(Refused(q), errors.ErrUnsupported) {
		t.Errorf("%q (%v), want the pool", Engine(q), Refused(q))
	}
	if err := errors.Join(q.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, depth := range []int{0, -1, 4097} {
		n, _ := directFile(t, 4096)
		if _, err := Open(n, depth); err == nil {
			t.Errorf("a queue of depth %d was opened", depth)
		}
	}
}

// A user who may lock less memory than the buffers are: some are fixed, the others are not, and every byte is
// written. The limit is that of a child process.
func TestLimitOfLockedMemory(t *testing.T) {
	const file = "BLOCKIO_LIMITED"
	if os.Getenv(file) == "" {
		_, name := directFile(t, 4<<20)
		for path, mode := range map[string]os.FileMode{name: 0o666, filepath.Dir(name): 0o755, filepath.Dir(filepath.Dir(name)): 0o755} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		c := exec.Command(os.Args[0], "-test.run", "^TestLimitOfLockedMemory$", "-test.v")
		c.Env = append(os.Environ(), file+"="+name)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "SKIP") {
			t.Skipf("%s", out)
		}
		return
	}
	name := os.Getenv(file)
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := Node{File: f, Backend: synced{f}}
	if q, err := OpenURing(n, 1, true); err != nil || Engine(q) != "io_uring with fixed buffers" {
		t.Skipf("this machine grants no fixed buffers: %v", err)
	} else if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// Root may lock what it likes.
		if err := unix.Setuid(65534); err != nil {
			t.Skipf("cannot become somebody else: %v", err)
		}
	}
	q, err := Open(n, 4)
	if err != nil {
		t.Fatal(err)
	}
	if Engine(q) != "io_uring with fixed buffers" {
		t.Skipf("%s: %v", Engine(q), Refused(q))
	}
	writeAll(t, q, name, 16, 256<<10)
	if err := Refused(q); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("refused: %v, want ENOMEM", err)
	}
	if held := len(q.(*carried).carrier.(*uring).buffers.held); held == 0 || held > 4 {
		t.Errorf("%d buffers of 256 KiB are fixed within 1 MiB", held)
	}
	if err := errors.Join(q.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
