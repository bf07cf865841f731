package service

import (
	"context"
	"iter"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// lookEvery is how often a job is looked at that another process runs.
const lookEvery = time.Second

// Events replays what was recorded of a job after a cursor, and follows it.
func (s *Service) Events(ctx context.Context, id, after string) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if err := s.may(ctx, api.Read, "jobs.events", id); err != nil {
			yield(api.Event{}, err)
			return
		}
		p, err := s.Agent.PlanOf(id)
		if err != nil {
			yield(api.Event{}, err)
			return
		}
		seen, err := parseCursor(after, id, len(p.Drives))
		if err == nil {
			err = s.wasRecorded(id, p.Drives, seen)
		}
		if err != nil {
			yield(api.Event{}, api.NewProblem(api.ExitUsage, "cursor", "begin without a cursor: events come from the job's beginning then", err))
			return
		}
		w, others := &watcher{seen: seen}, elsewhere{map[devices.ID]*sanitize.Meter{}, map[devices.ID]bool{}}
		for {
			s.mu.Lock()
			r := s.running[id]
			s.mu.Unlock()
			told := r != nil
			if told && !r.hub.watch(ctx, w, yield) {
				return
			}
			if !replay(id, p.Drives, s.journalOf(id), w.seen, nil, yield) {
				return
			}
			goesOn, there := false, true
			if !told && s.isElsewhere(id) {
				if goesOn, there = others.look(ctx, s.Agent, id, yield); !there {
					return
				}
				told = true
			}
			job, err := s.job(id)
			if err != nil {
				yield(api.Event{}, err)
				return
			}
			if job.State == api.JobInterrupted && !told && s.adopting(ctx) {
				continue
			}
			if ctx.Err() != nil {
				yield(api.Event{}, context.Cause(ctx))
				return
			}
			if job.State != api.JobRunning && !goesOn {
				last(job, w.seen, !told, yield)
				return
			}
			select {
			case <-ctx.Done():
				yield(api.Event{}, context.Cause(ctx))
				return
			case <-time.After(lookEvery):
			}
		}
	}
}

// adopting waits, if need be, until this service has gone on with what an earlier one left. It returns false when it had done so
// before, or ctx ends: a job that nobody is at work on then waits for something else.
func (s *Service) adopting(ctx context.Context) bool {
	select {
	case <-s.adopted:
		return false
	default:
	}
	select {
	case <-s.adopted:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// last tells how the drives of a job stand, unless that was told, and then the job.
func last(job api.Job, seen cursor, drives bool, yield func(api.Event, error) bool) {
	at := seen.of(job.ID)
	for i := range job.Drives {
		d := &job.Drives[i]
		if drives && !yield(api.Event{Type: api.EventDrive, Job: job.ID, ID: d.ID, Serial: d.Serial, Drive: d, Cursor: at}, nil) {
			return
		}
	}
	yield(api.Event{Type: api.EventJob, Job: job.ID, Whole: &job, Cursor: at}, nil)
}
