package service

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// A service that is not resident is that of one command: of a person at the host, who names and confirms drives, and waits. It makes
// no file but those of jobs: its plans are held in memory, and there is no audit file. Halts, approvals and rules hold as for anybody; of
// approvers it knows none.

// noCaps: they bound what others can do to a host without anybody looking on.
var noCaps = Caps{DrivesPerJob: math.MaxInt, JobsPerHour: math.MaxInt, ShareOfHost: 100}

// Hold takes a plan, as one from a file that another state may have made, so that it can be started. What it says of drives is judged
// again when it is. A resident service starts no plans but those that it made.
func (s *Service) Hold(p sanitize.Plan) (api.Plan, error) {
	if s.Resident {
		return api.Plan{}, errors.New("hold plan: a resident service has its own")
	}
	s.mu.Lock()
	s.held[p.ID] = p
	s.mu.Unlock()
	return s.told(p, nil), nil
}

func (s *Service) holds(id string) (sanitize.Plan, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, held := s.held[id]
	return p, held
}

// Reading says how far a drive is that this process works on, now: events say so from time to time.
func (s *Service) Reading(job string, id devices.ID) (sanitize.Reading, bool) {
	s.mu.Lock()
	r := s.running[job]
	s.mu.Unlock()
	if r == nil {
		return sanitize.Reading{}, false
	}
	return r.reading(id)
}

// remember keeps what the files of a job do not say: why this process, which was at work on it, did not get further.
func (s *Service) remember(j agent.Job) {
	if s.Resident && j.ManifestErr == nil && !slices.ContainsFunc(j.Drives, func(r agent.DriveResult) bool { return r.Err != nil }) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[j.ID] = j
}

// recall adds it, as long as the files say nothing newer.
func (s *Service) recall(j agent.Job) agent.Job {
	if j.Problem != nil {
		return j
	}
	s.mu.Lock()
	last := s.ends[j.ID]
	s.mu.Unlock()
	if j.Manifest == "" && j.ManifestErr == nil {
		open := slices.ContainsFunc(j.Drives, func(r agent.DriveResult) bool { return !r.Finished() && !r.Unreadable() })
		if j.Manifest = s.Agent.ManifestOf(j.ID); j.Manifest == "" && !open { // which none is due of
			j.ManifestErr = last.ManifestErr
		}
	}
	for i, then := range last.Drives { // of the same plan
		if now := &j.Drives[i]; !then.Unreadable() && then.Outcome == now.Outcome && then.Certificate == now.Certificate && now.Err == nil {
			now.Err = then.Err
			if len(then.Reasons) > 0 && then.Reasons[0].Code == agent.ReasonNoRoom {
				now.Reasons = then.Reasons // no file could take it
			}
		}
	}
	return j
}

// isElsewhere says whether a job is to be watched that another process runs, or that drives go on with by themselves.
func (s *Service) isElsewhere(job string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, here := s.ends[job]
	return !s.Resident && !here
}

// elsewhere is what was told of such a job.
type elsewhere struct {
	meters map[devices.ID]*sanitize.Meter
	ended  map[devices.ID]bool
}

// look tells how the job goes now, and says whether it goes on. The watcher may have gone.
func (e elsewhere) look(ctx context.Context, a *agent.Agent, job string, yield func(api.Event, error) bool) (goesOn, there bool) {
	j, goesOn, err := a.Look(ctx, job, e.meters)
	if err != nil {
		yield(api.Event{}, err)
		return false, false
	}
	for _, r := range j.Drives {
		d := api.DriveOf(r)
		x := api.Event{Type: api.EventProgress, Job: job, ID: d.ID, Serial: d.Serial}
		if m := e.meters[d.ID]; m != nil {
			reading := m.Read()
			x.Reading = &reading
		} else if !r.Finished() || e.ended[d.ID] {
			continue
		} else {
			e.ended[d.ID], x.Type, x.Drive = true, api.EventDrive, &d
		}
		if !yield(x, nil) {
			return false, false
		}
	}
	return goesOn, true
}
