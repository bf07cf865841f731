package service

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// some is a drive that takes a second when it is slow.
const some = 8 << 20

// cutOff ends a service in the middle of a job of some drives, and makes it so that the job had not begun on some of them.
func (s *site) cutOff(x *Service, p api.Plan, untouched ...string) (job string) {
	s.t.Helper()
	j := s.start(x, p)
	for _, d := range p.Drives {
		if !slices.Contains(untouched, d.Serial) {
			s.awaitOf(x, j.ID, "pass_begun", d.Serial)
		}
	}
	s.close(x)
	for _, d := range p.Drives {
		if err := s.rack.ClearFaults(d.Serial); err != nil {
			s.t.Fatal(err)
		}
		if slices.Contains(untouched, d.Serial) {
			if err := s.rack.Populate(d.Serial, canary); err != nil { // as it was when it was planned
				s.t.Fatal(err)
			}
			dir := filepath.Join(s.state, "jobs", j.ID, string(d.ID))
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return j.ID
}

// waits for a job that was adopted to come to its end.
func (s *site) end(x *Service, job string) api.Job {
	s.t.Helper()
	if err := x.Adopt(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	_, end := s.follow(x, job, "")
	return end
}

func outcomes(j api.Job) map[string]sanitize.Outcome {
	found := map[string]sanitize.Outcome{}
	for _, d := range j.Drives {
		found[d.Serial] = d.Outcome
	}
	return found
}

func policy(t *testing.T, name string) *sanitize.Policy {
	t.Helper()
	p, err := sanitize.PolicyFor(sanitize.Request{Policy: name})
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

// When the policy in force was replaced, a job's drives that were begun on are brought to their end, and the others are not touched.
func TestAJobOfAPolicyThatWasReplaced(t *testing.T) {
	for _, how := range []string{"adopted", "resumed"} {
		t.Run(how, func(t *testing.T) {
			s := newSite(t)
			s.drive("A", "", some, "slow:8000000")
			s.drive("B", "", some, "slow:8000000")
			x := s.serve(func(o *Options) { o.Policy = policy(t, "nist-800-88r2") })
			job := s.cutOff(x, s.plan(x, sanitize.Request{}, "A", "B"), "B")
			b := s.holds("B")
			x = s.serve(func(o *Options) { o.Policy = policy(t, "nist-800-88r1") })
			if how == "resumed" {
				if _, err := x.Resume(s.ctx, job, api.ResumeRequest{}); err != nil {
					t.Fatal(err)
				}
			}
			end := s.end(x, job)
			if got := outcomes(end); got["A"] != sanitize.Sanitized || got["B"] != sanitize.RefusedRun || s.holds("A") != 0 || s.holds("B") != b || b == 0 {
				t.Fatalf("%v; %d of %d canaries left on B", got, s.holds("B"), b)
			}
			if !slices.ContainsFunc(s.actions(), func(a Action) bool { return a.Object == job && a.Decision == refused && a.Code == "policy_changed" }) {
				t.Errorf("it is not written down: %+v", s.actions())
			}
		})
	}
}

// Under the policy that it was begun under, a job goes on with all of its drives.
func TestAJobOfThePolicyInForce(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", some, "slow:8000000")
	s.drive("B", "", some, "slow:8000000")
	same := func(o *Options) { o.Policy = policy(t, "nist-800-88r2") }
	x := s.serve(same)
	job := s.cutOff(x, s.plan(x, sanitize.Request{}, "A", "B"), "B")
	x = s.serve(same)
	if end := s.end(x, job); end.ExitStatus != api.ExitOK || s.holds("A")+s.holds("B") != 0 {
		t.Fatalf("%+v", end)
	}
}

// Approvals count for what a job has not begun on for as long as those who gave them are approvers.
func TestAJobWhoseApproverIsOneNoMore(t *testing.T) {
	bob, bobKey := approver(t, "Bob", "uid:5")
	cyd, _ := approver(t, "Cyd")
	imposter, _ := approver(t, "Bob")
	starter := bob
	starter.Principals = []string{"uid:0"} // by the configuration in force now, who started it has approved it
	for name, c := range map[string]struct {
		approvers []Approver
		required  int
		goesOn    bool
	}{
		"as it was":                  {[]Approver{bob, cyd}, 1, true},
		"Bob is gone":                {[]Approver{cyd}, 1, false},
		"Bob has another key":        {[]Approver{imposter}, 1, false},
		"Bob is who started it":      {[]Approver{starter}, 1, false},
		"two are wanted now":         {[]Approver{bob, cyd}, 2, false},
		"none is wanted any more":    {nil, 0, true},
		"Bob is gone, none is asked": {[]Approver{cyd}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.drive("A", "", some, "slow:8000000")
			x := s.serve(func(o *Options) { o.Approvers, o.Required = []Approver{bob}, 1 })
			p := s.plan(x, sanitize.Request{}, "A")
			e, err := attest.SignApproval(approval(p, time.Now()), bobKey)
			if err != nil {
				t.Fatal(err)
			}
			if p, err = x.Approve(s.ctx, p.ID, e); err != nil {
				t.Fatal(err)
			}
			job := s.cutOff(x, p, "A")
			a := s.holds("A")
			x = s.serve(func(o *Options) { o.Approvers, o.Required = c.approvers, c.required })
			end := s.end(x, job)
			switch got := outcomes(end)["A"]; {
			case c.goesOn && (got != sanitize.Sanitized || s.holds("A") != 0):
				t.Errorf("it did not go on: %s", got)
			case !c.goesOn && (got != sanitize.RefusedRun || !strings.Contains(end.Drives[0].Reasons[0].Message, "approvers") || s.holds("A") != a || a == 0):
				t.Errorf("it went on: %s; %d of %d canaries are left", got, s.holds("A"), a)
			}
		})
	}
}

// A job that another process runs is neither stopped nor said to be, and what refuses leaves no note that keeps it from going on.
func TestCancelOfAJobOfAnotherProcess(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", some, "slow:8000000")
	x := s.serve(nil)
	job := s.cutOff(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	x = s.serve(nil)
	lock, err := durable.TryLock(filepath.Join(s.state, "jobs", job, "lock")) // as who runs it does
	if err != nil {
		t.Fatal(err)
	}
	c, err := x.Cancel(s.ctx, job)
	wantCode(t, err, "busy")
	if p := api.ProblemOf(err); p.Status != http.StatusConflict || len(c.Drives) > 0 {
		t.Errorf("%+v, %+v", p, c)
	}
	_, err = x.Abandon(s.ctx, job, api.AbandonRequest{Why: "no"})
	wantCode(t, err, "busy")
	if by, err := x.Agent.StoppedBy(job); err != nil || by.By != "" {
		t.Errorf("stopped by %q, %v", by.By, err)
	}
	if list := s.actions(); list[len(list)-1].Decision != refused || list[len(list)-2].Decision != refused || list[len(list)-2].Action != "jobs.cancel" {
		t.Errorf("%+v", list)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if end := s.end(x, job); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
}
