package service

import (
	"slices"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// beside says of the drives of a look at the host what jobs make of them. Where these cannot be read, the drives are there all the same.
func (s *Service) beside(d api.Drives) api.Drives {
	jobs, err := s.jobs()
	if err != nil {
		s.log.Error("jobs cannot be read", "err", err)
		return d
	}
	d.Items = api.Beside(d.Items, jobs)
	return d
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
