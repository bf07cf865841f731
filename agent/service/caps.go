package service

import (
	"context"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/sanitize"
)

// Caps bound what a mistake can do. What is over them is refused, never kept waiting. They can be set higher or lower, and not
// switched off.
type Caps struct {
	DrivesPerJob int // 0 is 100
	JobsPerHour  int // 0 is 60
	ShareOfHost  int // of all drives of the host, in percent, how many may be in jobs at once; 0 is 100
}

func (c Caps) orDefault() Caps {
	if c.DrivesPerJob <= 0 {
		c.DrivesPerJob = 100
	}
	if c.JobsPerHour <= 0 {
		c.JobsPerHour = 60
	}
	if c.ShareOfHost <= 0 || c.ShareOfHost > 100 {
		c.ShareOfHost = 100
	}
	return c
}

// recallCaps counts the jobs that an earlier service began lately. Of what the clock says, only differences of this process' are
// used later: setting it forward frees nothing.
func (s *Service) recallCaps() error {
	jobs, err := s.Agent.JobNames()
	if err != nil {
		return err
	}
	for _, job := range jobs {
		by, err := s.Agent.StartedBy(job)
		if err != nil {
			s.log.Error("a job is counted as if it had begun now", "err", err)
			by = agent.Started{By: "unknown", At: s.clock()}
		}
		if by.By == "" {
			continue
		}
		if age := s.clock().Sub(by.At); age < time.Hour {
			s.begun = append(s.begun, time.Now().Add(-max(0, age)))
		}
	}
	return nil
}

// withinCaps says whether one more job of a plan is too much. It is called with starting held.
func (s *Service) withinCaps(ctx context.Context, p sanitize.Plan) error {
	if n := len(p.Drives); n > s.Caps.DrivesPerJob {
		return api.Refusef("cap_drives", "make several plans", "the plan has %d drives, and a job has at most %d here", n, s.Caps.DrivesPerJob)
	}
	s.mu.Lock()
	recent := s.begun[:0]
	for _, at := range s.begun {
		if time.Since(at) < time.Hour {
			recent = append(recent, at)
		}
	}
	s.begun = recent
	n, busy := len(recent), 0
	for _, r := range s.running {
		busy += r.busy()
	}
	s.mu.Unlock()
	if n >= s.Caps.JobsPerHour {
		return api.Refusef("cap_jobs", "wait, or have an administrator look at why there are so many", "%d jobs began within an hour, and no more may", n)
	}
	if s.Caps.ShareOfHost == 100 {
		return nil
	}
	listed, err := s.Host.Drives(ctx)
	if err != nil {
		return err
	}
	if most := len(listed) * s.Caps.ShareOfHost / 100; busy+len(p.Drives) > most {
		return api.Refusef("cap_share", "wait until others are done", "%d drives are in jobs, and with this plan's %d more than %d %% of the host's %d would be", busy, len(p.Drives), s.Caps.ShareOfHost, len(listed))
	}
	return nil
}
