package service

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// Whoever must halt is not sent to find other words: what everything hangs on is whether it is halted.
func TestAHaltIsNotRefusedForItsWords(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	for _, reason := range []string{"", strings.Repeat("停", 400), "not \xff text", strings.Repeat("x", 100_000)} {
		h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: reason})
		if now := x.readHalt(); err != nil || !h.Halted || !now.Halted || now.Reason == "" || len(now.Reason) > 600 || !utf8.ValidString(now.Reason) {
			t.Errorf("%.10q: %+v, %+v, %v", reason, h, now, err)
		}
	}
}

// A disk of the state that does not answer holds up what is written down of a halt, and not the halt.
func TestAHaltStopsBeforeItIsWrittenDown(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	x.halting.Lock() // as who writes something down of an earlier halt
	halted := make(chan error, 1)
	go func() {
		_, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"})
		halted <- err
	}()
	until(t, "the job has stopped", func() bool { now, err := x.Job(s.ctx, j.ID); return err == nil && now.State == api.JobInterrupted })
	if h, err := x.Halted(s.ctx); err != nil || !h.Halted {
		t.Errorf("%+v, %v", h, err)
	}
	x.halting.Unlock()
	if err := <-halted; err != nil || !x.readHalt().Halted {
		t.Error(err)
	}
}

// Nor does the end of an earlier halt, which came in between, keep it from taking effect.
func TestAHaltHoldsBeforeItIsWrittenDown(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	x.halting.Lock() // as who writes down the end of an earlier halt
	halted := make(chan error, 1)
	go func() {
		_, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"})
		halted <- err
	}()
	holds := func() bool { x.mu.Lock(); defer x.mu.Unlock(); return x.halt.Halted }
	until(t, "it holds", holds)
	x.mu.Lock()
	x.halt = api.Halt{} // which that does last
	x.mu.Unlock()
	x.audit.mu.Lock() // and the disk answers no more
	answers := sync.OnceFunc(x.audit.mu.Unlock)
	defer answers()
	x.halting.Unlock()
	until(t, "it holds again", holds)
	answers()
	if err := <-halted; err != nil || !holds() || !x.readHalt().Halted {
		t.Error(err)
	}
}

// The end of a halt goes on with jobs also when nobody waits for the answer any more.
func TestTheEndOfAHaltOfSomebodyWhoLeaves(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 4<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	if _, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"}); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(s.ctx)
	leave()
	if _, err := x.Halt(ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	if end := s.ends(x, j.ID); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
}

// A job that somebody stopped stays stopped when it cannot be gone on with: nobody is told that it goes on, and no agent goes on with it by itself.
func TestAResumeThatIsRefusedLeavesTheJobStopped(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	var told atomic.Int64
	x := s.serve(func(o *Options) { o.Told.JobEnded = func(api.Job) { told.Add(1) } })
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	if _, err := x.Cancel(s.ctx, j.ID); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.TryLock(filepath.Join(s.state, "jobs", j.ID, "lock")) // as one who looks at its journals has it
	if err != nil {
		t.Fatal(err)
	}
	_, err = x.Resume(s.ctx, j.ID, api.ResumeRequest{})
	wantCode(t, err, "busy")
	if by, err := x.Agent.StoppedBy(j.ID); err != nil || by.By != "uid:0" {
		t.Errorf("stopped by %q, %v", by.By, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobStopped {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{Halted: true}); err != nil {
		t.Fatal(err)
	}
	_, err = x.Resume(s.ctx, j.ID, api.ResumeRequest{})
	wantCode(t, err, "halted")
	if by, err := x.Agent.StoppedBy(j.ID); err != nil || by.By != "uid:0" {
		t.Errorf("stopped by %q, %v", by.By, err)
	}
	if n := told.Load(); n != 1 {
		t.Errorf("it was told %d times that nobody is at work any more, of one that somebody was at", n)
	}
}
