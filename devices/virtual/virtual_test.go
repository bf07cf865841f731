package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/jaypipes/ghw"
	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/devicetest"
)

var canary = []byte("CANARY-1234567890")

func newRack(t *testing.T, specs ...Spec) *Rack {
	t.Helper()
	r, err := Create(filepath.Join(t.TempDir(), "rack"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range specs {
		node, err := r.Add(s)
		if err == nil {
			err = r.Populate(node, canary)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func open(t *testing.T, r *Rack, node string) devices.Transport {
	t.Helper()
	tr, err := r.Opener()(t.Context(), node, devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// backend is the blocking I/O below the queue: what a request does, without the queue's order.
func backend(t *testing.T, tr devices.Transport) blockio.Backend {
	t.Helper()
	b, ok := tr.(blockio.Backend)
	if !ok {
		t.Fatalf("%T has no blocking I/O", tr)
	}
	return b
}

func TestConformance(t *testing.T) {
	for _, p := range Profiles() {
		if p.lockedOut() || p.tcg.shadowed || p.protected || p.zoned {
			continue // it does not write, or not anywhere
		}
		for _, block := range []int{512, 4096} {
			if block == 4096 && (len(p.Sanitize) == 0 && !p.NVMeFormat || p.bridge != "") {
				continue
			}
			t.Run(fmt.Sprintf("%s %d", p.Name, block), func(t *testing.T) {
				t.Parallel()
				r := newRack(t, Spec{Profile: p.Name, SizeBytes: 4 << 20, LogicalBlock: block})
				list, err := r.Drives()
				if err != nil {
					t.Fatal(err)
				}
				devicetest.Run(t, func(t *testing.T) devices.Transport { return open(t, r, list[0].Node) })
			})
		}
	}
}

// A library that enumerates real hosts lists the rack without a special path in it.
func TestLibrarySeesTheDrives(t *testing.T) {
	r := newRack(t, Spec{Serial: "ONE"}, Spec{Serial: "TWO", SizeBytes: 8 << 20, LogicalBlock: 4096},
		Spec{Serial: "THREE", Profile: "nvme-ssd", SizeBytes: 4 << 20}, Spec{Serial: "FOUR", Profile: "sata-hdd", SizeBytes: 4 << 20})
	info, err := ghw.Block(ghw.WithChroot(r.Root()), ghw.WithDisableTools())
	if err != nil || len(info.Disks) != 4 {
		t.Fatalf("%+v, %v", info, err)
	}
	for _, d := range info.Disks {
		if d.Name == "vdb" && (d.SizeBytes != 8<<20 || d.SerialNumber != "TWO") || d.Name == "nvme0n1" && (d.SizeBytes != 4<<20 || d.SerialNumber != "THREE") ||
			d.Name == "sda" && d.SizeBytes != 4<<20 {
			t.Errorf("%+v", d)
		}
	}
}

// What was acknowledged and not flushed is lost with the power; what was flushed is not; and the
// write that was under way may be torn.
func TestPowerCutLosesTheCacheOnly(t *testing.T) {
	r := newRack(t, Spec{Serial: "A", SizeBytes: 1 << 20, CacheBytes: 1 << 20})
	if err := r.Fault("A", Fault{Kind: PowerCut, Count: 3}); err != nil {
		t.Fatal(err)
	}
	tr := open(t, r, "/dev/vda")
	b := backend(t, tr)
	ones := bytes.Repeat([]byte{1}, 4096)
	for i, off := range []int64{0, 8192} {
		if _, err := b.WriteAt(ones, off); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := b.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := b.WriteAt(ones, 16384); !errors.Is(err, devices.ErrGone) {
		t.Fatalf("third write: %v, want ErrGone", err)
	}
	for name, err := range map[string]error{
		"read":  func() error { _, err := b.ReadAt(ones, 0); return err }(),
		"flush": b.Flush(),
		"size":  func() error { _, err := tr.Geometry(t.Context()); return err }(),
	} {
		if !errors.Is(err, devices.ErrGone) {
			t.Errorf("%s without power: %v", name, err)
		}
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1)
	m, err := r.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[int64]byte{0: 1, 8192: canary[8192%len(canary)]} {
		if _, err := m.ReadAt(got, off); err != nil || got[0] != want {
			t.Errorf("medium at %d: %#x, want %#x, %v", off, got[0], want, err)
		}
	}
	again := open(t, r, "/dev/vda")
	if _, err := backend(t, again).WriteAt(bytes.Repeat([]byte{1}, 4096), 0); err != nil {
		t.Errorf("power is not back: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFaultsDoWhatTheySay(t *testing.T) {
	zero := make([]byte, 16<<10)
	run := func(t *testing.T, fault string, use func(*testing.T, blockio.Backend)) (addressable, hidden int64) {
		t.Helper()
		r := newRack(t, Spec{Serial: "A", SizeBytes: 1 << 20})
		f, err := ParseFault(fault)
		if err == nil {
			err = r.Fault("A", f)
		}
		if err != nil {
			t.Fatal(err)
		}
		tr := open(t, r, "/dev/vda")
		use(t, backend(t, tr))
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		m, err := r.Medium("A")
		if err != nil {
			t.Fatal(err)
		}
		addressable, hidden, err = m.CountCanary(canary)
		if err != nil {
			t.Fatal(err)
		}
		return addressable, hidden
	}
	fill := func(t *testing.T, b blockio.Backend) error {
		var all error
		for off := int64(0); off < 1<<20; off += int64(len(zero)) {
			_, err := b.WriteAt(zero, off)
			all = errors.Join(all, err)
		}
		return errors.Join(all, b.Flush())
	}
	t.Run("drop-writes", func(t *testing.T) {
		left, hidden := run(t, "drop-writes:100+2", func(t *testing.T, b blockio.Backend) {
			if err := fill(t, b); err != nil {
				t.Errorf("a lost write was reported: %v", err)
			}
			got := make([]byte, 512)
			if _, err := b.ReadAt(got, 100*512); err != nil || !bytes.Contains(got, canary) {
				t.Errorf("reading back does not show it: %v", err)
			}
		})
		if left == 0 || left > 1024/int64(len(canary))+1 || hidden == 0 {
			t.Errorf("%d canaries are left, %d hidden", left, hidden)
		}
	})
	t.Run("write-error", func(t *testing.T) {
		left, _ := run(t, "write-error:100+2", func(t *testing.T, b blockio.Backend) {
			n, err := b.WriteAt(zero, 96*512)
			if err == nil || n != 4*512 || errors.Is(err, devices.ErrGone) {
				t.Errorf("%d bytes, %v", n, err)
			}
			if err := fill(t, b); err == nil {
				t.Error("no error")
			}
		})
		if left == 0 {
			t.Error("a block that cannot be written was written")
		}
	})
	t.Run("read-error", func(t *testing.T) {
		run(t, "read-error:100+2", func(t *testing.T, b blockio.Backend) {
			if n, err := b.ReadAt(make([]byte, 8192), 96*512); err == nil || n != 4*512 {
				t.Errorf("%d bytes, %v", n, err)
			}
			if _, err := b.ReadAt(make([]byte, 512), 102*512); err != nil {
				t.Errorf("the block after: %v", err)
			}
		})
	})
	t.Run("pulled", func(t *testing.T) {
		r := newRack(t, Spec{Serial: "A", SizeBytes: 1 << 20})
		if err := r.Fault("A", Fault{Kind: Pulled, Count: 2}); err != nil {
			t.Fatal(err)
		}
		tr := open(t, r, "/dev/vda")
		b := backend(t, tr)
		if _, err := b.ReadAt(make([]byte, 512), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ReadAt(make([]byte, 512), 0); !errors.Is(err, devices.ErrGone) {
			t.Fatalf("pulled: %v", err)
		}
		if err := tr.Close(); err != nil {
			t.Fatal(err)
		}
		if list, err := r.Host(nil).Drives(t.Context()); err != nil || len(list) != 0 {
			t.Fatalf("a pulled drive is listed: %v, %v", list, err)
		}
		if _, err := r.Opener()(t.Context(), "/dev/vda", devices.ReadOnly); !errors.Is(err, devices.ErrGone) {
			t.Fatalf("a pulled drive was opened: %v", err)
		}
		if err := r.ClearFaults("A"); err != nil {
			t.Fatal(err)
		}
		if list, err := r.Host(nil).Drives(t.Context()); err != nil || len(list) != 1 {
			t.Fatalf("a drive that is back is not listed: %v, %v", list, err)
		}
	})
}

func TestExclusiveOpen(t *testing.T) {
	r := newRack(t, Spec{Serial: "A", SizeBytes: 1 << 20}, Spec{Serial: "B", SizeBytes: 1 << 20}, Spec{Serial: "C", SizeBytes: 1 << 20, ReadOnly: true})
	var inUse *devices.InUseError
	tr := open(t, r, "/dev/vda")
	// Another process would have a Rack of its own.
	other, err := Open(r.Root())
	if err != nil {
		t.Fatal(err)
	}
	for _, rack := range []*Rack{r, other} {
		if _, err := rack.Opener()(t.Context(), "/dev/vda", devices.Exclusive); !errors.As(err, &inUse) {
			t.Fatalf("a second exclusive open: %v", err)
		}
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	tr, err = other.Opener()(t.Context(), "/dev/vda", devices.Exclusive)
	if err != nil {
		t.Fatalf("after closing: %v", err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Use("B", "mounted:/srv"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Opener()(t.Context(), "/dev/vdb", devices.Exclusive); !errors.As(err, &inUse) {
		t.Fatalf("a mounted drive was opened: %v", err)
	}
	read, err := r.Opener()(t.Context(), "/dev/vda", devices.ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backend(t, read).WriteAt(make([]byte, 512), 0); err == nil {
		t.Fatal("written through a node opened for reading")
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	for _, node := range []string{"/dev/none", "/etc/passwd", "vda", "/dev/../rack.json", ""} {
		if _, err := r.Opener()(t.Context(), node, devices.ReadOnly); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("node %q: %v", node, err)
		}
	}
}

func TestRackRefusesBadInput(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a rack was made over somebody's files: %v", err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrNotRack) {
		t.Errorf("a directory was taken for a rack: %v", err)
	}
	r := newRack(t, Spec{Serial: "A"})
	for name, s := range map[string]Spec{
		"profile": {Profile: "none"}, "serial": {Serial: "A"}, "long serial": {Serial: "123456789012345678901"}, "slash": {Serial: "a/b"},
		"size": {SizeBytes: 1000}, "huge": {SizeBytes: math.MaxInt64 &^ 511}, "block": {LogicalBlock: 520}, "negative": {SizeBytes: -512},
	} {
		if _, err := r.Add(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, use := range []string{"", "mounted", "mounted:srv", "holder:", "holder:../x", "eaten"} {
		if err := r.Use("A", use); err == nil {
			t.Errorf("use %q: accepted", use)
		}
	}
	if err := r.Fault("A", Fault{Kind: WriteError, Block: 1 << 40, Count: 1}); err == nil {
		t.Error("a fault behind the end was accepted")
	}
}

func TestFaultText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		form := rapid.SampledFrom(forms).Draw(rt, "form")
		f := Fault{Kind: form.kind}
		switch {
		case form.extent:
			f.Block, f.Count = rapid.Int64Range(0, 1<<40).Draw(rt, "block"), rapid.Int64Range(1, 1<<40).Draw(rt, "count")
		case form.words != nil:
			f.Word = rapid.SampledFrom(form.words).Draw(rt, "word")
		default:
			f.Count = rapid.Int64Range(1, form.most).Draw(rt, "number")
		}
		if got, err := ParseFault(f.String()); err != nil || got != f {
			rt.Fatalf("%+v became %+v, %v", f, got, err)
		}
	})
	for _, f := range forms {
		if _, err := ParseFault(f.kind + ":" + f.example); err != nil {
			t.Errorf("the example of %s: %v", f.kind, err)
		}
	}
	for _, s := range []string{"", "write-error", "write-error:", "write-error:1", "write-error:1+0", "write-error:-1+2", "write-error:1+x", "power-cut:0",
		"power-cut:x", "pulled", "slow:-1", "burn:1", "lie", "lie:white", "sanitize-fail:100", "log-zero:81", "write-error:9223372036854775807+9"} {
		if f, err := ParseFault(s); err == nil {
			t.Errorf("%q: %+v", s, f)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	f.Add("write-error:2048+8")
	f.Add("drop-writes")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseFault(s); err == nil {
			if again, err := ParseFault(got.String()); err != nil || again != got {
				t.Fatalf("%q: %+v, then %+v, %v", s, got, again, err)
			}
		}
	})
}

func TestDriveNames(t *testing.T) {
	for n, want := range map[int]string{0: "a", 25: "z", 26: "aa", 701: "zz", 702: "aaa"} {
		if got := letters(n); got != want {
			t.Errorf("drive %d is %s", n, got)
		}
	}
}
