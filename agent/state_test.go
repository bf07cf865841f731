package agent

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// A state that cannot keep the evidence is noticed before anything is touched.
func TestFullOrReadOnlyState(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root: run the tests as root to have this one")
	}
	for name, c := range map[string]struct {
		options string
		flags   uintptr
		want    error
	}{"full": {"size=256k", 0, ErrNoRoom}, "read-only": {"size=8m", syscall.MS_RDONLY | syscall.MS_REMOUNT, syscall.EROFS}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			point := t.TempDir()
			if err := syscall.Mount("none", point, "tmpfs", 0, c.options); err != nil {
				t.Skipf("nothing can be mounted here: %v", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(point, 0); err != nil {
					t.Error(err)
				}
			})
			s.state = filepath.Join(point, "state")
			s.agent = s.reopen(s.rack.Host(nil))
			s.add(virtual.Spec{Serial: "A", SizeBytes: small})
			p := s.plan(sanitize.Request{}, "A")
			if c.flags != 0 {
				if err := syscall.Mount("none", point, "tmpfs", c.flags, c.options); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if holds(t, s.rack, "A") == 0 {
				t.Fatal("the drive was touched")
			}
		})
	}
}

// A state that becomes full in the middle stops the work, loses nothing, and the job goes on when
// there is room.
func TestStateFullInTheMiddle(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root: run the tests as root to have this one")
	}
	s := newSite(t)
	point := t.TempDir()
	if err := syscall.Mount("none", point, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(point, 0); err != nil {
			t.Error(err)
		}
	})
	s.state = filepath.Join(point, "state")
	s.agent = s.reopen(s.rack.Host(nil))
	s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20})
	ballast := filepath.Join(point, "ballast")
	p := s.plan(sanitize.Request{Scheme: "gutmann"}, "A")
	j, err := s.agent.Start(t.Context(), p, Started{}, Observer{Begun: func(sanitize.DrivePlan, *sanitize.Meter) {
		// All that is left, so that the next record that needs a new page finds none.
		f, err := os.Create(ballast)
		if err != nil {
			t.Error(err)
			return
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r := j.Drives[0]; r.Outcome != sanitize.Interrupted || !errors.Is(r.Err, syscall.ENOSPC) || r.Certificate != "" {
		t.Fatalf("outcome %s, error %v", r.Outcome, r.Err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if r := s.run(p); r.Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 {
		t.Fatalf("after making room: %s %v %v", r.Outcome, r.Reasons, r.Err)
	}
}

// A job that is there needs no room to be taken hold of: one that could not be would be left without a word of how to go on with it.
func TestAJobIsMadeWithItsLock(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20})
	p := s.plan(sanitize.Request{}, "A")
	if _, err := s.agent.createJob(p, Started{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(s.agent.jobDir(jobName(p)), lockFile)); err != nil {
		t.Error(err)
	}
}

// Jobs that begin at once, in this process and in others, take nothing from each other when each looks whether the state can be written.
func TestManyLookWhetherTheStateCanBeWritten(t *testing.T) {
	s := newSite(t)
	agents := []*Agent{s.agent, s.reopen(s.rack.Host(nil))}
	var wait sync.WaitGroup
	for n := range 16 {
		wait.Go(func() {
			for range 20 {
				if err := agents[n%len(agents)].ready(1); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}
