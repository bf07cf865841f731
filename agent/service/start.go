package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/boot"
	"github.com/expunge-dev/expunge/sanitize"
)

// Start begins a job.
func (s *Service) Start(ctx context.Context, r api.StartRequest) (api.Job, error) {
	const action = "jobs.start"
	if err := s.may(ctx, api.Operate, action, r.PlanID); err != nil {
		return api.Job{}, err
	}
	x := Action{Action: action, Object: bounded(r.PlanID), PlanDigest: bounded(r.PlanDigest)}
	p, _, err := s.keptPlan(r.PlanID)
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	if err := matches(p, r); err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	release, err := s.claim(ctx, p.Drives)
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	defer release()
	job := agent.JobOf(p)
	again := s.Agent.WasRun(p)
	if again && s.Resident {
		return s.job(job) // a plan is used once
	}
	began, err := s.permit(ctx, x, p, r, again)
	if err == nil {
		if err = <-began; err != nil && !s.Agent.WasRun(p) {
			s.uncount(job)
		}
	}
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	return s.job(job)
}

// permit judges whether one more job may begin, and has it begin when it may: from then on it counts against the caps, whatever its
// drives say to it. Where a person runs a plan again, its job goes on: that was permitted when it began.
func (s *Service) permit(ctx context.Context, x Action, p sanitize.Plan, r api.StartRequest, again bool) (<-chan error, error) {
	host, err := s.sizeOfHost(ctx)
	if err != nil {
		return nil, err
	}
	s.starting.Lock()
	defer s.starting.Unlock()
	_, kept, err := s.keptPlan(p.ID)
	if err != nil {
		return nil, err
	}
	by := agent.Started{By: api.PrincipalOf(ctx).Name, At: s.clock(), Boot: bootOf(boot.Now())}
	if !again {
		if by.Approvals, err = s.permitted(ctx, p, kept, host); err != nil {
			return nil, err
		}
	}
	if err := s.allow(ctx, x); err != nil {
		return nil, err
	}
	by.Audit = s.audit.mark()
	job := agent.JobOf(p)
	began, err := s.begin(job, p, r.PINs, nil, func(ctx context.Context, o agent.Observer) (agent.Job, error) {
		planned := o.Planned
		o.Planned = func(drives []sanitize.DrivePlan) {
			for _, refused := range p.Refused {
				s.tellEnd(job, api.RefusedOf(refused))
			}
			planned(drives)
		}
		return s.Agent.Start(ctx, p, by, o)
	})
	if err == nil {
		s.count(job, time.Now())
	}
	return began, err
}

// matches says whether somebody starts the plan that they saw.
func matches(p sanitize.Plan, r api.StartRequest) error {
	switch {
	case r.PlanDigest != p.Digest():
		return api.Refusef("digest_differs", "read the plan, and give its whole digest", "the plan has another digest than %q", bounded(r.PlanDigest))
	case r.ExpectDrives != len(p.Drives):
		return api.Refusef("expect_drives", "read the plan, and count its drives", "the plan has %d drives, and %d are expected", len(p.Drives), r.ExpectDrives)
	}
	return nil
}

// permitted judges what of a plan is not the agent's own to judge: halt, policy, caps, approvals, the state.
func (s *Service) permitted(ctx context.Context, p sanitize.Plan, kept []keptApproval, host int) ([]attest.Envelope, error) {
	if err := s.working(); err != nil {
		return nil, err
	}
	if s.Policy != nil && p.Policy.SHA256 != s.Policy.Digest() {
		return nil, api.Refusef("policy_changed", "make a new plan", "the plan was made under policy %s, which is not in force", p.Policy.Name)
	}
	if s.Resident && s.volatile() && s.Sink == "" && !(s.AcceptVolatile && p.Request.AcceptVolatile) {
		return nil, api.Refusef("state_volatile", "put the state on a disk, configure a sink, or accept_volatile, which certificates will say; then make a new plan",
			"the state is kept in memory: a loss of power would take the evidence with it")
	}
	if err := p.Usable(p.Host, p.Simulated, s.clock()); err != nil {
		return nil, err
	}
	envelopes, err := s.approved(p, kept, api.PrincipalOf(ctx).Name)
	if err != nil {
		return nil, err
	}
	return envelopes, s.withinCaps(p, host)
}

// working says why nothing can be begun now.
func (s *Service) working() error {
	s.mu.Lock()
	err := s.workingNow()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err := s.StateStands(); err != nil { // not with mu held: a disk may not answer
		return stateProblem(err)
	}
	return nil
}

// workingNow is working with mu held, but for the state.
func (s *Service) workingNow() error {
	switch {
	case s.closing:
		return api.NewProblem(api.ExitInterrupted, "stopping", "try again when it has started", errors.New("the agent is about to stop"))
	case s.halt.Halted:
		return api.NewProblem(api.ExitRefused, "halted", api.HintHalted, fmt.Errorf("the agent is halted by %s since %s: %s", s.halt.By, s.halt.Since, s.halt.Reason))
	}
	return nil
}
