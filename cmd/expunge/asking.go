package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// What a verb does when an agent runs: it asks that one, which has the drives and the state for itself.

// listOf asks for the drives.
func (a *app) listOf(ctx context.Context, svc api.Service) (answer, error) {
	d, err := svc.Drives(ctx)
	if err != nil {
		return answer{items: []devices.Drive{}}, err
	}
	return answer{items: d.Items, notReached: d.NotReached, text: func(w io.Writer) error { return listText(w, d.Items, d.NotReached) }}, nil
}

// planBy has the agent make a plan.
func (a *app) planBy(ctx context.Context, svc api.Service, names []string, request sanitize.Request, file string) (answer, error) {
	p, err := svc.Plan(ctx, api.PlanRequest{Drives: names, Request: request})
	if err == nil {
		err = asSaid(p)
	}
	if err != nil {
		return answer{}, err
	}
	return a.planAnswer(p.Plan, file)
}

// asSaid makes sure that a plan has the digest that the agent says: it is what a person confirms and what is started.
func asSaid(p api.Plan) error {
	if got := p.Plan.Digest(); got != p.Digest {
		return fmt.Errorf("the agent calls its plan %.12s…, and it is %.12s…: the agent is of another version than this program", p.Digest, got)
	}
	return nil
}

// runBy has the agent carry a plan out, and follows it.
func (a *app) runBy(ctx context.Context, svc api.Service, names []string, request sanitize.Request, file string, confirm []string) (answer, error) {
	p, err := a.plannedBy(ctx, svc, names, request, file)
	if err != nil {
		return answer{}, err
	}
	if len(p.Drives) == 0 {
		told := api.Job{Plan: p.Digest}
		for _, r := range p.Refused {
			told.Drives = append(told.Drives, api.RefusedOf(r))
		}
		return jobAnswer(told), planProblem(p.Plan)
	}
	listed, err := svc.Drives(ctx)
	if err != nil {
		return answer{}, err
	}
	if err := a.confirmed(ctx, p.Plan, confirm, file != "", listed.Items); err != nil {
		return jobAnswer(api.Job{Plan: p.Digest}), err
	}
	if err := context.Cause(ctx); err != nil {
		return answer{}, &problem{code: exitSignal, name: "signal", err: err}
	}
	start := api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: len(p.Drives)}
	if p.Job != "" {
		a.say("this plan was run before: what is finished is only reported")
	} else if start.PINs, err = a.pinsOf(p.Drives); err != nil {
		return answer{}, err
	}
	job, err := svc.Start(ctx, start)
	if err != nil {
		return answer{}, err
	}
	return a.followJob(ctx, svc, job)
}

// plannedBy is the plan that is to be carried out, as the agent has it.
func (a *app) plannedBy(ctx context.Context, svc api.Service, names []string, request sanitize.Request, file string) (api.Plan, error) {
	var p api.Plan
	if file == "" {
		made, err := svc.Plan(ctx, api.PlanRequest{Drives: names, Request: request})
		if err != nil {
			return p, err
		}
		return made, asSaid(made)
	}
	read, err := readPlan(file)
	if err != nil {
		return p, err
	}
	p, err = svc.Planned(ctx, read.ID)
	var told *api.Problem
	if errors.As(err, &told) && told.Code == "not_found" {
		return p, &problem{code: exitRefused, name: "refused", err: fmt.Errorf("the agent has not made the plan in %s", file), hint: "make it again: expunge plan asks the agent when it runs"}
	}
	if err == nil && p.Digest != read.Digest() {
		err = sanitize.ErrPlanEdited
	}
	return p, err
}

// pinsOf gives the PINs that a plan wants.
func (a *app) pinsOf(drives []sanitize.DrivePlan) (map[devices.ID]string, error) {
	pins := map[devices.ID]string{}
	for _, d := range drives {
		if what, wanted := d.PINWanted(); wanted {
			pin, err := a.pin(d)
			if err != nil {
				return nil, &problem{code: exitRefused, name: "pin_missing", err: fmt.Errorf("%s %s: its %s is wanted and was not given: %w", d.Model, d.Serial, what, err), hint: "--pin-file FILE gives it; a PSID is printed on the drive's label"}
			}
			pins[d.ID] = pin
		}
	}
	return pins, nil
}

// told is the latest that was told of a drive's progress.
type told struct {
	last atomic.Pointer[sanitize.Reading]
}

// Read is the latest.
func (t *told) Read() sanitize.Reading {
	if r := t.last.Load(); r != nil {
		return *r
	}
	return sanitize.Reading{}
}

