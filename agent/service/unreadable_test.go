package service

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// A job whose journal cannot be read for a moment is neither ended nor gone on with, and the host is not safe; when it can be read again
// the job goes on by itself.
func TestAJobWhoseJournalCannotBeReadNow(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 4<<20, "power-cut:1")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	if _, end := s.follow(x, j.ID, ""); end.State != api.JobInterrupted || s.holds("A") == 0 {
		t.Fatalf("%+v", end)
	}
	left := s.holds("A")
	name := filepath.Join(s.state, "jobs", j.ID, string(j.Drives[0].ID), "journal")
	if err := errors.Join(os.Rename(name, name+".away"), os.Mkdir(name, 0o700)); err != nil { // what is there, and cannot be read
		t.Fatal(err)
	}
	if err := errors.Join(x.Adopt(s.ctx), x.HostChanged(s.ctx, devices.Change{Names: true})); err != nil {
		t.Fatal(err)
	}
	now, err := x.Job(s.ctx, j.ID)
	if d := now.Drives[0]; err != nil || now.State != api.JobInterrupted || d.Words != "UNREADABLE - treat as holding data" || d.ExitStatus != api.ExitUnproven || d.Error == "" {
		t.Errorf("%+v, %v", now, err)
	}
	h, err := x.Health(s.ctx)
	if err != nil || h.SafeToPowerOff || h.PowerOff[0].Code != "unknown" {
		t.Errorf("%v %+v, %v", h.SafeToPowerOff, h.PowerOff, err)
	}
	_, err = x.Abandon(s.ctx, j.ID, api.AbandonRequest{Why: "test"})
	wantCode(t, err, agent.ReasonUnreadable)
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.State != api.JobInterrupted || end.Drives[0].Words != now.Drives[0].Words || end.ManifestError == "" {
		t.Errorf("%+v", end)
	}
	for _, a := range s.actions() {
		if a.Action == "jobs.adopt" {
			t.Errorf("%+v", a)
		}
	}
	if s.holds("A") != left {
		t.Errorf("%d of %d canaries are left", s.holds("A"), left)
	}
	if err := errors.Join(os.Remove(name), os.Rename(name+".away", name)); err != nil {
		t.Fatal(err)
	}
	if now, err = x.Job(s.ctx, j.ID); err != nil || now.Drives[0].Error != "" || now.ManifestError != "" || now.ExitStatus != api.ExitInterrupted {
		t.Errorf("what is over is told: %+v, %v", now, err)
	}
	if err := x.HostChanged(s.ctx, devices.Change{Names: true}); err != nil {
		t.Fatal(err)
	}
	if end := s.ends(x, j.ID); s.holds("A") != 0 || end.Drives[0].Error != "" {
		t.Errorf("%+v", end)
	}
}
