package service

import (
	"context"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/boot"
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

// begun is a job that counts for an hour.
type begun struct {
	job string
	at  time.Time // by this process' clock, which nobody sets
}

func (s *Service) count(job string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = append(s.begun, begun{job, at})
}

// uncount is of a job that was refused before it was one.
func (s *Service) uncount(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = slices.DeleteFunc(s.begun, func(b begun) bool { return b.job == job })
}

// bootOf is a moment as it is kept with a job; rounded so that the job is no older than it is.
func bootOf(m boot.Moment) *agent.Boot {
	if m.ID == "" {
		return nil
	}
	return &agent.Boot{ID: m.ID, UpSeconds: int64((m.Up + time.Second - 1) / time.Second)}
}

// age is how long ago a job began. Within one start of the host no clock that can be set is asked. Across a start it is what the
// host's clock says, and at least as long as the host is up: nothing tells how long it was off.
func age(by agent.Started, now boot.Moment, clock time.Time) time.Duration {
	var least time.Duration
	if by.Boot != nil {
		passed, known := now.Since(boot.Moment{ID: by.Boot.ID, Up: time.Duration(by.Boot.UpSeconds) * time.Second})
		if known {
			return passed
		}
		least = passed
	}
	return max(0, least, clock.Sub(by.At))
}

// recallCaps counts the jobs that an earlier service began lately.
func (s *Service) recallCaps() error {
	jobs, err := s.Agent.JobNames()
	if err != nil {
		return err
	}
	now := boot.Now()
	for _, job := range jobs {
		by, err := s.Agent.StartedBy(job)
		if err != nil {
			s.log.Error("a job is counted as if it had begun now", "err", err)
			by = agent.Started{By: "unknown", At: s.clock()}
		}
		if by.By == "" {
			continue
		}
		if old := age(by, now, s.clock()); old < time.Hour {
			s.count(job, time.Now().Add(-old))
		}
	}
	return nil
}

// sizeOfHost is how many drives the host has, where a cap asks for that.
func (s *Service) sizeOfHost(ctx context.Context) (int, error) {
	if s.Caps.ShareOfHost == 100 {
		return 0, nil
	}
	listed, err := s.Host.Drives(ctx)
	return len(listed), err
}

// withinCaps says whether one more job of a plan is too much, on a host of so many drives. It is called with starting held.
func (s *Service) withinCaps(p sanitize.Plan, host int) error {
	if n := len(p.Drives); n > s.Caps.DrivesPerJob {
		return api.Refusef("cap_drives", "make several plans", "the plan has %d drives, and a job has at most %d here", n, s.Caps.DrivesPerJob)
	}
	s.mu.Lock()
	s.begun = slices.DeleteFunc(s.begun, func(b begun) bool { return time.Since(b.at) >= time.Hour })
	n, busy := len(s.begun), 0
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
	if most := host * s.Caps.ShareOfHost / 100; busy+len(p.Drives) > most {
		return api.Refusef("cap_share", "wait until others are done", "%d drives are in jobs, and with this plan's %d more than %d %% of the host's %d would be", busy, len(p.Drives), s.Caps.ShareOfHost, host)
	}
	return nil
}
