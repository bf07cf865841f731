package devices_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/devicetest"
	"github.com/expunge-dev/expunge/devices/virtual"
)

func TestLoopConformance(t *testing.T) {
	node, _ := devicetest.Loop(t, 4<<20, nil)
	devicetest.Run(t, func(t *testing.T) devices.Transport {
		tr, err := devices.OpenNode(t.Context(), node, devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	})
}

func TestOnlyWholeFreeBlockDevicesAreOpened(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"file": file, "directory": filepath.Dir(file), "character device": "/dev/null", "missing": file + ".none"} {
		if tr, err := devices.OpenNode(t.Context(), path, devices.ReadOnly); err == nil {
			t.Errorf("%s: opened (%v)", name, tr.Close())
		}
	}
	node, _ := devicetest.Loop(t, 1<<20, nil)
	first, err := devices.OpenNode(t.Context(), node, devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	var inUse *devices.InUseError
	if _, err := devices.OpenNode(t.Context(), node, devices.Exclusive); !errors.As(err, &inUse) {
		t.Errorf("a second exclusive open: %v, want an *InUseError", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
}

// A drive whose file is gone is gone, or failing: never a shorter drive that is done.
func TestDetachedLoopIsAnError(t *testing.T) {
	node, file := devicetest.Loop(t, 1<<20, nil)
	host := devices.NewHost("/", devices.OpenNode, nil)
	drives, err := host.Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	selected, err := host.Select(drives, []string{node})
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(t.Context(), selected[0], devices.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Reidentify(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 512<<10); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(node, os.O_RDONLY, 0)
	if err == nil {
		err = errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Reidentify(t.Context()); !errors.Is(err, devices.ErrChanged) {
		t.Fatalf("a drive that shrank: %v, want ErrChanged", err)
	}
	q, err := h.Queue(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Submit(blockio.Request{Op: blockio.Write, Offset: 768 << 10, Data: blockio.AlignedBuffer(4096)}); err != nil {
		t.Fatal(err)
	}
	var done [1]blockio.Completion
	if _, err := q.Complete(t.Context(), done[:]); err != nil || !devices.IsGone(done[0].Err) {
		t.Fatalf("a write behind the new end: %+v, %v; want ErrGone", done[0], err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// A drive swapped for another between two steps must be noticed, whatever stayed the same.
func TestReidentifyNoticesASwap(t *testing.T) {
	r, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Add(virtual.Spec{Serial: "ONE", SizeBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	host := r.Host(nil)
	drives, err := host.Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(t.Context(), drives[0], devices.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Reidentify(t.Context()); err != nil {
		t.Fatal(err)
	}
	serials, err := filepath.Glob(filepath.Join(r.Root(), "sys/devices/*/*/*/block/vda/serial"))
	if err != nil || len(serials) != 1 {
		t.Fatal(serials, err)
	}
	if err := os.WriteFile(serials[0], []byte("TWO\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := h.Reidentify(t.Context()); !errors.Is(err, devices.ErrChanged) {
		t.Fatalf("another drive at the node: %v, want ErrChanged", err)
	}
	if err := os.Remove(filepath.Join(r.Root(), "sys/block/vda")); err != nil {
		t.Fatal(err)
	}
	if err := h.Reidentify(t.Context()); !errors.Is(err, devices.ErrGone) {
		t.Fatalf("no drive at the node: %v, want ErrGone", err)
	}
	wrong := drives[0]
	wrong.ID = "none"
	if _, err := host.Open(t.Context(), wrong, devices.OpenOptions{}); !errors.Is(err, devices.ErrNotFound) {
		t.Fatalf("a drive that is not there: %v", err)
	}
}

// The drive that / is on is never ready. It is only listed, never opened.
func TestOwnSystemDriveIsNotReady(t *testing.T) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Skip("no mountinfo here")
	}
	drives, err := devices.NewHost("/", devices.OpenNode, nil).Drives(t.Context())
	if err != nil {
		t.Skipf("no drives can be listed here: %v", err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if len(f) < 5 || f[4] != "/" {
			continue
		}
		for _, d := range drives {
			if f[2] == strings.TrimSpace(string(must(os.ReadFile("/sys/block/"+filepath.Base(d.Nodes[0])+"/dev")))) && d.State == devices.StateReady {
				t.Fatalf("%s is ready, and / is on it", d.Nodes[0])
			}
		}
	}
}

func must(b []byte, _ error) []byte { return b }
