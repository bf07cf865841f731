package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newLoop makes a loop device over a file of its own in memory; it needs root, and skips the test without.
func newLoop(t *testing.T, size int64) Loop {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root: run the tests as root to have this one")
	}
	dir, err := os.MkdirTemp(memory, "expunge-benchtest-")
	if err != nil {
		t.Skipf("no files in memory: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(detachBelow(dir), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(dir, "drive")
	if err := fillFile(file, size); err != nil {
		t.Fatal(err)
	}
	l, err := attach(file)
	if err != nil {
		t.Skipf("this machine gives out no loop device: %v", err)
	}
	return l
}

func TestNodesThatAreNotOursAreRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, l := range map[string]Loop{
		"nothing":          {},
		"no such node":     {Node: "/dev/expunge-none", File: file},
		"a file":           {Node: file, File: file},
		"no block device":  {Node: "/dev/null", File: file, minor: 3},
		"another's loop":   {Node: "/dev/loop0", File: file, minor: 0},
		"another's number": {Node: "/dev/loop0", File: file, minor: 1},
	} {
		// None of them may even be opened to find out.
		if err := l.named(); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoopsOfOursAndOthers(t *testing.T) {
	ours, other := newLoop(t, smallest), newLoop(t, smallest)
	if err := errors.Join(ours.Own(), other.Own()); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(ours.Node, link); err != nil {
		t.Fatal(err)
	}
	swapped, linked, inode := ours, ours, ours
	swapped.Node, swapped.minor = other.Node, other.minor
	linked.Node = link
	inode.inode++
	for name, l := range map[string]Loop{"the other's node": swapped, "a link": linked, "another inode at the same path": inode} {
		if err := l.Own(); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
		if q, err := openQueue(t.Context(), l); !errors.Is(err, ErrNotOurs) || q != nil {
			t.Errorf("%s was opened: %v", name, err)
		}
	}
	if err := swapped.named(); !errors.Is(err, ErrNotOurs) {
		t.Errorf("the other's node would be opened: %v", err)
	}
	if err := detach(ours.minor, other.File); err != nil || ours.Own() != nil {
		t.Errorf("a device that has another file was detached: %v, %v", err, ours.Own())
	}
	if err := detach(ours.minor, ours.File); err != nil {
		t.Fatal(err)
	}
	if err := ours.Own(); !errors.Is(err, ErrNotOurs) {
		t.Errorf("detached: %v", err)
	}
}

// A program that is told nothing finds our drives and no others.
func TestCellHoldsOnlyOurDrives(t *testing.T) {
	l := newLoop(t, smallest)
	c, err := newCell([]Loop{l})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var said strings.Builder
	cmd := exec.CommandContext(t.Context(), "ls", "/dev")
	cmd.Stdout = &said
	if err := c.start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(l.Node), "null", "random", "shm", "urandom", "zero"}
	if got := strings.Fields(said.String()); !slices.Equal(got, want) {
		t.Errorf("in the cell's /dev are %q", got)
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Errorf("the machine's own /dev has changed: %v", err)
	}
}

// The whole way with the smallest drives: every row is there, and the drives were overwritten.
func TestCompare(t *testing.T) {
	l := newLoop(t, smallest)
	path, err := exec.LookPath("dd")
	if err != nil {
		t.Skip("dd is not installed: nothing to compare with")
	}
	never := program("never", byProcess, func(s *set, _ Pass) [][]string {
		return s.each(func(l Loop) []string { return []string{"true", l.Node} })
	})
	o := Options{Rounds: 2, Passes: passes, MiB: 16, dir: filepath.Dir(l.File)}
	var rows []Row
	err = compare(t.Context(), o, append([]tool{engine(), never}, dd(path)...), 2, t.TempDir(), t.Logf, func(of []Row) error {
		rows = append(rows, of...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range rows {
		count[r.Tool]++
		switch {
		case r.Tool == "never":
			if !strings.Contains(r.Void, ErrNotWritten.Error()) || r.Overwritten {
				t.Errorf("a program that writes nothing: %+v", r)
			}
		case r.Void != "" || !r.Overwritten || len(r.Samples) != 2 || r.GBps.Median <= 0:
			t.Errorf("%+v", r)
		case r.Pass == Verify && r.Note != "":
			t.Errorf("the engine verified from memory: %s", r.Note)
		}
	}
	if count[engineName] != 3 || count["never"] != 3 || count["dd direct 4M"] != 2 {
		t.Errorf("rows: %v", count)
	}
	if left, err := filepath.Glob(filepath.Join(o.dir, "drives*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What a run that was killed has left goes when the next begins, and nothing of one that lives.
func TestRoomsOfTheDeadAreCleared(t *testing.T) {
	if _, err := os.Stat(memory); err != nil {
		t.Skipf("no files in memory: %v", err)
	}
	dead, err := newRoom()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead.path, "drive"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := newRoom()
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as when its process ends
		t.Fatal(err)
	}
	next, err := newRoom()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dead.path, dead.work} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	for _, path := range []string{alive.path, alive.work, next.path, next.work} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a run that lives lost its %s", path)
		}
	}
	if err := errors.Join(alive.clear(), next.clear()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(next.work); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", next.work, err)
	}
}