// followJob tells how a job goes until it ends. When this program is told to stop, the job goes on.
func (a *app) followJob(ctx context.Context, svc api.Service, j api.Job) (answer, error) {
	id := j.ID
	progress := a.follow()
	gauges := map[devices.ID]*told{}
	progress.expect(j.Drives)
	var end *api.Job
	var failed error
	for e, err := range svc.Events(ctx, id, "") {
		if err != nil {
			failed = err
			break
		}
		switch e.Type {
		case api.EventProgress:
			g := gauges[e.ID]
			if g == nil {
				g = &told{}
				gauges[e.ID] = g
				progress.begun(e.ID, e.Serial, g)
			}
			g.last.Store(e.Reading)
		case api.EventDrive:
			progress.endedBy(*e.Drive)
		case api.EventJob:
			end = e.Whole
		}
	}
	progress.end()
	switch {
	case end != nil:
		if err := plausible(j, *end); err != nil {
			return jobAnswer(*end), &problem{code: exitUnproven, name: "implausible", err: err, hint: "treat its drives as holding data; look at their certificates with: expunge verify"}
		}
		return jobAnswer(*end), a.jobProblem(*end)
	case context.Cause(ctx) != nil:
		a.say("job %s goes on without this command. To follow it: expunge watch %s; to stop it: expunge jobs cancel %s", id, id, id)
		now, err := svc.Job(context.WithoutCancel(ctx), id)
		if err != nil {
			return answer{}, err
		}
		return jobAnswer(now), silently(exitInterrupted)
	}
	return answer{}, &problem{code: exitInterrupted, name: "not_followed", err: errors.Join(failed, fmt.Errorf("job %s cannot be followed any more", id)),
		hint: "it goes on as long as the agent runs, and when an agent starts again: expunge jobs show " + id}
}

// plausible says whether what an agent tells of a job's end can be that of the job that was begun: what it leaves out, or what
// contradicts itself, is no success.
func plausible(begun, end api.Job) error {
	switch {
	case end.ID != begun.ID || end.Plan != begun.Plan:
		return fmt.Errorf("the agent tells of job %q in place of %q", end.ID, begun.ID)
	case len(end.Drives) == 0 || len(end.Drives) != len(begun.Drives):
		return fmt.Errorf("the agent tells of %d drives, and job %s has %d", len(end.Drives), begun.ID, len(begun.Drives))
	}
	for i, d := range end.Drives {
		done := d.Outcome == sanitize.Sanitized && d.Certificate != nil && d.Verification != nil && end.State == api.JobEnded
		if d.ID != begun.Drives[i].ID || d.ExitStatus == exitOK && !done {
			return fmt.Errorf("what the agent tells of drive %q contradicts itself", d.Serial)
		}
	}
	return nil
}

// theJob is the one that was named, or the one that is not finished.
func theJob(ctx context.Context, svc api.Service, args []string) (api.Job, error) {
	if len(args) > 0 {
		return svc.Job(ctx, args[0])
	}
	jobs, err := svc.Jobs(ctx)
	if err != nil {
		return api.Job{}, err
	}
	var open []api.Job
	for _, j := range jobs {
		if j.State != api.JobEnded {
			open = append(open, j)
		}
	}
	if len(open) != 1 {
		return api.Job{}, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%d jobs are not finished: name one", len(open)), hint: "expunge jobs lists them"}
	}
	return open[0], nil
}

// certificatesOf lists what the agent keeps.
func (a *app) certificatesOf(ctx context.Context, svc api.Service, _ []string) (answer, error) {
	issued, err := svc.Certificates(ctx)
	if err != nil {
		return answer{}, err
	}
	list := []certificateItem{}
	for _, c := range issued {
		list = append(list, certificateItem{c.Job, string(c.ID), c.Serial, c.Model, c.Outcome, c.File, ""})
	}
	return answer{items: list, text: func(w io.Writer) error { return certificatesText(w, list) }}, nil
}

// resumeBy has the agent go on with a job, and follows it. PINs are asked for only when the agent wants them.
func (a *app) resumeBy(ctx context.Context, svc api.Service, id string) (answer, error) {
	j, err := svc.Resume(ctx, id, api.ResumeRequest{})
	var told *api.Problem
	if errors.As(err, &told) && told.Code == "pin_missing" {
		return answer{}, &problem{code: exitRefused, name: told.Code, err: err, hint: "abandon the job, and begin it anew with --pin-file"}
	}
	if err != nil {
		return answer{}, err
	}
	return a.followJob(ctx, svc, j)
}
