package service

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// jobs makes jobs that have ended.
func (s *site) jobs(x *Service, serials ...string) (names []string) {
	s.t.Helper()
	for _, serial := range serials {
		s.drive(serial, "", 1<<20)
		j := s.start(x, s.plan(x, sanitize.Request{}, serial))
		s.follow(x, j.ID, "")
		names = append(names, j.ID)
	}
	return names
}

// As long as a look takes, it is not safe, and whoever asks is told how far it is.
func TestALookThatTakesLongSaysHowFarItIs(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	names := s.jobs(x, "A", "B", "C")
	s.close(x)
	// One of the journals answers nothing.
	found, err := filepath.Glob(filepath.Join(s.state, "jobs", names[0], "*", "journal*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if err := errors.Join(os.Rename(found[0], found[0]+".aside"), syscall.Mkfifo(found[0], 0o600)); err != nil {
		t.Fatal(err)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.NumCPU()))) // as many jobs are judged at once
	x = s.serve(nil)
	until(t, "the others were judged", func() bool {
		h, err := x.Health(s.ctx)
		if err != nil || h.SafeToPowerOff || len(h.PowerOff) != 1 || h.PowerOff[0].Code != "unknown" {
			t.Fatalf("%+v, %v", h, err)
		}
		return strings.Contains(h.PowerOff[0].Message, "of 2 of 3 jobs so far")
	})
	f, err := os.OpenFile(found[0], os.O_WRONLY, 0) // it answers
	if err == nil {
		err = errors.Join(f.Close(), os.Rename(found[0]+".aside", found[0]))
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is safe", func() bool {
		h, err := x.Health(s.ctx)
		return err == nil && h.SafeToPowerOff
	})
}

// What began after a look did, and has stopped before its end, keeps the host from losing its power: the look does not know of it.
func TestALookThatIsOlderThanAJob(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	s.jobs(x, "A")
	s.drive("B", "", 64<<20, "slow:8000000")
	x.kept.mu.Lock() // the look that begins now ends when this is given back
	x.lookEarly()
	x.mu.Lock()
	l := x.looking
	x.mu.Unlock()
	until(t, "it has listed the jobs", func() bool { return l.jobs.Load() == 1 })
	j := s.start(x, s.plan(x, sanitize.Request{}, "B"))
	s.await(x, j.ID, "pass_begun")
	if _, err := x.Cancel(s.ctx, j.ID); err != nil {
		t.Fatal(err)
	}
	told := make(chan api.Health, 1)
	go func() {
		h, err := x.Health(s.ctx)
		if err != nil {
			t.Error(err)
		}
		told <- h
	}()
	time.AfterFunc(50*time.Millisecond, x.kept.mu.Unlock) // so that it waits for that look
	if h := <-told; h.SafeToPowerOff || len(h.PowerOff) != 1 || h.PowerOff[0].Code != reasonUnfinished {
		t.Errorf("%d canaries, and %+v", s.holds("B"), h)
	}
}

// A job at its end is not asked for whoever might be at work on it, as long as it is at its end.
func TestAJobAtItsEndIsNotAtWork(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	names := s.jobs(x, "A")
	if h, err := x.Health(s.ctx); err != nil || !h.SafeToPowerOff {
		t.Fatalf("%+v, %v", h, err)
	}
	lock, err := durable.TryLock(filepath.Join(s.state, "jobs", names[0], "lock")) // as one who watches has it for a moment
	if err != nil {
		t.Fatal(err)
	}
	if h, err := x.Health(s.ctx); err != nil || !h.SafeToPowerOff || h.Running != 0 {
		t.Errorf("%+v, %v", h, err)
	}
	// Its certificate goes, and whoever has the job may be making it again.
	found, err := filepath.Glob(filepath.Join(s.state, "jobs", names[0], "*", "certificate.json"))
	if err == nil && len(found) == 1 {
		err = os.Remove(found[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff || len(h.PowerOff) != 1 || h.PowerOff[0].Code != agent.ReasonRunning {
			t.Errorf("%+v, %v", h, err)
		}
	}
	if h, err := x.Health(s.ctx); err != nil || h.Running != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}
