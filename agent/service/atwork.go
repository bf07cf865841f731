package service

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// seenJob is what a look at the drives needs of a job.
type seenJob struct {
	created time.Time
	job     api.Job
	rests   bool // nothing of it is expected to change
}

// lookAtJobs returns what reads the jobs, the oldest first, for a look at the drives. What has ended and is certified is not read again.
// Looks come one after the other.
func (s *Service) lookAtJobs() func(context.Context) ([]api.Job, error) {
	known := map[string]seenJob{}
	return func(context.Context) ([]api.Job, error) {
		names, err := s.Agent.JobNames()
		if err != nil {
			return nil, err
		}
		seen := make(map[string]seenJob, len(names))
		for _, name := range names {
			if s.isClosing() {
				return nil, errClosing
			}
			x, there := known[name]
			if !there || !x.rests {
				x = seenOf(s.Agent.Job(name))
			}
			seen[name] = x
		}
		known = seen
		list := slices.SortedFunc(maps.Values(seen), func(a, b seenJob) int {
			return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.job.ID, b.job.ID))
		})
		jobs := make([]api.Job, len(list))
		for i, x := range list {
			jobs[i] = x.job
		}
		return jobs, nil
	}
}

func seenOf(j agent.Job, err error) seenJob {
	told := api.JobOf(j)
	x := seenJob{j.Plan.Created, api.Job{ID: told.ID, State: told.State}, err == nil && len(j.Drives) > 0}
	for i, r := range j.Drives {
		d := told.Drives[i]
		x.job.Drives = append(x.job.Drives, api.JobDrive{ID: d.ID, Outcome: d.Outcome, Words: d.Words, Reasons: d.Reasons})
		x.rests = x.rests && r.Finished() && r.Err == nil && (r.Certificate != "" || r.Outcome == sanitize.RefusedRun)
	}
	return x
}

// withJobs says of the drives of a listing what jobs make of them. Where that is not known, or not yet, the drives are there all the same.
func (s *Service) withJobs(ctx context.Context, d api.Drives) api.Drives {
	jobs, err := s.jobsSeen.get(ctx)
	if err != nil {
		s.log.Warn("what jobs left of drives is not told", "err", err)
		return d
	}
	d.Items = api.Beside(d.Items, jobs)
	return d
}

// staleLooks makes the next who looks look anew.
func (s *Service) staleLooks() {
	s.listing.stale()
	s.jobsSeen.stale()
}

// withWork says of the drives of a listing, which may be a little older, which of them this process's jobs are at work on now. The
// listing itself, which others are shown too, stays as it was.
func (s *Service) withWork(d api.Drives) api.Drives {
	jobs := map[devices.ID]string{}
	for job, r := range s.atWork() {
		r.mu.Lock()
		for id := range r.atWork {
			jobs[id] = job
		}
		r.mu.Unlock()
	}
	if len(jobs) == 0 {
		return d
	}
	d.Items = slices.Clone(d.Items)
	for n, item := range d.Items {
		if job := jobs[item.ID]; job != "" {
			d.Items[n] = api.Busy(item, job)
		}
	}
	return d
}
