package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/attest"
)

// patient is the agent that runs, for a command that may be told to stop. What it is asked to do, it does whoever goes away: so
// its answer is waited for, and a command that goes without one never says that nothing was done. What is only read ends with the command.
type patient struct {
	*client.Client
	course *course
}

// jobsTell is where one sees what became of a request that has no answer.
const jobsTell = "expunge jobs tells"

// acts has the agent do something, which may have been done where there is no answer, or one that does not say that it was not.
func acts[T any](ctx context.Context, p patient, may, tells string, do func(context.Context) (T, error)) (T, error) {
	asking, done, err := p.course.asks(ctx, may, tells)
	if err != nil {
		var none T
		return none, err
	}
	defer done()
	out, err := do(asking)
	var told *api.Problem
	errors.As(err, &told)
	switch {
	case err == nil:
	case told != nil && (told.Code == api.CodeNotBegun || told.Code == api.CodeAudit):
		p.course.nothing()
	case client.MayBeDone(err), told != nil && (told.ExitStatus == exitInternal || told.ExitStatus == exitInterrupted):
		hint := tells
		if told != nil && told.Hint != "" && !client.MayBeDone(err) {
			hint += "\n" + told.Hint
		}
		err = &problem{code: exitInterrupted, name: "may_be_done", err: fmt.Errorf("%s: %w", may, err), hint: hint}
	case nothingCame(told, err):
		p.course.nothing()
	}
	return out, err
}

// nothingCame says whether it is certain that nothing came of what an agent was asked to do, by its answer. What its own files refused it
// may have refused at any time.
func nothingCame(told *api.Problem, err error) bool {
	if told == nil {
		return false
	}
	switch told.ExitStatus {
	case exitUsage, exitNotFound, exitRefused, exitCannot:
		return true
	case exitPermission:
		return told.Code != "permission" && told.Code != "read_only" || errors.Is(err, fs.ErrPermission) // of the socket
	}
	return false
}

// Plan implements api.Service. A plan begins nothing, whether it was made or not.
func (p patient) Plan(ctx context.Context, r api.PlanRequest) (api.Plan, error) {
	var answered error
	asked := false
	out, err := acts(ctx, p, "a plan may have been made; no drive is touched by that", "plan again: a plan that is not started goes away", func(ctx context.Context) (api.Plan, error) {
		made, err := p.Client.Plan(ctx, r)
		asked, answered = true, err
		return made, err
	})
	if !asked || client.MayBeDone(answered) {
		return out, err
	}
	p.course.nothing()
	return out, answered
}

// Approve implements api.Service.
func (p patient) Approve(ctx context.Context, id string, approval attest.Envelope) (api.Plan, error) {
	return acts(ctx, p, "the approval may have been taken", "approve it again: that tells, and counts once", func(ctx context.Context) (api.Plan, error) {
		return p.Client.Approve(ctx, id, approval)
	})
}

// Start implements api.Service.
func (p patient) Start(ctx context.Context, r api.StartRequest) (api.Job, error) {
	return acts(ctx, p, "the job may have begun, and goes on then", jobsTell, func(ctx context.Context) (api.Job, error) {
		return p.Client.Start(ctx, r)
	})
}

// Cancel implements api.Service.
func (p patient) Cancel(ctx context.Context, id string) (api.Cancelled, error) {
	return acts(ctx, p, "the job may have been stopped", jobsTell, func(ctx context.Context) (api.Cancelled, error) {
		return p.Client.Cancel(ctx, id)
	})
}

// Resume implements api.Service.
func (p patient) Resume(ctx context.Context, id string, r api.ResumeRequest) (api.Job, error) {
	return acts(ctx, p, "the job may have been resumed, and goes on then", jobsTell, func(ctx context.Context) (api.Job, error) {
		return p.Client.Resume(ctx, id, r)
	})
}

// Abandon implements api.Service.
func (p patient) Abandon(ctx context.Context, id string, r api.AbandonRequest) (api.Job, error) {
	return acts(ctx, p, "the job may have been given up", jobsTell, func(ctx context.Context) (api.Job, error) {
		return p.Client.Abandon(ctx, id, r)
	})
}

// Halt implements api.Service.
func (p patient) Halt(ctx context.Context, r api.HaltRequest) (api.Halt, error) {
	may, tells := "the agent may be halted", "expunge health tells"
	if !r.Halted {
		may, tells = "the halt may have been ended", "expunge health tells whether the agent is halted: look before you end a halt again, for by then it may be another's"
	}
	var holds error // of a halt that is certain: what could not be done of it
	h, err := acts(ctx, p, may, tells, func(ctx context.Context) (api.Halt, error) {
		h, err := p.Client.Halt(ctx, r)
		if h.Halted && h.Incomplete() != nil {
			holds, err = err, nil
		}
		return h, err
	})
	if err == nil {
		err = holds
	}
	return h, err
}

// Locate implements api.Service.
func (p patient) Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error) {
	return acts(ctx, p, "the light may have been switched", "look at it, or say it again", func(ctx context.Context) (api.Located, error) {
		return p.Client.Locate(ctx, drive, r)
	})
}
