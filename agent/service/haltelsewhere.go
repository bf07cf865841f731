package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
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

// goOnElsewhere are the drives that other processes are at work on.
func (s *Service) goOnElsewhere() ([]api.CancelledDrive, error) {
	jobs, err := s.attendedElsewhere()
	var list []api.CancelledDrive
	for _, j := range jobs {
		for _, r := range j.Drives {
			if r.Finished() {
				continue
			}
			d := api.CancelledDrive{ID: r.Drive.ID, Serial: r.Drive.Serial, Message: "another process runs its job, " + j.ID + ": it stops within seconds"}
			switch itself, err := s.byItself(j.ID, r.Drive); {
			case err != nil:
				d.Message += fmt.Sprintf("; whether the drive erases itself, which nothing stops, cannot be told: %v", err)
			case itself:
				d = goesOn(d.ID, d.Serial, j.ID)
			}
			list = append(list, d)
		}
	}
	return list, err
}

// byItself says whether a drive that another process works on carries out what nothing stops, as its journal has it.
func (s *Service) byItself(job string, d sanitize.DrivePlan) (bool, error) {
	var meter sanitize.Meter
	parsed, err := journal.Read(s.Agent.JournalOf(job, d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = sanitize.Follow(&meter, parsed.Records, -1)
	}
	return err == nil && meter.Read().ByDrive, err
}
