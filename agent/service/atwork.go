package service

import (
	"slices"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// beside returns what says of the drives of a look at the host what jobs make of them; looks come one after the other. Where jobs cannot
// be read, the drives are there all the same.
func (s *Service) beside() func(api.Drives) api.Drives {
	known := map[string]agent.Job{}
	return func(d api.Drives) api.Drives {
		jobs, err := s.Agent.JobsAgain(known)
		if err != nil {
			s.log.Error("jobs cannot be read", "err", err)
			return d
		}
		told := make([]api.Job, 0, len(jobs))
		for _, j := range jobs {
			told = append(told, api.JobOf(j))
		}
		d.Items = api.Beside(d.Items, told)
		return d
	}
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
