package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// Jobs lists all jobs, oldest first.
func (s *Service) Jobs(ctx context.Context) ([]api.Job, error) {
	if err := s.may(ctx, api.Read, "jobs.list", ""); err != nil {
		return nil, err
	}
	running := s.atWork()
	jobs, err := s.Agent.Jobs()
	if err != nil {
		return nil, err
	}
	list := make([]api.Job, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, s.as(j, running[j.ID]))
	}
	return list, nil
}

// Job returns one job.
func (s *Service) Job(ctx context.Context, id string) (api.Job, error) {
	if err := s.may(ctx, api.Read, "jobs.read", id); err != nil {
		return api.Job{}, err
	}
	return s.job(id)
}

func (s *Service) job(id string) (api.Job, error) {
	running := s.atWork()
	j, err := s.Agent.Job(id)
	if err != nil {
		return api.Job{}, err
	}
	return s.as(j, running[id]), nil
}

// atWork are the jobs that this process is at work on. It is asked before a job is read: one that ends meanwhile would be told as
// interrupted otherwise.
func (s *Service) atWork() map[string]*run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.running)
}

// as is a job as it stands here; r is nil when nobody here was at work on it before it was read.
func (s *Service) as(j agent.Job, r *run) api.Job {
	told := api.JobOf(s.recall(j))
	told.RequestedBy = j.Plan.Request.Requester
	if by, err := s.Agent.StartedBy(j.ID); err == nil {
		told.StartedBy = by.By
	}
	if r == nil {
		if by, _ := s.Agent.StoppedBy(j.ID); told.State == api.JobInterrupted && by.By != "" {
			told.State = api.JobStopped
		}
		return told
	}
	if told.State != api.JobUnreadable {
		told.State = api.JobRunning
	}
	for i := range told.Drives {
		d := &told.Drives[i]
		if d.Outcome != sanitize.Interrupted {
			continue
		}
		d.Reasons = []devices.Reason{{Code: agent.ReasonRunning, Message: "the agent is at work on it", Hint: "run: expunge watch " + j.ID}}
		if reading, is := r.reading(d.ID); is {
			d.Progress = &reading
		}
	}
	return told
}

func (s *Service) journalOf(job string) func(sanitize.DrivePlan) string {
	return func(d sanitize.DrivePlan) string { return s.Agent.JournalOf(job, d) }
}

// cancelledBy is the cause by which a cancelled job stops.
func cancelledBy(who string) error { return fmt.Errorf("cancelled by %s", who) }

// Cancel stops what the host does for a job, resumably.
func (s *Service) Cancel(ctx context.Context, id string) (api.Cancelled, error) {
	const action = "jobs.cancel"
	if err := s.may(ctx, api.Operate, action, id); err != nil {
		return api.Cancelled{}, err
	}
	x := Action{Action: action, Object: bounded(id)}
	j, err := s.job(id)
	if err == nil && j.State == api.JobEnded {
		err = api.Refusef("ended", "its certificates say what came of it", "job %s has ended", id)
	}
	if err == nil {
		_, err = s.ours(id)
	}
	if err != nil {
		return api.Cancelled{}, s.refuse(ctx, x, err)
	}
	x.PlanDigest = j.Plan
	// What runs is stopped also where that cannot be recorded or noted: a full disk must not keep anybody from stopping.
	unrecorded := s.allow(ctx, x)
	who := api.PrincipalOf(ctx).Name
	s.deciding.Lock()
	r, err := s.ours(id)
	if err == nil && (r != nil || unrecorded == nil) {
		err = s.Agent.Stop(id, agent.Stopped{By: who, At: s.clock()})
	}
	s.deciding.Unlock()
	if r == nil {
		if unrecorded != nil {
			return api.Cancelled{}, unrecorded
		}
		if err != nil {
			return api.Cancelled{}, s.refuse(ctx, x, err)
		}
		return s.cancelled(j, nil), nil
	}
	byItself := r.byThemselves()
	r.cancel(cancelledBy(who))
	s.waitFor(ctx, r)
	if err != nil {
		return api.Cancelled{}, s.refuse(ctx, x, fmt.Errorf("job %s was told to stop, and that somebody stopped it could not be noted: the agent goes on with it when it starts again: %w", id, err))
	}
	if unrecorded != nil {
		return api.Cancelled{}, fmt.Errorf("job %s was told to stop, and that could not be recorded: %w", id, unrecorded)
	}
	if j, err = s.job(id); err != nil {
		return api.Cancelled{}, err
	}
	return s.cancelled(j, byItself), nil
}

// ours is this process' work on a job; nil when nobody is at work on it. One that another process runs is refused: nothing here stops
// that, and no note that it was stopped may say so.
func (s *Service) ours(job string) (*run, error) {
	s.mu.Lock()
	r := s.running[job]
	s.mu.Unlock()
	if r != nil {
		return r, nil
	}
	attended, err := s.Agent.Attended(job)
	if err == nil && attended {
		err = api.Refusef("busy", "stop it where it runs; its drives are as they were", "another process runs job %s, or somebody is giving it up: it is not stopped from here", job)
	}
	return nil, err
}

// stopsWithin is how long those who stop a job wait for it before they answer.
const stopsWithin = 10 * time.Second

