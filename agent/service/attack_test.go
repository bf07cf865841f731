package service

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// A halt that comes while a job is about to begin keeps it from beginning.
func TestAHaltThatComesWhileAJobBegins(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	if err := x.working(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "now"}); err != nil {
		t.Fatal(err)
	}
	began := false
	err := x.launch(agent.JobOf(p.Plan), p.Plan, nil, nil, func(context.Context, agent.Observer) (agent.Job, error) {
		began = true
		return agent.Job{}, nil
	})
	wantCode(t, err, "halted")
	if began || s.holds("A") == 0 {
		t.Error("it began all the same")
	}
}

// A halt holds for every process with the same state, whether the agent runs or not.
func TestAHaltHoldsWithoutTheAgent(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	if _, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "now"}); err != nil {
		t.Fatal(err)
	}
	s.close(x)
	_, err := x.Agent.Start(t.Context(), p.Plan, agent.Started{}, agent.Observer{})
	var halted *agent.HaltedError
	if !errors.As(err, &halted) || s.holds("A") == 0 {
		t.Fatalf("%v", err)
	}
	if _, _, err := x.Agent.Recover(t.Context(), agent.Observer{}); !errors.As(err, &halted) {
		t.Errorf("recover: %v", err)
	}
}

// Halts and ends of halts that race leave the same in memory and on disk.
func TestHaltsThatRace(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	for range 20 {
		var wait sync.WaitGroup
		for _, halted := range []bool{true, false, true} {
			wait.Go(func() {
				if _, err := x.Halt(s.ctx, api.HaltRequest{Halted: halted, Reason: map[bool]string{true: "race"}[halted]}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		kept := x.readHalt()
		now, err := x.Halted(s.ctx)
		if err != nil || kept.Halted != now.Halted {
			t.Fatalf("on disk %v, in memory %v, %v", kept.Halted, now.Halted, err)
		}
	}
}

// Whoever watches a job that is cancelled and resumed misses nothing of either run, however slow they are.
func TestAWatcherAcrossCancelAndResume(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	resumed, met := make(chan struct{}), make(chan []api.Event, 1)
	go func() {
		var events []api.Event
		for e, err := range x.Events(s.ctx, j.ID, "") {
			if err != nil {
				break
			}
			events = append(events, e)
			if len(events) == 3 {
				<-resumed // and by then the first run is over
			}
		}
		met <- events
	}()
	s.await(x, j.ID, "pass_begun")
	if _, err := x.Cancel(s.ctx, j.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	close(resumed)
	s.recorded(j.ID, <-met)
}

// PINs that come with one job are for its drives alone, and for no other job: not for the one that is at work on the drive when this one
// is refused.
func TestPINsAreForTheDrivesOfTheirJob(t *testing.T) {
	p, drives := &PINs{}, []sanitize.DrivePlan{{ID: "a"}}
	p.put("j-1", drives, map[devices.ID]string{"a": "one", "b": "two"})
	p.put("j-2", drives, map[devices.ID]string{"a": "wrong"})
	if pin, err := p.Give("j-1", sanitize.DrivePlan{ID: "b"}); err == nil {
		t.Errorf("another drive got %q", pin)
	}
	for range 2 {
		if pin, err := p.Give("j-1", drives[0]); err != nil || pin != "one" {
			t.Errorf("%q, %v", pin, err)
		}
		p.forget("j-2")
	}
	if pin, err := p.Give("j-2", drives[0]); err == nil {
		t.Errorf("%q is kept longer than its job", pin)
	}
}

// A job that was cut off before it touched its drive does not begin for ever: what was planned and approved expires.
func TestAnOldJobDoesNotBegin(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	ctx, cancel := context.WithCancel(t.Context())
	// The host loses its power when the job is on disk and nothing else is.
	if _, err := x.Agent.Start(ctx, p.Plan, agent.Started{By: "uid:0", At: time.Now()}, agent.Observer{Planned: func([]sanitize.DrivePlan) { cancel() }}); err != nil {
		t.Fatal(err)
	}
	if s.holds("A") == 0 {
		t.Fatal("it was touched before")
	}
	late, err := agent.Open(agent.Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: agent.Owner{Kind: "rack", ID: s.rack.ID()}, Version: "test",
		Now: func() time.Time { return time.Now().Add(48 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	j, err := late.Resume(t.Context(), agent.JobOf(p.Plan), agent.Observer{})
	if err != nil || j.Drives[0].Outcome != sanitize.RefusedRun || s.holds("A") == 0 {
		t.Fatalf("%+v, %v", j.Drives, err)
	}
}

// Of a job that is cancelled and resumed at the same time, one of the two holds: it never runs on with the answer that it was stopped.
func TestCancelAndResumeAtOnce(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:16000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.await(x, j.ID, "pass_begun")
	for range 6 {
		if _, err := x.Cancel(s.ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		var c api.Cancelled
		var errCancel, errResume error
		wait.Go(func() { _, errResume = x.Resume(s.ctx, j.ID, api.ResumeRequest{}) })
		wait.Go(func() { c, errCancel = x.Cancel(s.ctx, j.ID) })
		wait.Wait()
		if errCancel != nil {
			t.Fatal(errCancel, errResume)
		}
		now, err := x.Job(s.ctx, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		by, err := x.Agent.StoppedBy(j.ID)
		if err != nil || (now.State == api.JobRunning) == (by.By != "") {
			t.Fatalf("it is %s, and stopped by %q (%v); cancel said %+v", now.State, by.By, err, c)
		}
	}
}
