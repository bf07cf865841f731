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
	unrecorded := s.record(ctx, x)
	who := api.PrincipalOf(ctx).Name
	s.deciding.Lock()
	r, err := s.ours(id)
	if err == nil && (r != nil || unrecorded == nil) {
		err = s.Agent.Stop(id, agent.Stopped{By: who, At: s.clock()})
	}
	s.deciding.Unlock()
	if r == nil {
		if unrecorded != nil {
			return api.Cancelled{}, s.unrecorded(ctx, x, unrecorded)
		}
		if err != nil {
			return api.Cancelled{}, s.refuse(ctx, x, err)
		}
		return s.cancelled(j, nil), nil
	}
	r.cancel(cancelledBy(who))
	waitFor(ctx, r)
	if err != nil {
		return api.Cancelled{}, s.refuse(ctx, x, fmt.Errorf("job %s was told to stop, and that somebody stopped it could not be noted: the agent goes on with it when it starts again: %w", id, err))
	}
	if unrecorded != nil {
		return api.Cancelled{}, api.NewProblem(api.ExitInternal, api.CodeNotRecorded, "make room for the state, or look at its audit file",
			fmt.Errorf("job %s was told to stop, and that could not be recorded: %w", id, unrecorded))
	}
	if j, err = s.job(id); err != nil {
		return api.Cancelled{}, err
	}
	return s.cancelled(j, r), nil
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

// stopsWithin is how long those who stop jobs wait for all of them before they answer.
const stopsWithin = 10 * time.Second

func waitFor(ctx context.Context, running ...*run) {
	ctx, done := context.WithTimeout(ctx, stopsWithin)
	defer done()
	for _, r := range running {
		select {
		case <-r.done:
		case <-ctx.Done():
			return
		}
	}
}

// goOnHere are the drives of a job that is at work which carry out what nothing stops, or which it has not let go of. The error is that of
// a journal that does not tell.
func (s *Service) goOnHere(r *run) ([]api.CancelledDrive, error) {
	var list []api.CancelledDrive
	var left map[devices.ID]bool
	var err error
	for _, d := range r.plan.Drives {
		reading, _ := r.reading(d.ID)
		switch holds := r.holds(d.ID); {
		case holds && reading.ByDrive:
			list = append(list, goesOn(d, r.job))
			continue
		case holds:
			list = append(list, api.CancelledDrive{ID: d.ID, Serial: d.Serial, Message: "job " + r.job + " has not let go of it yet"})
			continue
		}
		if left == nil {
			left, err = s.Agent.ByThemselves(r.job)
		}
		if left[d.ID] {
			list = append(list, goesOn(d, r.job))
		}
	}
	return list, err
}

// cancelled says what was stopped; r is nil of a job that nobody here was at work on. A drive that was ordered to erase itself goes on
// with that.
func (s *Service) cancelled(j api.Job, r *run) api.Cancelled {
	c := api.Cancelled{Job: j.ID, Drives: []api.CancelledDrive{}}
	p, err := s.Agent.PlanOf(j.ID)
	byItself, unread := s.Agent.ByThemselves(j.ID)
	if err = errors.Join(err, unread); err != nil {
		s.log.Error("which drives go on by themselves cannot be told", "job", j.ID, "err", err)
	}
	planned := map[devices.ID]sanitize.DrivePlan{}
	for _, d := range p.Drives {
		planned[d.ID] = d
		if r != nil && r.holds(d.ID) {
			reading, _ := r.reading(d.ID)
			byItself[d.ID] = reading.ByDrive
		}
	}
	for _, d := range j.Drives {
		switch {
		case d.Outcome != sanitize.Interrupted:
		case byItself[d.ID]:
			c.Drives = append(c.Drives, goesOn(planned[d.ID], j.ID))
		case j.State == api.JobRunning:
			c.Drives = append(c.Drives, api.CancelledDrive{ID: d.ID, Serial: d.Serial, Message: "it was told to stop, and has not answered yet"})
		default:
			c.Drives = append(c.Drives, api.CancelledDrive{ID: d.ID, Serial: d.Serial, Stopped: true, Message: "the host works on it no more; it holds data until its job is resumed to an end"})
		}
	}
	return c
}

func goesOn(d sanitize.DrivePlan, job string) api.CancelledDrive {
	return api.CancelledDrive{ID: d.ID, Serial: d.Serial, Message: "the drive erases itself, and nothing stops that" + untilPower(d) + ": resume job " + job + " to have it proven and certified"}
}

// wentOn is goesOn of a drive that nobody has looked at since its job stopped.
func wentOn(d sanitize.DrivePlan, job string) api.CancelledDrive {
	return api.CancelledDrive{ID: d.ID, Serial: d.Serial, Message: "the drive erases itself, and nothing stops that" + untilPower(d) + ", or has ended since its job stopped: resume job " + job + " to have it proven and certified"}
}

// untilPower says of what nothing stops what a loss of power does to it.
func untilPower(d sanitize.DrivePlan) string {
	if d.OutlastsPower() {
		return ", not even a loss of power"
	}
	return " but a loss of power, after which it must begin again"
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
	if s.atWork()[id] != nil && s.Resident {
		return s.job(id) // it goes on already
	}
	if err := s.allow(ctx, x); err != nil {
		return api.Job{}, err
	}
	var stopped agent.Stopped // who had, before the note of it was taken away
	err = s.goOn(id, p, r.PINs, func() error {
		stopped, _ = s.Agent.StoppedBy(id) // of a damaged note it is by an unknown
		return s.Agent.Unstop(id)
	})
	if err != nil {
		return api.Job{}, s.refuse(ctx, x, errors.Join(err, s.stopAgain(id, stopped)))
	}
	return s.job(id)
}

// stopAgain notes again who had stopped a job, when it could not be gone on with: otherwise the agent would by itself, at another time.
func (s *Service) stopAgain(id string, by agent.Stopped) error {
	if by.By == "" {
		return nil
	}
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if s.atWork()[id] != nil {
		return nil // since then, by somebody else
	}
	return s.Agent.Stop(id, by)
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
		err = &sanitize.RequestError{Field: "why", Why: "certificates say it, in at most 500 bytes"}
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
		if !d.Before {
			s.tellEnd(id, api.DriveOf(d))
		}
	}
	s.mu.Lock()
	if !s.closing {
		s.settle(id)
	}
	s.mu.Unlock()
	now := s.as(given, nil)
	if s.Told.JobEnded != nil {
		s.Told.JobEnded(now)
	}
	return now, errors.Join(problems, given.ManifestErr)
}