func (s *Service) waitFor(ctx context.Context, r *run) {
	select {
	case <-r.done:
	case <-ctx.Done():
	case <-time.After(stopsWithin):
	}
}

// byThemselves are the drives of a job that carry out what nothing stops.
func (r *run) byThemselves() map[devices.ID]bool {
	found := map[devices.ID]bool{}
	for _, d := range r.plan.Drives {
		if reading, is := r.reading(d.ID); is && reading.ByDrive {
			found[d.ID] = true
		}
	}
	return found
}

// goOn tells of them.
func (r *run) goOn() []api.CancelledDrive {
	var list []api.CancelledDrive
	byItself := r.byThemselves()
	for _, d := range r.plan.Drives {
		if byItself[d.ID] {
			list = append(list, goesOn(d.ID, d.Serial, r.job))
		}
	}
	return list
}

// cancelled says what was stopped. A drive that was ordered to erase itself goes on with that.
func (s *Service) cancelled(j api.Job, byItself map[devices.ID]bool) api.Cancelled {
	c := api.Cancelled{Job: j.ID, Drives: []api.CancelledDrive{}}
	for _, d := range j.Drives {
		switch {
		case d.Outcome != sanitize.Interrupted:
		case byItself[d.ID]:
			c.Drives = append(c.Drives, goesOn(d.ID, d.Serial, j.ID))
		case j.State == api.JobRunning:
			c.Drives = append(c.Drives, api.CancelledDrive{ID: d.ID, Serial: d.Serial, Message: "it was told to stop, and has not answered yet"})
		default:
			c.Drives = append(c.Drives, api.CancelledDrive{ID: d.ID, Serial: d.Serial, Stopped: true, Message: "the host works on it no more; it holds data until its job is resumed to an end"})
		}
	}
	return c
}

func goesOn(id devices.ID, serial, job string) api.CancelledDrive {
	return api.CancelledDrive{ID: id, Serial: serial, Message: "the drive erases itself, and nothing stops that, not even a loss of power: resume job " + job + " to have it proven and certified"}
}

// Resume goes on with a job that stopped.
func (s *Service) Resume(ctx context.Context, id string, r api.ResumeRequest) (api.Job, error) {
	const action = "jobs.resume"
	if err := s.may(ctx, api.Operate, action, id); err != nil {
		return api.Job{}, err
	}
	x := Action{Action: action, Object: bounded(id)}
	p, err := s.Agent.PlanOf(id)
	if err == nil {
		x.PlanDigest = p.Digest()
		err = s.working()
	}
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	release, err := s.claim(ctx, p.Drives)
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	defer release()
	if j, err := s.job(id); err == nil && j.State == api.JobRunning && s.Resident {
		return j, nil // it goes on already
	}
	if err := s.allow(ctx, x); err != nil {
		return api.Job{}, err
	}
	if err := s.goOn(id, p, r.PINs, func() error { return s.Agent.Unstop(id) }); err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	return s.job(id)
}

// resume launches a job again, as soon as nobody else judges its drives. first is done when nobody can cancel the job meanwhile.
func (s *Service) resume(id string, p sanitize.Plan, pins map[devices.ID]string, first func() error) error {
	release, err := s.claim(context.Background(), p.Drives)
	if err != nil {
		return err
	}
	defer release()
	return s.goOn(id, p, pins, first)
}

// goOn is resume for those who have claimed the drives.
func (s *Service) goOn(id string, p sanitize.Plan, pins map[devices.ID]string, first func() error) error {
	others := s.again(id, p)
	if others != nil {
		s.barred(id, p, others)
	}
	return s.launch(id, p, pins, first, func(ctx context.Context, o agent.Observer) (agent.Job, error) {
		return s.Agent.GoOnWithBegun(ctx, id, others, o)
	})
}

// Abandon gives a job up.
func (s *Service) Abandon(ctx context.Context, id string, r api.AbandonRequest) (api.Job, error) {
	const action = "jobs.abandon"
	if err := s.may(ctx, api.Operate, action, id); err != nil {
		return api.Job{}, err
	}
	x := Action{Action: action, Object: bounded(id), Detail: bounded(r.Why)}
	p, err := s.Agent.PlanOf(id)
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	release, err := s.claim(ctx, p.Drives)
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	defer release()
	j, err := s.job(id)
	if err == nil {
		_, err = s.ours(id)
	}
	switch {
	case err != nil:
	case j.State == api.JobRunning:
		err = api.Refusef("busy", "cancel it first", "job %s is being run", id)
	case j.State == api.JobEnded:
		err = api.Refusef("ended", "its certificates say what came of it", "job %s has ended", id)
	case r.Why == "" || len(r.Why) > 500:
		err = &sanitize.RequestError{Field: "why", Why: "certificates say it, in at most 500 characters"}
	}
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	x.PlanDigest = j.Plan
	if err := s.allow(ctx, x); err != nil {
		return api.Job{}, err
	}
	given, err := s.Agent.Abandon(context.WithoutCancel(ctx), id, r.Why)
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, err)
	}
	s.staleLooks()
	var problems error
	for _, d := range given.Drives {
		problems = errors.Join(problems, d.Err)
	}
	s.mu.Lock()
	if !s.closing {
		s.settle(id)
	}
	s.mu.Unlock()
	return s.as(given, nil), errors.Join(problems, given.ManifestErr)
}
