package service

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// What a user would lose: a host loses its power while a drive is half erased, as what is at the path of the state is another's, in
// which all is well.
func TestTheStateIsReplacedUnderTheAgent(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	s.drive("B", "", small)
	s.drive("C", "", small)
	sink := filepath.Join(filepath.Dir(s.state), "sink")
	x := s.serve(func(o *Options) { o.Sink = sink })
	p := s.plan(x, sanitize.Request{}, "B")
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.await(x, j.ID, "pass_begun")
	if _, err := x.Cancel(s.ctx, j.ID); err != nil { // nothing of it is at work any more, and it holds data
		t.Fatal(err)
	}
	moved := s.state + "-moved"
	if err := os.Rename(s.state, moved); err != nil {
		t.Fatal(err)
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff {
		t.Errorf("there is no state: %+v, %v", h, err)
	}
	all := s.ctx
	// Somebody works with the same path, an agent did too, and all of theirs is done. The audit file is that of the agent that is asked.
	here := s.here(nil)
	done := s.start(here, s.plan(here, sanitize.Request{}, "C"))
	s.follow(here, done.ID, "")
	s.ctx = all
	if err := os.WriteFile(filepath.Join(s.state, LockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(moved, ActionsName), filepath.Join(s.state, ActionsName)); err != nil {
		t.Fatal(err)
	}
	recorded := len(s.actions())
	h, err := x.Health(s.ctx)
	if err != nil || h.SafeToPowerOff || len(h.PowerOff) != 1 || h.PowerOff[0].Code != "state" || !strings.Contains(h.PowerOff[0].Message, "another than the one that this agent opened") || h.PowerOff[0].Hint == "" {
		t.Errorf("%+v, %v", h, err)
	}
	if codes := s.problems(x); !slices.Contains(codes, "state") {
		t.Errorf("%v", codes)
	}
	if _, err := os.Stat(filepath.Join(sink, "jobs", done.ID)); err == nil {
		t.Error("evidence of the other was copied to the sink")
	}
	if err := os.CopyFS(filepath.Join(s.state, plansDir), os.DirFS(filepath.Join(moved, plansDir))); err != nil {
		t.Fatal(err)
	}
	_, err = x.Plan(s.ctx, api.PlanRequest{Drives: []string{"B"}})
	wantCode(t, err, "state")
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "state")
	for _, a := range s.actions()[recorded:] {
		if a.Decision != refused || a.Code != "state" {
			t.Errorf("%+v", a)
		}
	}
	if s.holds("B") == 0 {
		t.Error("B was begun on")
	}
	// It is put back.
	if err := os.Rename(s.state, s.state+"-other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(moved, s.state); err != nil {
		t.Fatal(err)
	}
	if codes := s.problems(x); len(codes) > 0 {
		t.Errorf("%v", codes)
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff {
		t.Errorf("safe with a drive half done: %+v, %v", h, err)
	}
	s.follow(x, s.start(x, p).ID, "")
	if s.holds("B") != 0 {
		t.Error("B holds data")
	}
}

// What a user would lose: the log, as they are told to put it back from a backup, where only the file system became read-only.
func TestTheStateBecomesReadOnly(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	s.follow(x, s.start(x, s.plan(x, sanitize.Request{}, "A")).ID, "")
	if err := syscall.Mount(s.state, s.state, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("nothing can be mounted: %v", err)
	}
	mounted := true
	unmount := func() {
		if mounted {
			if mounted = false; syscall.Unmount(s.state, syscall.MNT_DETACH) != nil {
				t.Error("it stays mounted")
			}
		}
	}
	t.Cleanup(unmount)
	if err := syscall.Mount("", s.state, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	h, err := x.Health(s.ctx)
	if err != nil || h.SafeToPowerOff || len(h.PowerOff) != 1 || h.PowerOff[0] != readOnly {
		t.Errorf("%+v, %v", h, err)
	}
	if codes := s.problems(x); !slices.Equal(codes, []string{"state"}) {
		t.Errorf("%v", codes)
	}
	unmount()
	if h, err := x.Health(s.ctx); err != nil || !h.SafeToPowerOff || len(h.Problems) > 0 {
		t.Errorf("%+v, %v", h, err)
	}
}
