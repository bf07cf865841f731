package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// stopWhile lets a job run until its drive is at work by itself, and stops the agent then.
func (s *site) stopWhile(c *clock, p sanitize.Plan) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	a, err := Open(Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test", Now: c.Now,
		Wait: func(ctx context.Context, d time.Duration) error { stop(); return c.Wait(ctx, d) }})
	if err != nil {
		s.t.Fatal(err)
	}
	j, err := a.Start(ctx, p, Started{}, Observer{})
	if err != nil {
		s.t.Fatal(err)
	}
	want(s.t, j.Drives[0], sanitize.Interrupted, "")
	if len(s.begun()) != 1 {
		s.t.Fatal("the drive is not at work")
	}
}

// Recover waits for what was ordered, and does nothing else: a job whose host was at work is only
// reported, however it stands.
func TestRecover(t *testing.T) {
	s, c := nvmeSite(t)
	s.add(virtual.Spec{Serial: "PLAIN", SizeBytes: 2 << 20})
	s.fault("PLAIN", "pulled:3")
	other := s.plan(sanitize.Request{}, "PLAIN")
	j, err := s.agent.Start(t.Context(), other, Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Interrupted, "")
	if err := s.rack.ClearFaults("PLAIN"); err != nil {
		t.Fatal(err)
	}
	p := s.plan(purge(), "A")
	s.stopWhile(c, p)

	jobs, left, err := s.agent.Recover(t.Context(), Observer{})
	if err != nil || len(jobs) != 1 || len(left) != 1 {
		t.Fatalf("%d jobs, %+v, %v", len(jobs), left, err)
	}
	want(t, jobs[0].Drives[0], sanitize.Sanitized, "")
	if left[0].Drive.Serial != "PLAIN" || left[0].Reason.Code != "interrupted" {
		t.Errorf("%+v", left[0])
	}
	if n := len(s.begun()); n != 2 {
		t.Errorf("%d operations", n)
	}
	if jobs, left, err = s.agent.Recover(t.Context(), Observer{}); err != nil || len(jobs) != 0 || len(left) != 1 {
		t.Errorf("again: %d jobs, %+v, %v", len(jobs), left, err)
	}
}

// A halt that somebody writes while drives are waited for ends that, resumably.
func TestRecoverStopsAtAHalt(t *testing.T) {
	for name, note := range map[string]string{
		"it holds":     `{"halted":true,"by":"ann","since":"now","reason":"stop all"}`,
		"it has ended": `{"halted":false,"by":"bob","since":"later","last":{"id":"2","by":"ann","since":"now","reason":"stop all"}}`,
	} {
		t.Run(name, func(t *testing.T) { recoverStopsAtAHalt(t, note) })
	}
}

func recoverStopsAtAHalt(t *testing.T, note string) {
	s, c := nvmeSite(t)
	p := s.plan(purge(), "A")
	s.stopWhile(c, p)
	before := `{"halted":false,"by":"bob","since":"before","last":{"id":"1","by":"eve","since":"then","reason":"something else"}}`
	if err := os.WriteFile(filepath.Join(s.state, HaltName), []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	a, err := Open(Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test", Now: c.Now,
		Wait: func(ctx context.Context, _ time.Duration) error {
			if err := os.WriteFile(filepath.Join(s.state, HaltName), []byte(note), 0o600); err != nil {
				return err
			}
			<-ctx.Done()
			return context.Cause(ctx)
		}})
	if err != nil {
		t.Fatal(err)
	}
	jobs, _, err := a.Recover(ctx, Observer{})
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	want(t, jobs[0].Drives[0], sanitize.Interrupted, "")
	var held *HaltedError
	if !errors.As(jobs[0].Drives[0].Err, &held) || held.By != "ann" {
		t.Errorf("%v", jobs[0].Drives[0].Err)
	}
}

// A job that another process runs is that process's.
func TestRecoverLeavesRunningJobs(t *testing.T) {
	s, c := nvmeSite(t)
	p := s.plan(purge(), "A")
	s.stopWhile(c, p)
	lock, err := s.agent.lockJob(jobName(p))
	if err != nil {
		t.Fatal(err)
	}
	jobs, left, err := s.agent.Recover(t.Context(), Observer{})
	if err != nil || len(jobs) != 0 || len(left) != 1 || left[0].Reason.Code != "busy" {
		t.Errorf("%d jobs, %+v, %v", len(jobs), left, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// Abandoning a job does not stop the drive, and is certified as what it is.
func TestAbandonWhileTheDriveErases(t *testing.T) {
	s, c := nvmeSite(t)
	p := s.plan(purge(), "A")
	s.stopWhile(c, p)
	j, err := s.agent.Abandon(t.Context(), jobName(p), "no time")
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Failed, "abandoned")
	if again := s.plan(purge(), "A"); len(again.Drives) != 0 || again.Refused[0].Reasons[0].Code != devices.ReasonSanitizing {
		t.Errorf("%+v", again)
	}
	_, left, err := s.agent.Recover(t.Context(), Observer{})
	if err != nil || len(left) != 1 || left[0].Reason.Code != devices.ReasonSanitizing || left[0].Job != "" {
		t.Errorf("%+v, %v", left, err)
	}
}

// Only an unrestricted failure can be left, and nothing that a job waits for is let go.
func TestExitFailureMode(t *testing.T) {
	s, c := nvmeSite(t, "sanitize-fail:40")
	if _, err := s.agent.ExitFailureMode(t.Context(), "A"); !errors.Is(err, ErrNotFailed) {
		t.Errorf("a drive that did not fail: %v", err)
	}
	want(t, s.run(s.plan(purge(), "A")), sanitize.Failed, "")
	if _, err := s.agent.ExitFailureMode(t.Context(), "A"); !errors.Is(err, ErrNotFailed) {
		t.Errorf("a restricted failure: %v", err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	want(t, s.run(s.plan(purge(), "A")), sanitize.Sanitized, "")
	s.fault("A", "sanitize-fail:40")
	want(t, s.run(s.plan(sanitize.Request{Method: sanitize.Purge, FailureMode: sanitize.Unrestricted}, "A")), sanitize.Failed, "")
	if _, err := s.agent.ExitFailureMode(t.Context(), "A"); err != nil {
		t.Error(err)
	}
	_ = c
}

// A drive that formats itself by somebody else's order is said to, and left alone.
func TestRecoverReportsForeignFormats(t *testing.T) {
	s, _ := erasing(t, virtual.Spec{Profile: "sas-hdd"})
	tr, err := s.rack.Opener()(t.Context(), "/dev/sda", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	c, err := scsi.FormatUnit{}.Command()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first brings the unit attention of the power-on
		if _, err := tr.SCSI(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	_, left, err := s.agent.Recover(t.Context(), Observer{})
	if err != nil || len(left) != 1 || left[0].Reason.Code != devices.ReasonSanitizing || left[0].Job != "" || !strings.Contains(left[0].Reason.Message, "formatting") {
		t.Errorf("%+v, %v", left, err)
	}
}
