package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// hide keeps a file from being read, until it is put back: not because it is not there, nor because it is damaged.
func (s *site) hide(name string) (back func()) {
	s.t.Helper()
	if err := errors.Join(os.Rename(name, name+".away"), os.Symlink(filepath.Base(name), name)); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		if err := os.Rename(name+".away", name); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A journal that cannot be read for a moment says nothing of its drive: until it can be, no other job has the drive, nobody goes on with its
// own, and nothing is signed.
func TestAJournalThatCannotBeReadNow(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "CUT", SizeBytes: 4 << 20})
	s.add(virtual.Spec{Serial: "DONE", SizeBytes: small})
	s.fault("CUT", "power-cut:1")
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{Pattern: "zero"}, "CUT", "DONE"), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Interrupted, "")
	want(t, j.Drives[1], sanitize.Sanitized, "")
	if err := s.rack.ClearFaults("CUT"); err != nil {
		t.Fatal(err)
	}
	left := holds(t, s.rack, "CUT")
	back := s.hide(s.agent.JournalOf(j.ID, j.Drives[0].Drive))

	if p := s.plan(sanitize.Request{}, "CUT"); len(p.Drives) > 0 || p.Refused[0].Reasons[0].Code != ReasonUnfinished {
		t.Errorf("another job may have the drive: %+v", p.Refused)
	}
	if pending, err := s.agent.Pending(); err != nil || len(pending) > 0 {
		t.Errorf("it is gone on with: %v, %v", pending, err)
	}
	now, err := s.agent.Resume(t.Context(), j.ID, Observer{})
	if err != nil || !now.Drives[0].Unreadable() || now.Drives[0].Finished() || !errors.Is(now.Drives[0].Err, syscall.ELOOP) {
		t.Errorf("%s %v, %v", now.Drives[0].Outcome, now.Drives[0].Err, err)
	}
	if now.Manifest != "" || !errors.Is(now.ManifestErr, syscall.ELOOP) {
		t.Errorf("manifest %q, %v", now.Manifest, now.ManifestErr)
	}
	if jobs, list, err := s.agent.Recover(t.Context(), Observer{}); err != nil || len(jobs) != 0 || len(list) != 1 || list[0].Reason.Code != ReasonUnreadable || list[0].Drive.Serial != "CUT" {
		t.Errorf("recover: %d jobs, %+v, %v", len(jobs), list, err)
	}
	var unreadable *UnreadableJournalError
	if given, err := s.agent.Abandon(t.Context(), j.ID, "test"); !errors.As(err, &unreadable) || given.ID != "" {
		t.Errorf("abandon: %+v, %v", given, err)
	}
	if name, err := s.agent.ReissueManifest(t.Context(), j.ID); err == nil || name != "" || s.agent.ManifestOf(j.ID) != "" {
		t.Errorf("manifest %q, %v", name, err)
	}
	if holds(t, s.rack, "CUT") != left || left == 0 {
		t.Errorf("%d canaries were left, and now %d", left, holds(t, s.rack, "CUT"))
	}

	back()
	if pending, err := s.agent.Pending(); err != nil || len(pending) != 1 {
		t.Errorf("%v, %v", pending, err)
	}
	now, err = s.agent.Resume(t.Context(), j.ID, Observer{})
	if err != nil || now.ManifestErr != nil || holds(t, s.rack, "CUT") != 0 {
		t.Fatalf("%v, %v", now.ManifestErr, err)
	}
	if got := became(s.manifestOf(now.Manifest)); got != "CUT sanitized, DONE sanitized" {
		t.Errorf("%s", got)
	}
}

// One that was certified has ended, whatever can be read of it: its drive is free. Its manifest is not made by what is not known.
func TestAJournalOfACertifiedDriveThatCannotBeReadNow(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, "A"), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	back := s.hide(s.agent.JournalOf(j.ID, j.Drives[0].Drive))
	if err := errors.Join(os.Remove(j.Manifest), s.rack.Populate("A", canary)); err != nil {
		t.Fatal(err)
	}
	now, err := s.agent.Resume(t.Context(), j.ID, Observer{})
	if err != nil || now.Drives[0].Outcome != sanitize.Unknown || !now.Drives[0].Unreadable() || now.ManifestErr == nil || s.agent.ManifestOf(j.ID) != "" || holds(t, s.rack, "A") == 0 {
		t.Errorf("%+v, %v", now, err)
	}
	if p := s.plan(sanitize.Request{}, "A"); len(p.Drives) != 1 {
		t.Errorf("%+v", p.Refused)
	}
	back()
	if err := s.agent.AccountLeft(t.Context()); err != nil || s.agent.ManifestOf(j.ID) == "" {
		t.Error(err)
	}
	if got := became(s.manifestOf(j.Manifest)); got != "A sanitized" {
		t.Errorf("%s", got)
	}
}

// A certificate that cannot be read for a moment is not made again: it may have what people said of it since.
func TestACertificateThatCannotBeReadNow(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "DONE", SizeBytes: small})
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, "DONE"), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	name := j.Drives[0].Certificate
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	back := s.hide(name)
	now, err := s.agent.Resume(t.Context(), j.ID, Observer{})
	if err != nil || now.Drives[0].Certificate != "" || !errors.Is(now.Drives[0].Err, syscall.ELOOP) {
		t.Errorf("%q %v, %v", now.Drives[0].Certificate, now.Drives[0].Err, err)
	}
	if _, err := os.ReadFile(name); !errors.Is(err, syscall.ELOOP) {
		t.Errorf("it was written over: %v", err)
	}
	back()
	if now, err := s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil || now.Drives[0].Certificate != name || now.Drives[0].Err != nil {
		t.Errorf("%q %v, %v", now.Drives[0].Certificate, now.Drives[0].Err, err)
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("it is another: %v", err)
	}
}

// A job that was planned first and started last goes on with the drives that it has not begun on: what another did to them before it
// started is behind it, whatever the clocks say.
func TestAJobThatWasPlannedBeforeAnotherWasRun(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	empty := sanitize.Request{Pattern: "zero"} // so that the drive looks the same before and after
	s.run(s.plan(empty, "A"))
	first := s.plan(empty, "A")
	clock := s.agent.now
	s.agent.now = func() time.Time { return clock().Add(time.Minute) }
	second := s.plan(empty, "A")
	if _, err := s.agent.Start(t.Context(), second, Started{By: "uid:0", At: time.Now()}, Observer{}); err != nil {
		t.Fatal(err)
	}
	ctx, cut := context.WithCancel(t.Context())
	j, err := s.agent.Start(ctx, first, Started{By: "uid:0", At: time.Now()}, Observer{Planned: func([]sanitize.DrivePlan) { cut() }})
	if err != nil || j.Drives[0].Logged() != 0 || j.Drives[0].Outcome != sanitize.Interrupted {
		t.Fatalf("%+v, %v", j, err)
	}
	if j, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Sanitized, "")
}
