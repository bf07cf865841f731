package service

import (
	"context"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// big is a drive that takes more than forty writes.
const big = 64 << 20

// A drive that is back while its job still runs, for the sake of another drive, is not forgotten: the job goes on when it has come to
// an end.
func TestADriveIsBackBeforeItsJobEnds(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", big, "pulled:40")
	s.drive("B", "", 6<<20, "slow:3000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A", "B"))
	for e, err := range x.Events(s.ctx, j.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == api.EventDrive && e.Serial == "A" {
			if e.Drive.Outcome != sanitize.Interrupted || s.holds("A") == 0 {
				t.Fatalf("%+v", e.Drive)
			}
			if err := s.rack.ClearFaults("A"); err != nil {
				t.Fatal(err)
			}
			if err := x.HostChanged(s.ctx, devices.Change{Names: true}); err != nil {
				t.Fatal(err)
			}
			if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobRunning {
				t.Fatalf("it ended too early for this test: %+v, %v", now, err)
			}
			break
		}
	}
	s.ends(x, j.ID)
	if s.holds("A") != 0 || s.holds("B") != 0 {
		t.Errorf("%d and %d canaries", s.holds("A"), s.holds("B"))
	}
}

// A job that waits for its drive goes on when the host changes.
func TestAJobWaitsForItsDrive(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", big, "pulled:40")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	if _, end := s.follow(x, j.ID, ""); end.State != api.JobInterrupted || end.Drives[0].Certificate != nil || s.holds("A") == 0 {
		t.Fatalf("%+v", end)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if err := x.HostChanged(s.ctx, devices.Change{Names: true}); err != nil {
		t.Fatal(err)
	}
	if end := s.ends(x, j.ID); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
}

// Whoever watches a job from the first moment of a new agent is not told that nobody is at work on it, before the agent has looked.
func TestAWatcherIsThereBeforeTheAgentGoesOn(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 4<<20, "slow:3000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.close(x)
	if s.holds("A") == 0 {
		t.Fatal("it ended too early for this test")
	}
	x = s.serve(nil)
	heard := make(chan api.Job)
	go func() {
		_, end := s.follow(x, j.ID, "")
		heard <- end
	}()
	select {
	case end := <-heard:
		t.Fatalf("told before the agent had looked: %+v", end)
	case <-time.After(200 * time.Millisecond):
	}
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	if end := <-heard; end.State != api.JobEnded || end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
}

// ends waits until every drive of a job has its outcome, whoever goes on with it.
func (s *site) ends(x *Service, job string) api.Job {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.ctx, time.Minute)
	defer done()
	for {
		j, err := x.Job(ctx, job)
		if err != nil {
			s.t.Fatal(err)
		}
		if j.State == api.JobEnded {
			if j.ExitStatus != api.ExitOK {
				s.t.Fatalf("%+v", j)
			}
			return j
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("nobody goes on with it: %+v", j)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
