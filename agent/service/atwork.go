package service

import (
	"slices"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// ReasonBusy is the reason of a drive that a job is at work on.
const ReasonBusy = "busy"

// withWork says of the drives of a listing which of them this process's jobs are at work on: those are not ready for anything else.
// The listing itself, which others are shown too, stays as it was.
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
	for n := range d.Items {
		job := jobs[d.Items[n].ID]
		if job == "" {
			continue
		}
		item := &d.Items[n]
		if item.State == devices.StateReady {
			item.State = devices.StateInUse
		}
		item.Reasons = append([]devices.Reason{{Code: ReasonBusy, Message: "job " + job + " is at work on it", Hint: "expunge watch " + job + " follows it"}}, item.Reasons...)
	}
	return d
}
