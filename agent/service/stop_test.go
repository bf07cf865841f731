package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// A cancelled job stops, says so, holds data, and is gone on with only when somebody asks for that.
func TestCancel(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.await(x, j.ID, "pass_begun")
	c, err := x.Cancel(s.ctx, j.ID)
	if err != nil || len(c.Drives) != 1 || !c.Drives[0].Stopped {
		t.Fatalf("%+v, %v", c, err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobStopped || now.ExitStatus != api.ExitInterrupted || s.holds("A") == 0 {
		t.Fatalf("%+v, %v", now, err)
	}
	s.close(x)
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobStopped {
		t.Fatalf("after a restart: %+v, %v", now, err)
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff {
		t.Errorf("safe to power off with a drive half done: %+v, %v", h, err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Fatalf("%+v", end)
	}
	if h, err := x.Health(s.ctx); err != nil || !h.SafeToPowerOff {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = x.Cancel(s.ctx, j.ID)
	wantCode(t, err, "ended")
}

// What an auditor would lose: that what was allowed did not come about.
func TestWhatWasAllowedAndFailedIsWrittenDown(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.await(x, j.ID, "pass_begun")
	last := func(action string, err error) {
		t.Helper()
		list := s.actions()
		if n := len(list); err == nil || n < 2 || list[n-2].Decision != allowed || list[n-2].Action != action ||
			list[n-1].Action != action || list[n-1].Decision != refused || list[n-1].Code != "internal" || list[n-1].Detail == "" || list[n-1].Who != "uid:0" {
			t.Errorf("%s: %v, %+v", action, err, list[max(0, n-2):])
		}
	}
	inPlace := func(name string) { // of a note: another thing has its name
		t.Helper()
		if err := errors.Join(os.RemoveAll(name), os.MkdirAll(filepath.Join(name, "x"), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	inPlace(filepath.Join(s.state, "jobs", j.ID, "stopped.json"))
	_, err := x.Cancel(s.ctx, j.ID)
	last("jobs.cancel", err)
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State == api.JobRunning { // it is stopped all the same
		t.Errorf("%+v, %v", now, err)
	}
	inPlace(filepath.Join(s.state, agent.HaltName))
	_, err = x.Halt(s.ctx, api.HaltRequest{})
	last("halt.end", err)
}

// await watches a job until a record of a kind came, of whichever drive.
func (s *site) await(x *Service, job, kind string) { s.awaitOf(x, job, kind, "") }

// awaitOf is await of one drive.
func (s *site) awaitOf(x *Service, job, kind, serial string) {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.ctx, time.Minute)
	defer done()
	for e, err := range x.Events(ctx, job, "") {
		if err != nil || e.Type == api.EventJob {
			s.t.Fatalf("no %s came: %v %+v", kind, err, e.Whole)
		}
		if e.Kind == kind && (serial == "" || e.Serial == serial) {
			return
		}
	}
}

// What somebody cancels is stopped also where no note of that can be kept, and they are told what follows.
func TestCancelWithoutANote(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	if err := os.MkdirAll(filepath.Join(s.state, "jobs", j.ID, "stopped.json", "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Cancel(s.ctx, j.ID); err == nil || !strings.Contains(err.Error(), "was told to stop") {
		t.Errorf("%v", err)
	}
	if _, end := s.follow(x, j.ID, ""); end.State == api.JobEnded || s.holds("A") == 0 {
		t.Errorf("%+v, %d blocks are as they were", end, s.holds("A"))
	}
}

// A drive that erases itself cannot be stopped, and whoever cancels is told so; the job can be resumed to have it proven.
func TestCancelOfADriveThatErasesItself(t *testing.T) {
	s := newSite(t)
	s.drive("N", "nvme-ssd", 4<<20, "progress-stuck:3")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Method: sanitize.Purge}, "N"))
	s.await(x, j.ID, "operation_sent")
	for {
		r := x.running[j.ID]
		if reading, is := r.reading(r.plan.Drives[0].ID); is && reading.ByDrive {
			break
		}
		time.Sleep(time.Millisecond)
	}
	c, err := x.Cancel(s.ctx, j.ID)
	if err != nil || len(c.Drives) != 1 || c.Drives[0].Stopped || !strings.Contains(c.Drives[0].Message, "nothing stops that") {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("N") != 0 {
		t.Fatalf("%+v", end)
	}
}

// A halt stops what runs, keeps everything from beginning, also after a restart, and its end lets the jobs go on.
func TestHalt(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	s.drive("B", "", small)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	other := s.plan(x, sanitize.Request{}, "B")
	operator := as(t.Context(), "uid:7", api.Read, api.Operate)
	if _, err := x.Halt(operator, api.HaltRequest{Halted: true, Reason: "the wrong rack"}); err != nil {
		t.Fatal(err)
	}
	_, err := x.Start(s.ctx, starting(other))
	wantCode(t, err, "halted")
	_, err = x.Resume(s.ctx, j.ID, api.ResumeRequest{})
	wantCode(t, err, "halted")
	s.close(x)
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobInterrupted || s.holds("A") == 0 || s.holds("B") == 0 {
		t.Fatalf("%+v, %v", now, err)
	}
	_, err = x.Halt(operator, api.HaltRequest{})
	wantCode(t, err, "forbidden")
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Fatalf("%+v", end)
	}
}

// A halt whose note is damaged holds.
func TestADamagedHaltHolds(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.close(s.serve(nil))
	if err := os.WriteFile(filepath.Join(s.state, agent.HaltName), []byte(`{"halt`), 0o600); err != nil {
		t.Fatal(err)
	}
	x := s.serve(nil)
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A")))
	wantCode(t, err, "halted")
}

// Whatever is in the place of the note of a halt, and is no note, halts; the hint is what a person can type.
func TestALinkToNothingHalts(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.close(s.serve(nil))
	name := filepath.Join(s.state, agent.HaltName)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", name); err != nil {
		t.Fatal(err)
	}
	here := s.here(nil)
	_, err := here.Start(s.ctx, starting(s.plan(here, sanitize.Request{}, "A")))
	wantCode(t, err, "halted")
	s.ctx = as(t.Context(), "uid:0", api.Roles...)
	for range 2 { // it is not taken away by the first
		x := s.serve(nil)
		_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A")))
		wantCode(t, err, "halted")
		if hint := api.ProblemOf(err).Hint; !strings.Contains(hint, "expunge halt --end") {
			t.Errorf("hint %q", hint)
		}
		s.close(x)
	}
	x := s.serve(nil)
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, j := s.follow(x, s.start(x, s.plan(x, sanitize.Request{}, "A")).ID, ""); j.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", j)
	}
}

// The service ends in the middle of many jobs; the next goes on with all of them, by the drives' identity.
func TestRestartGoesOnWithEverything(t *testing.T) {
	s := newSite(t)
	const jobs = 12
	x := s.serve(nil)
	var names []string
	for n := range jobs {
		serial := fmt.Sprintf("D%02d", n)
		profile := []string{"", "nvme-ssd", "sata-ssd", "sas-hdd"}[n%4]
		s.drive(serial, profile, 4<<20, "slow:3000000")
		names = append(names, s.start(x, s.plan(x, sanitize.Request{}, serial)).ID)
	}
	time.Sleep(300 * time.Millisecond)
	s.close(x)
	for n := range jobs {
		if err := s.rack.ClearFaults(fmt.Sprintf("D%02d", n)); err != nil {
			t.Fatal(err)
		}
	}
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	for n, job := range names {
		events, end := s.follow(x, job, "")
		s.recorded(job, events)
		if serial := fmt.Sprintf("D%02d", n); end.ExitStatus != api.ExitOK || s.holds(serial) != 0 {
			t.Errorf("%s: %+v; %d canaries", serial, end, s.holds(serial))
		}
	}
}
