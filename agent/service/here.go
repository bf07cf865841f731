package service

import (
	"context"
	"errors"
	"math"

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

// ends is what the files of a job do not say: why this process did not get further with it.
type ends struct {
	manifest error
	drives   []agent.DriveResult // those with an error, without their evidence
}

// remember keeps that of a job that this process was at work on.
func (s *Service) remember(j agent.Job) {
	e := ends{manifest: j.ManifestErr}
	for _, d := range j.Drives {
		if d.Err != nil {
			d.Evidence = nil
			e.drives = append(e.drives, d)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[j.ID] = e
}

// recall adds it, as long as the files say nothing newer.
func (s *Service) recall(j agent.Job) agent.Job {
	if j.Problem != nil {
		return j
	}
	s.mu.Lock()
	e := s.ends[j.ID]
	s.mu.Unlock()
	if j.Manifest == "" && j.ManifestErr == nil {
		if j.Manifest = s.Agent.ManifestOf(j.ID); j.Manifest == "" {
			j.ManifestErr = e.manifest
		}
	}
	for i := range j.Drives {
		now := &j.Drives[i]
		for _, then := range e.drives {
			if then.Drive.ID == now.Drive.ID && then.Outcome == now.Outcome && then.Certificate == now.Certificate && now.Err == nil {
				now.Err = then.Err
			}
		}
	}
	return j
}

// elsewhere says whether a job is to be watched that another process runs, or that drives go on with by themselves.
func (s *Service) elsewhere(job string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, here := s.ends[job]
	return !s.Resident && !here
}

// watchElsewhere tells how such a job goes. It returns false when the watcher has gone.
func (s *Service) watchElsewhere(ctx context.Context, job string, yield func(api.Event, error) bool) bool {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	there := true
	tell := func(e api.Event) {
		if there = there && yield(e, nil); !there {
			stop()
		}
	}
	var atWork []sanitize.DrivePlan
	meters := map[devices.ID]*sanitize.Meter{}
	_, err := s.Agent.Watch(looking, job, agent.Observer{
		Begun: func(d sanitize.DrivePlan, m *sanitize.Meter) { atWork, meters[d.ID] = append(atWork, d), m },
		Ended: func(r agent.DriveResult) {
			delete(meters, r.Drive.ID)
			d := api.DriveOf(r)
			tell(api.Event{Type: api.EventDrive, Job: job, ID: d.ID, Serial: d.Serial, Drive: &d})
		},
		Looked: func() {
			for _, d := range atWork {
				if m := meters[d.ID]; m != nil {
					reading := m.Read()
					tell(api.Event{Type: api.EventProgress, Job: job, ID: d.ID, Serial: d.Serial, Reading: &reading})
				}
			}
		},
	})
	if err == nil {
		err = context.Cause(ctx)
	}
	if there && err != nil {
		yield(api.Event{}, err)
	}
	return there && err == nil
}
