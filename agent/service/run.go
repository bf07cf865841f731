package service

import (
	"context"
	"sync"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// run is a job that this process is at work on.
type run struct {
	job    string
	plan   sanitize.Plan
	cancel context.CancelCauseFunc
	hub    *hub
	done   chan struct{} // closed when nobody is at work on it any more
	missed bool          // drives came or went meanwhile; guarded by the service's mu

	mu     sync.Mutex // guards the rest
	atWork map[devices.ID]*sanitize.Meter
	open   map[devices.ID]bool // drives that it has not let go of
}

// busy is how many of its drives it has not let go of yet.
func (r *run) busy() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// holds says whether it has not let go of a drive yet.
func (r *run) holds(id devices.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open[id]
}

func idsOf(drives []sanitize.DrivePlan) map[devices.ID]bool {
	ids := map[devices.ID]bool{}
	for _, d := range drives {
		ids[d.ID] = true
	}
	return ids
}

// reading is how far a drive is, where it is worked on.
func (r *run) reading(id devices.ID) (sanitize.Reading, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.atWork[id]
	if m == nil {
		return sanitize.Reading{}, false
	}
	return m.Read(), true
}

// launch begins the work of a job, and returns when it has begun or was refused. first, if any, is done right before, when nobody can
// cancel the job meanwhile.
func (s *Service) launch(job string, p sanitize.Plan, pins map[devices.ID]string, first func() error, do func(context.Context, agent.Observer) (agent.Job, error)) error {
	began, err := s.begin(job, p, pins, first, do)
	if err != nil {
		return err
	}
	return <-began
}

// begin is launch for those who cannot wait: what came of it comes by the channel, once.
func (s *Service) begin(job string, p sanitize.Plan, pins map[devices.ID]string, first func() error, do func(context.Context, agent.Observer) (agent.Job, error)) (<-chan error, error) {
	lastHalt := "" // before the job asks whether one holds
	if !s.Resident {
		var err error
		if lastHalt, err = s.Agent.LastHalt(); err != nil {
			return nil, err
		}
	}
	hub, err := newHub(job, p.Drives, func(d sanitize.DrivePlan) string { return s.Agent.JournalOf(job, d) })
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(s.Until)
	r := &run{job: job, plan: p, cancel: cancel, hub: hub, done: make(chan struct{}), atWork: map[devices.ID]*sanitize.Meter{}, open: idsOf(p.Drives)}
	if err := s.register(r, first); err != nil {
		cancel(nil)
		return nil, err
	}
	s.PINs.put(job, p.Drives, pins)
	began := make(chan error, 1)
	go func() {
		defer s.lives.Done()
		j, err := do(ctx, s.observer(r, began))
		if j.ID != "" {
			s.remember(j)
		}
		s.ended(r, j.ID != "")
		cancel(nil)
		select {
		case began <- err:
		default: // it had begun: what came of each drive is with the drives
			if err != nil {
				s.log.Error("job ended", "job", job, "err", err)
			}
		}
	}()
	ticks, stop := context.WithCancel(ctx)
	every := progressEvery
	if !s.Resident {
		every = progressHere
	}
	s.lives.Go(func() { r.progress(ticks, every, s.tell) })
	if !s.Resident {
		s.lives.Go(func() { s.awaitHalt(ticks, r, lastHalt) })
	}
	go func() { <-r.done; stop() }()
	return began, nil
}

// register takes a job among those that run.
func (s *Service) register(r *run, first func() error) error {
	s.deciding.Lock()
	defer s.deciding.Unlock()
	if first != nil {
		if err := s.mayRun(r.job); err != nil {
			return err
		}
		if err := first(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayRunNow(r.job); err != nil {
		return err
	}
	s.running[r.job] = r
	delete(s.resuming, r.job)
	delete(s.ends, r.job)
	delete(s.stopped, r.job)
	s.lives.Add(1)
	return nil
}

// mayRun says why a job must not be run, since that was asked for.
func (s *Service) mayRun(job string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mayRunNow(job)
}

// mayRunNow is mayRun with mu held.
func (s *Service) mayRunNow(job string) error {
	if err := s.workingNow(); err != nil {
		return err
	}
	if s.running[job] != nil {
		return api.Refusef("busy", "expunge watch "+job+" follows it (GET /v1/jobs/"+job+"/events)", "job %s is being run", job)
	}
	return nil
}

// observer passes on what happens in a job.
func (s *Service) observer(r *run, began chan<- error) agent.Observer {
	return agent.Observer{
		Planned: func(drives []sanitize.DrivePlan) {
			r.mu.Lock()
			r.open = idsOf(drives)
			r.mu.Unlock()
			began <- nil
		},
		Begun: func(d sanitize.DrivePlan, m *sanitize.Meter) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.atWork[d.ID] = m
		},
		Recorded: func(d sanitize.DrivePlan, x journal.Record) {
			if err := r.hub.record(d.ID, x); err != nil {
				s.log.Error("a record cannot be told", "job", r.job, "err", err)
			}
			s.tell(recordEvent(r.job, d, x))
		},
		Ended: func(result agent.DriveResult) {
			r.mu.Lock()
			delete(r.atWork, result.Drive.ID)
			delete(r.open, result.Drive.ID)
			r.mu.Unlock()
			if err := r.hub.driveEnded(result); err != nil {
				s.log.Error("a drive's end cannot be told", "job", r.job, "err", err)
			}
			if !result.Before {
				s.tellEnd(r.job, api.DriveOf(result))
			}
		},
	}
}

func (s *Service) tellEnd(job string, d api.JobDrive) {
	s.tell(api.Event{Type: api.EventDrive, Job: job, ID: d.ID, Serial: d.Serial, Drive: &d})
}

func (s *Service) tell(e api.Event) {
	if s.Told.Event != nil {
		s.Told.Event(e)
	}
}

// ended is called when nobody is at work on a job any more; worked says whether anybody was.
func (s *Service) ended(r *run, worked bool) {
	s.PINs.forget(r.job)
	s.staleLooks()
	s.mu.Lock()
	delete(s.running, r.job)
	s.settle(r.job)
	again := r.missed && !s.closing
	s.mu.Unlock()
	r.hub.end()
	close(r.done)
	if again {
		s.lives.Go(func() {
			if err := s.lookAgain(context.Background()); err != nil {
				s.log.Error("the host changed and cannot be looked at", "err", err)
			}
		})
	}
	if worked && s.Told.JobEnded != nil {
		if j, err := s.job(r.job); err == nil {
			s.Told.JobEnded(j)
		}
	}
}

// How often it is told how far drives are: others, and a person who looks at a terminal.
const (
	progressEvery = time.Second
	progressHere  = time.Second / 4
)

// progress tells how far the drives of a job are, until ctx ends.
func (r *run) progress(ctx context.Context, every time.Duration, tell func(api.Event)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var list []api.Event
		for _, d := range r.plan.Drives {
			if reading, is := r.reading(d.ID); is {
				e := api.Event{Type: api.EventProgress, Job: r.job, ID: d.ID, Serial: d.Serial, Reading: &reading}.Encoded()
				list = append(list, e)
				tell(e)
			}
		}
		r.hub.tick(list)
	}
}
