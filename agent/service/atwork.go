package service

import (
	"cmp"
	"context"
	"maps"
	"os"
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
	files   []string
	were    []os.FileInfo // of its certificates: what people say of them later is in them
}

// same says whether nothing of a job has changed.
func (x seenJob) same() bool {
	if !x.rests {
		return false
	}
	now, err := stats(x.files)
	return err == nil && slices.EqualFunc(now, x.were, func(a, b os.FileInfo) bool {
		return a != nil && b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	})
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
			if !there || !x.same() {
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
	x := seenJob{created: j.Plan.Created, job: api.Job{ID: told.ID, State: told.State}, rests: err == nil && len(j.Drives) > 0}
	for i, r := range j.Drives {
		d := told.Drives[i]
		x.job.Drives = append(x.job.Drives, api.JobDrive{ID: d.ID, Outcome: d.Outcome, Words: d.Words, ExitStatus: d.ExitStatus})
		if r.Certificate != "" {
			x.files = append(x.files, r.Certificate)
		}
		x.rests = x.rests && r.Finished() && r.Err == nil && (r.Certificate != "" || r.Outcome == sanitize.RefusedRun)
	}
	if x.were, err = stats(x.files); err != nil {
		x.rests = false
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
