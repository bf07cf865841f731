package service

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// What cannot be recorded is not done.
func TestNothingIsDoneThatCannotBeRecorded(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	if err := errors.Join(os.Rename(filepath.Join(s.state, ActionsName), filepath.Join(s.state, "kept")), os.Mkdir(filepath.Join(s.state, ActionsName), 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := x.Start(s.ctx, starting(p))
	wantCode(t, err, "audit")
	if jobs, err := x.Jobs(s.ctx); err != nil || len(jobs) != 0 || s.holds("A") == 0 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	// A halt is a halt all the same, and says that it could not be recorded.
	if h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "no audit"}); err == nil || !h.Halted {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "halted")
}

// A broken chain is noticed when the agent starts.
func TestTheAuditFileIsChained(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	s.plan(x, sanitize.Request{}, "A")
	s.plan(x, sanitize.Request{}, "A")
	s.close(x)
	name := filepath.Join(s.state, ActionsName)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(data), "uid:0", "uid:1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = New(x.Options)
	var corrupt *journal.CorruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("%v", err)
	}
}

// A state in memory takes no job without a place elsewhere for the evidence, or an acceptance, which the certificate says.
func TestAVolatileState(t *testing.T) {
	volatile := func() bool { return true }
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(func(o *Options) { o.testOnlyVolatile = volatile })
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A")))
	wantCode(t, err, "state_volatile")
	_, err = x.Plan(s.ctx, api.PlanRequest{Drives: []string{"A"}, Request: sanitize.Request{AcceptVolatile: true}})
	wantCode(t, err, "usage")
	s.close(x)
	x = s.serve(func(o *Options) { o.testOnlyVolatile, o.AcceptVolatile = volatile, true })
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	_, end := s.follow(x, j.ID, "")
	if end.ExitStatus != api.ExitOK || !slices.ContainsFunc(end.Drives[0].Warnings, func(w string) bool { return strings.Contains(w, "kept in memory, which was accepted") }) {
		t.Fatalf("%+v", end)
	}
	data, err := x.Certificate(s.ctx, j.ID, end.Drives[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if r := attest.Verify(data, attest.Trust{}); r.Result == nil || len(r.Result.Sanitization.Warnings) == 0 {
		t.Errorf("the certificate does not say so: %+v", r.Reasons)
	}
	s.close(x)
	sink := t.TempDir()
	x = s.serve(func(o *Options) { o.testOnlyVolatile, o.Sink = volatile, sink })
	j = s.start(x, s.plan(x, sanitize.Request{}, "B"))
	_, end = s.follow(x, j.ID, "")
	if len(end.Drives[0].Warnings) > 0 {
		t.Errorf("%v", end.Drives[0].Warnings)
	}
	h, err := x.Health(s.ctx)
	if err != nil || !h.SafeToPowerOff {
		t.Fatalf("%+v, %v", h, err)
	}
	below, err := filepath.Rel(s.state, *end.Drives[0].Certificate)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(sink, below))
	if err != nil || attest.Verify(copied, attest.Trust{}).Result == nil {
		t.Errorf("the copy: %v", err)
	}
}

// A sink that takes nothing keeps the host from being called safe to power off.
func TestASinkThatFails(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x := s.serve(func(o *Options) { o.Sink = filepath.Join(file, "below") })
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK {
		t.Fatalf("%+v", end)
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff || h.PowerOff[0].Code != "sink" {
		t.Fatalf("%+v, %v", h, err)
	}
}

// One process serves a state.
func TestOneServesAState(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	if _, err := New(x.Options); !errors.Is(err, ErrTaken) {
		t.Fatalf("%v", err)
	}
}

// What is kept of a plan and of who started it names nobody's secret.
func TestPINsAreKeptNowhere(t *testing.T) {
	const psid = "0123456789ABCDEF0123456789ABCDEF"
	s := newSite(t)
	s.drive("T", "nvme-opal", 4<<20)
	x := s.serve(nil)
	p, err := x.Plan(s.ctx, api.PlanRequest{Drives: []string{"T"}, Request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: "psid-revert"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Drives) == 0 {
		t.Fatalf("%+v", p.Refused)
	}
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "pin_missing")
	r := starting(p)
	r.PINs = map[devices.ID]string{p.Drives[0].ID: psid}
	if j, err := x.Start(s.ctx, r); err == nil {
		s.follow(x, j.ID, "")
	}
	err = filepath.WalkDir(s.state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path) == "secrets" {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), psid) {
			t.Errorf("%s has the PSID", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
