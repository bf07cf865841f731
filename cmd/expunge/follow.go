package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// seeThrough follows a job that this command began. One of an agent goes on when the command is told to stop. One of this process
// stops then, resumably: that is waited for, and noted as done by a person, so that no agent goes on with the job by itself. One that a halt
// stopped is not: an agent goes on with it when the halt has ended.
func (a *app) seeThrough(ctx context.Context, svc api.Service, j api.Job) (answer, error) {
	here, is := svc.(*service.Service)
	if !is {
		return a.followJob(ctx, svc, j)
	}
	out, err := a.followJob(context.WithoutCancel(ctx), svc, j)
	held := here.StoppedBy(j.ID)
	if context.Cause(ctx) == nil && held == nil {
		return out, err
	}
	now, failed := here.Agent.Job(j.ID)
	unfinished := slices.ContainsFunc(now.Drives, func(r agent.DriveResult) bool { return !r.Finished() })
	switch {
	case failed != nil:
		return out, failed
	case !unfinished:
		return out, err
	case context.Cause(ctx) == nil:
		return out, haltedProblem(j.ID, held, err)
	}
	if err := here.Agent.Stop(j.ID, stoppedHere()); err != nil {
		return out, err
	}
	return out, err
}

// stoppedHere is the note of a job that a person stopped by a signal to its command.
func stoppedHere() agent.Stopped {
	return agent.Stopped{By: "a signal to its command", At: time.Now().UTC()}
}

// haltedProblem says that a halt stopped a job of this process. Where a drive came to a worse end before, its exit code stands.
func haltedProblem(job string, held *agent.HaltedError, ended error) error {
	code := exitInterrupted
	if ended != nil {
		code = problemOf(ended).code
	}
	return &problem{code: code, name: "halted", err: fmt.Errorf("job %s was stopped: %w", job, held), hint: api.HintStopped(held, job)}
}

// told is the latest that was told of a drive's progress.
type told struct {
	last atomic.Pointer[sanitize.Reading]
	at   atomic.Int64                    // when it was told, in nanoseconds of Unix time
	now  func() (sanitize.Reading, bool) // of a drive that this process works on; nil of others
}

// Read is how far the drive is.
func (t *told) Read() sanitize.Reading {
	if t.now != nil {
		if r, is := t.now(); is {
			return r
		}
	}
	if r := t.last.Load(); r != nil {
		return *r
	}
	return sanitize.Reading{}
}

// At is when it was told last; zero of a drive that this process works on.
func (t *told) At() time.Time {
	at := t.at.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// drivesOf are the drives that a job works on, as far as it is known here what is to be done to them.
func drivesOf(svc api.Service, j api.Job) []sanitize.DrivePlan {
	if here, is := svc.(*service.Service); is {
		if p, err := here.Agent.PlanOf(j.ID); err == nil {
			return p.Drives
		}
	}
	var list []sanitize.DrivePlan
	for _, d := range j.Drives {
		if d.Outcome != sanitize.RefusedRun {
			list = append(list, drivePlanOf(d))
		}
	}
	return list
}

// drivePlanOf is as much of a drive's plan as the job of an agent tells: what is to be done to it, not how often it is overwritten.
func drivePlanOf(d api.JobDrive) sanitize.DrivePlan {
	plan := sanitize.DrivePlan{ID: d.ID, Serial: d.Serial, Technique: d.Technique}
	if d.Verification != nil {
		plan.Verification = d.Verification.Mode
	}
	if d.Technique != "" && d.Technique != sanitize.HostOverwrite {
		for _, step := range d.Technique.Steps() {
			plan.Operations = append(plan.Operations, sanitize.Operation{Technique: step})
		}
	}
	return plan
}

// followJob tells how a job goes until it ends, or ctx does.
func (a *app) followJob(ctx context.Context, svc api.Service, j api.Job) (answer, error) {
	id := j.ID
	_ = a.course.begins(context.WithoutCancel(ctx), "job "+id+" may be under way", "expunge jobs show "+id+" tells") // it was begun, whoever was stopped
	progress := a.follow()
	gauges := map[devices.ID]*told{}
	progress.expect(drivesOf(svc, j))
	here, _ := svc.(*service.Service)
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
				if here != nil {
					g.now = func() (sanitize.Reading, bool) { return here.Reading(id, e.ID) }
				}
				gauges[e.ID] = g
				progress.begun(e.ID, g)
			}
			if here == nil {
				g.at.Store(time.Now().UnixNano())
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
		words := fmt.Sprintf("job %s goes on without this command. To follow it: expunge watch %s", id, id)
		if here == nil {
			words += "; to stop it: expunge jobs cancel " + id
		}
		a.say("%s", words)
		now, err := svc.Job(context.WithoutCancel(ctx), id)
		if err == nil {
			return jobAnswer(now), silently(exitInterrupted)
		}
		failed = err
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
		return fmt.Errorf("the agent tells of %s, and job %s has %d", counted(len(end.Drives), "drive"), begun.ID, len(begun.Drives))
	}
	open := slices.ContainsFunc(end.Drives, func(d api.JobDrive) bool { return d.Outcome == sanitize.Interrupted })
	for i, d := range end.Drives {
		done := d.Outcome == sanitize.Sanitized && d.Certificate != nil && d.Verification != nil && (end.State == api.JobEnded || open)
		if d.ID != begun.Drives[i].ID || d.ExitStatus == exitOK && !done {
			return fmt.Errorf("what the agent tells of drive %q contradicts itself", d.Serial)
		}
	}
	return nil
}

// theJob is the one that was named, or the one that is not finished.
func theJob(ctx context.Context, svc api.Service, args []string) (api.Job, error) {
	if len(args) > 0 {
		return jobNamed(ctx, svc, args[0])
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
	if len(open) == 0 {
		return api.Job{}, &problem{code: exitNotFound, name: "not_found", err: errors.New("no job is going on or interrupted"), hint: "one that has ended is named: expunge jobs lists them all"}
	}
	if len(open) > 1 {
		return api.Job{}, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("%d jobs are not finished: name one", len(open)), hint: "expunge jobs lists them"}
	}
	return open[0], nil
}
