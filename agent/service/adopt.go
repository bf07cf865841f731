package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// Adopt goes on with every job that is not at its end and that nobody cancelled: drives are found by their identity, an overwrite
// is resumed, an erase that a drive carries out is waited for and proven. What cannot be told becomes unknown, by its journal.
func (s *Service) Adopt(ctx context.Context) error {
	defer s.adoptedAll()
	err := s.adopt(ctx, nil)
	if err := s.Agent.AccountLeft(ctx); err != nil {
		s.log.Error("not every job that has ended is accounted for", "err", err)
	}
	return err
}

// adopt does so for jobs with one of some drives, and does not wait until they have begun: what else holds such a drive holds up nobody
// who tells that drives came. nil is all. Why one could not is a problem of Health until it was done for all.
func (s *Service) adopt(ctx context.Context, present map[devices.ID]bool) error {
	var all sync.WaitGroup // at once: each looks at the host, and those who look together look once
	var failed atomic.Pointer[error]
	err := s.adoptEach(ctx, present, func(job string, p sanitize.Plan) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closing {
			return
		}
		s.resuming[job] = true
		all.Add(1)
		s.lives.Go(func() {
			defer all.Done()
			if err := s.adoptOne(job, p); err != nil {
				failed.Store(&err)
				s.leaves(ctx, err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.resuming, job)
		})
	})
	if err != nil {
		s.leaves(ctx, err)
		return err
	}
	if present != nil {
		return nil // others may be left
	}
	all.Wait()
	if failed.Load() == nil {
		s.leaves(ctx, nil)
	}
	return nil
}

// adoptEach passes on the jobs that adopt is to go on with, when that is recorded; of each one at a time.
func (s *Service) adoptEach(ctx context.Context, present map[devices.ID]bool, each func(string, sanitize.Plan)) error {
	s.adoption.Lock()
	defer s.adoption.Unlock()
	s.mu.Lock()
	why := s.workingNow()
	s.mu.Unlock()
	if why != nil {
		s.log.Warn("unfinished jobs are left as they are", "why", why)
		return nil // the end of the halt, or the next agent, looks again
	}
	if err := s.StateStands(); err != nil {
		return stateProblem(err)
	}
	itself := api.WithPrincipal(ctx, api.Principal{Name: "agent", Via: "local"})
	pending, err := s.Agent.Pending()
	if err != nil {
		return err
	}
	for _, job := range pending {
		if context.Cause(ctx) != nil {
			return context.Cause(ctx)
		}
		if by, err := s.Agent.StoppedBy(job); err != nil || by.By != "" {
			s.log.Info("a job was cancelled, and is left as it is", "job", job, "by", by.By)
			continue
		}
		p, err := s.Agent.PlanOf(job)
		if err != nil || s.isAdopted(job) || present != nil && !s.waitsFor(job, present) {
			continue
		}
		if err := s.allow(itself, Action{Action: "jobs.adopt", Object: job, PlanDigest: p.Digest()}); err != nil {
			return err
		}
		each(job, p)
	}
	return nil
}

// isAdopted says whether somebody here is at work on a job, or about to go on with it.
func (s *Service) isAdopted(job string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[job] != nil || s.resuming[job]
}

// adoptOne goes on with a job. The error is why it could not be, where it is worth while to try again.
func (s *Service) adoptOne(job string, p sanitize.Plan) error {
	switch err := s.resume(job, p, nil, func() error { return s.notStopped(job) }); {
	case err == nil:
		s.log.Info("went on with a job", "job", job)
	case errors.Is(err, agent.ErrJobBusy):
		s.log.Info("another process runs a job", "job", job)
	case errors.Is(err, errStopped), s.mayRun(job) != nil: // by a person, a halt, or somebody who goes on with it
		s.log.Warn("a job is left as it is", "job", job, "why", err)
	default:
		s.log.Error("a job cannot be gone on with", "job", job, "err", err)
		return fmt.Errorf("job %s: %w", job, err)
	}
	return nil
}

// How often it is looked whether another process has let go of a job, and how often in a row that must be so: whoever stopped its
// command by a signal notes that right after.
const (
	leftLooks = time.Second / 4
	leftFor   = 4
)

// adoptWhenLeft goes on with a job that another process is about to stop, as soon as it has.
func (s *Service) adoptWhenLeft(job string, p sanitize.Plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return
	}
	s.lives.Go(func() {
		tick := time.NewTicker(leftLooks)
		defer tick.Stop()
		for left := 0; left < leftFor; {
			<-tick.C
			if s.working() != nil {
				return // the end of the next halt, or the next start, looks again
			}
			attended, err := s.Agent.Attended(job)
			if err != nil {
				s.log.Error("a job cannot be gone on with", "job", job, "err", err)
				return
			}
			if left++; attended {
				left = 0
			}
		}
		j, err := s.Agent.Job(job)
		if err == nil && !slices.ContainsFunc(j.Drives, func(r agent.DriveResult) bool { return !r.Finished() }) {
			return
		}
		if err == nil {
			err = s.notStopped(job)
		}
		if err == nil {
			itself := api.WithPrincipal(context.Background(), api.Principal{Name: "agent", Via: "local"})
			err = s.allow(itself, Action{Action: "jobs.adopt", Object: job, PlanDigest: p.Digest()})
		}
		if err != nil {
			s.log.Warn("a job is left as it is", "job", job, "why", err)
			return
		}
		if err := s.adoptOne(job, p); err != nil {
			s.leaves(context.Background(), err)
		}
	})
}

// errStopped: somebody cancelled the job.
var errStopped = errors.New("somebody cancelled the job")

func (s *Service) notStopped(job string) error {
	by, err := s.Agent.StoppedBy(job)
	if err == nil && by.By != "" {
		err = errStopped
	}
	return err
}

// waitsFor says whether a job has a drive without an end among those that are there.
func (s *Service) waitsFor(job string, present map[devices.ID]bool) bool {
	j, err := s.Agent.Job(job)
	return err == nil && slices.ContainsFunc(j.Drives, func(r agent.DriveResult) bool { return !r.Finished() && present[r.Drive.ID] })
}

// HostChanged is to be called when drives came or went: jobs that wait for one of those that are there go on. One that still runs, for
// the sake of its other drives, does so when it has come to an end.
func (s *Service) HostChanged(ctx context.Context, c devices.Change) error {
	if !c.Names && !c.Lost {
		// What is only told to have changed may have done so by the job's own doing, again and again.
		s.staleLooks()
		return nil
	}
	s.mu.Lock()
	for _, r := range s.running {
		r.missed = true
	}
	s.mu.Unlock()
	return s.lookAgain(ctx)
}

// leaves notes why unfinished jobs are left as they are; nil: they are not.
func (s *Service) leaves(ctx context.Context, err error) {
	if err != nil && ctx.Err() != nil {
		return // the agent ends
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unadopted = err
}

// lookAgain goes on with jobs that wait for a drive that is there.
func (s *Service) lookAgain(ctx context.Context) error {
	s.staleLooks()
	listed, err := s.Host.Drives(ctx)
	if err != nil {
		s.leaves(ctx, err)
		return err
	}
	present := map[devices.ID]bool{}
	for _, d := range listed {
		present[d.ID] = true
	}
	return s.adopt(ctx, present)
}
