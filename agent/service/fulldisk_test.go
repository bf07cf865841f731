package service

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// A halt on a full disk holds for those who come after the process, too.
func TestAHaltOnAFullDisk(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	if err := os.Mkdir(s.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", s.state, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no disk can be made that fills up: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(s.state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	filler := filepath.Join(s.state, "filler")
	if err := os.WriteFile(filler, make([]byte, 32<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("it is not full: %v", err)
	}
	for n := 0; s.fill(n); n++ {
	}
	for range 30 { // the audit file, too, comes to the end of what it has
		_, err := x.Plan(s.ctx, api.PlanRequest{})
		wantCode(t, err, "empty")
	}
	long := as(t.Context(), "cert:"+string(bytes.Repeat([]byte{1}, 60_000)), api.Roles...)
	worst := string(bytes.Repeat([]byte{1}, 600)) // each byte is six in JSON
	h, err := x.Halt(long, api.HaltRequest{Halted: true, Reason: worst})
	if !h.Halted || err == nil || x.readHalt().Reason != bounded(worst) {
		t.Fatalf("%+v, %v", h, err) // it could not be recorded, which is said
	}
	h, err = x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "it smells"})
	if !h.Halted || err == nil {
		t.Fatalf("%+v, %v", h, err)
	}
	// The process is gone, without a word. Other processes hold to it, and so does the next agent.
	_, err = x.Agent.Start(t.Context(), p.Plan, agent.Started{}, agent.Observer{})
	var halted *agent.HaltedError
	if !errors.As(err, &halted) || halted.Reason != "it smells" {
		t.Fatalf("%v", err)
	}
	s.close(x)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	x = s.serve(nil)
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "halted")
	if now, err := x.Halted(s.ctx); err != nil || now.Reason != "it smells" || now.By != "uid:0" {
		t.Errorf("%+v, %v", now, err)
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	j := s.start(x, p)
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK {
		t.Fatalf("%+v", end)
	}
}

// fill takes what is left in small pieces. It returns false when there is nothing.
func (s *site) fill(n int) bool {
	f, err := os.OpenFile(filepath.Join(s.state, "filler"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.Write([]byte{byte(n)})
	return errors.Join(err, f.Close()) == nil
}

// The note of a halt is where there is room for it, however often it is written; one too long for that is written all the same.
func TestTheNoteOfAHaltIsWrittenInPlace(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	name := filepath.Join(s.state, agent.HaltName)
	before, err := os.Stat(name)
	if err != nil || before.Size() != haltRoom {
		t.Fatalf("%+v, %v", before, err)
	}
	if h, err := x.Halted(s.ctx); err != nil || h.Halted || h.By != "" || h.Since != "" {
		t.Fatalf("nobody has halted: %+v, %v", h, err)
	}
	long := as(t.Context(), "cert:"+string(bytes.Repeat([]byte{1}, 5000)), api.Roles...)
	worst := string(bytes.Repeat([]byte{1}, 600)) // each byte is six in JSON
	for _, r := range []api.HaltRequest{{Halted: true, Reason: worst}, {Reason: worst}, {}, {Halted: true, Reason: "x"}, {Halted: true, Reason: worst}} {
		if _, err := x.Halt(long, r); err != nil {
			t.Fatal(err)
		}
		now, err := os.Stat(name)
		if err != nil || !os.SameFile(now, before) || now.Size() != haltRoom {
			t.Fatalf("%+v, %v", now, err)
		}
		if kept := x.readHalt(); kept.Halted != r.Halted || kept.Reason != bounded(r.Reason) {
			t.Fatalf("%+v, %v", kept, err)
		}
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	// Nothing begins under a note that says nothing, and whoever asks is told.
	if h, err := x.Halted(s.ctx); err != nil || !h.Halted {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err := x.Health(s.ctx); err != nil || !h.Halted || h.Status == "ok" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "no room"}); err != nil {
		t.Fatal(err)
	}
	if kept := x.readHalt(); kept.Reason != "no room" {
		t.Fatalf("%+v, %v", kept, err)
	}
}
