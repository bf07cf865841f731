package service

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// takes has a job taken hold of by somebody else as soon as it is there.
type takes struct {
	jobs string // their directory
	held *durable.Lock
	err  error
}

func (x *takes) Write(p []byte) (int, error) {
	if x.held == nil && bytes.Contains(p, []byte("job began")) {
		names, err := filepath.Glob(filepath.Join(x.jobs, "j-*", "lock"))
		if x.err = err; len(names) == 1 {
			x.held, x.err = durable.TryLock(names[0])
		}
	}
	return len(p), nil
}

// What was refused is not begun later: not by the next who looks at the host, nor by the next agent. It counts all the same.
func TestAStartThatWasRefusedIsNotGoneOnWith(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	taken := &takes{jobs: filepath.Join(s.state, "jobs")}
	x := s.serve(func(o *Options) {
		a, err := agent.Open(agent.Options{Host: o.Host, StateDir: s.state, Owner: agent.Owner{Kind: "rack", ID: s.rack.ID()}, Version: "test", Log: hclog.New(&hclog.LoggerOptions{Output: taken})})
		if err != nil {
			t.Fatal(err)
		}
		o.Agent, o.Caps = a, Caps{JobsPerHour: 1}
	})
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A")))
	wantCode(t, err, "busy")
	if taken.held == nil || taken.err != nil {
		t.Fatal(taken.err)
	}
	if err := errors.Join(taken.held.Unlock(), x.HostChanged(s.ctx, devices.Change{Names: true})); err != nil {
		t.Fatal(err)
	}
	_, err = x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "B")))
	wantCode(t, err, "cap_jobs")
	s.close(x)
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	jobs, err := x.Jobs(s.ctx)
	if err != nil || len(jobs) != 1 || jobs[0].State != api.JobStopped || s.holds("A") == 0 {
		t.Fatalf("%+v, %v", jobs, err)
	}
	if _, err := x.Resume(s.ctx, jobs[0].ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if s.ends(x, jobs[0].ID); s.holds("A") != 0 {
		t.Error("it was resumed, and holds data")
	}
}
