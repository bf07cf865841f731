package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
)

// A halt holds for all processes with the same state, and each stops its own jobs: this one, when it is not the resident one, looks
// for the note of a halt while it is at work; the resident one says which jobs of others have not stopped yet.

// awaitHalt stops a job when somebody halts the agent of this state, or has since the halt of an id was the last. ctx ends with the job.
func (s *Service) awaitHalt(ctx context.Context, r *run, since string) {
	held := s.Agent.AwaitHalt(ctx, since)
	if held == nil {
		return
	}
	s.mu.Lock()
	s.stopped[r.job] = held
	s.mu.Unlock()
	r.cancel(fmt.Errorf("%w: %w", errHalted, held))
}

// StoppedBy is the halt that stopped a job of this process, which is not resident; nil when none did.
func (s *Service) StoppedBy(job string) *agent.HaltedError {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped[job]
}

// attendedElsewhere are the jobs that other processes are at work on.
func (s *Service) attendedElsewhere() ([]agent.Job, error) {
	running := s.atWork() // first: those that end meanwhile are let go of before they are not among these
	names, err := s.Agent.JobNames()
	if err != nil {
		return nil, err
	}
	var found []agent.Job
	for _, job := range names {
		if running[job] != nil || s.kept.isOver(job) {
			continue
		}
		attended, err := s.Agent.Attended(job)
		if err != nil {
			return found, err
		}
		if !attended {
			continue
		}
		j, err := s.Agent.Job(job)
		if err != nil {
			return found, err
		}
		found = append(found, j)
	}
	return found, nil
}

// goOnNow are the drives that this process, others, or nobody is at work on, and that go on. Jobs of just have stopped a moment ago. With
// an error it has those that could be told.
func (s *Service) goOnNow(just map[string]bool) ([]api.CancelledDrive, error) {
	list := []api.CancelledDrive{}
	running := s.atWork() // first: those that end meanwhile are let go of before they are not among these
	var problems error
	for _, job := range slices.Sorted(maps.Keys(running)) {
		here, err := s.goOnHere(running[job])
		list, problems = append(list, here...), errors.Join(problems, err)
	}
	names, err := s.Agent.JobNames()
	if err != nil {
		return list, errors.Join(problems, err)
	}
	for _, job := range names {
		if running[job] != nil || s.kept.isOver(job) {
			continue
		}
		others, err := s.goOnWithout(job, just[job])
		list, problems = append(list, others...), errors.Join(problems, err)
	}
	return list, problems
}

// goOnWithout are the drives of a job that go on without this process.
func (s *Service) goOnWithout(job string, just bool) ([]api.CancelledDrive, error) {
	attended, err := s.Agent.Attended(job)
	if err != nil {
		return nil, err
	}
	byItself, problems := s.Agent.ByThemselves(job)
	var list []api.CancelledDrive
	if attended {
		j, err := s.Agent.Job(job)
		for _, r := range j.Drives {
			switch {
			case r.Finished():
			case byItself[r.Drive.ID]:
				list = append(list, goesOn(r.Drive, job))
			default:
				list = append(list, api.CancelledDrive{ID: r.Drive.ID, Serial: r.Drive.Serial, Message: "another process runs its job, " + job + ": it stops within seconds"})
			}
		}
		return list, errors.Join(problems, err)
	}
	if len(byItself) == 0 {
		return nil, problems
	}
	p, err := s.Agent.PlanOf(job)
	for _, d := range p.Drives {
		switch {
		case byItself[d.ID] && just:
			list = append(list, goesOn(d, job))
		case byItself[d.ID]:
			list = append(list, wentOn(d, job))
		}
	}
	return list, errors.Join(problems, err)
}
