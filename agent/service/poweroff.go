package service

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
)

// lookWaits is how long whoever asks about the host's power waits for the look at state and sink. A sink that does not answer holds
// the look up, and what was not looked at is not safe.
const lookWaits = 5 * time.Second

// look is one look at what speaks against taking the host's power. All who ask meanwhile share it.
type look struct {
	done  chan struct{}
	names []string // of the jobs that there were, sorted
	why   []devices.Reason
	err   error // the state cannot be read

	jobs, judged atomic.Int64 // how many there are to be judged, and how many were
}

// soFar says how far the look is.
func (l *look) soFar() string {
	jobs, judged := l.jobs.Load(), l.judged.Load()
	switch {
	case judged < jobs:
		return fmt.Sprintf("journals and certificates are still being looked at, of %d of %d jobs so far", judged, jobs)
	case jobs > 0:
		return fmt.Sprintf("journals and certificates of %d jobs were looked at; log and sink still are", jobs)
	}
	return "state and sink are still being looked at"
}

// powerOff says why the host must keep its power: jobs that are not at their end, certificates that are not made, evidence that is
// not, or not any more, where the configuration wants it. The error is that the state cannot be read, which is a reason, too.
func (s *Service) powerOff(ctx context.Context) ([]devices.Reason, error) {
	late := time.NewTimer(lookWaits)
	defer late.Stop()
	for {
		s.mu.Lock()
		if s.closing {
			s.mu.Unlock()
			return []devices.Reason{stopping}, nil
		}
		l := s.lookNow()
		s.mu.Unlock()
		var why []devices.Reason
		var err error
		select {
		case <-l.done:
			why, err = slices.Clone(l.why), l.err
		case <-late.C:
			why = []devices.Reason{{Code: "unknown", Message: l.soFar(), Hint: "ask again; if it stays so, look whether state and sink answer"}}
		case <-ctx.Done():
			why = []devices.Reason{{Code: "unknown", Message: context.Cause(ctx).Error()}}
		}
		// What has begun since the look did.
		for job := range s.atWork() {
			if r := runs(job); !slices.Contains(why, r) {
				why = append(why, r)
			}
		}
		if len(why) > 0 {
			return why, err
		}
		// What has begun since, and is at its end by now: what it left was not looked at.
		names, err := s.Agent.JobNames()
		if err != nil {
			return []devices.Reason{unreadableState(err)}, err
		}
		if !slices.ContainsFunc(names, func(job string) bool { _, looked := slices.BinarySearch(l.names, job); return !looked }) {
			return nil, nil
		}
	}
}

func unreadableState(err error) devices.Reason {
	return devices.Reason{Code: "unknown", Message: err.Error(), Hint: "look at the state directory"}
}

// stopping is why nothing is known when nobody looks any more.
var stopping = devices.Reason{Code: "unknown", Message: "the agent is about to stop", Hint: "ask it again when it has started"}

// isClosing says whether the service ends.
func (s *Service) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// lookNow is the look that is under way, or begins one. It is called with mu held, while the service does not close.
func (s *Service) lookNow() *look {
	l := s.looking
	if l == nil {
		l = &look{done: make(chan struct{})}
		s.looking = l
		s.lives.Go(func() { s.look(l) })
	}
	return l
}

// lookEarly begins a look for those who will ask: after a start every certificate is verified.
func (s *Service) lookEarly() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.lookNow()
	}
}

func runs(job string) devices.Reason {
	return devices.Reason{Code: agent.ReasonRunning, Message: "job " + job + " is being run", Hint: "wait for it; cancelling it leaves its drives with data"}
}

func runsElsewhere(job string) devices.Reason {
	return devices.Reason{Code: agent.ReasonRunning, Message: "job " + job + " is being run by another process", Hint: "wait for it: expunge watch " + job}
}

// look looks.
func (s *Service) look(l *look) {
	defer func() {
		s.mu.Lock()
		s.looking = nil
		s.mu.Unlock()
		close(l.done)
	}()
	defer func() {
		// It may have been moved while it was read.
		if err := s.StateStands(); err != nil {
			l.why = []devices.Reason{stateReason(err)}
		}
	}()
	if err := s.StateStands(); err != nil {
		l.why = []devices.Reason{stateReason(err)}
		return // nothing that is there is this agent's: it is not copied to the sink either
	}
	names, err := s.Agent.JobNames()
	l.names = names
	if err != nil {
		l.err = err
		l.why = append(l.why, unreadableState(err))
		return
	}
	running := s.atWork()
	for _, job := range names {
		if running[job] != nil {
			l.why = append(l.why, runs(job))
		}
	}
	ended := slices.DeleteFunc(slices.Clone(names), func(job string) bool { return running[job] != nil })
	l.jobs.Store(int64(len(ended)))
	l.why = append(l.why, s.kept.look(ended, len(running) == 0, true, func() { l.judged.Add(1) }, s.isClosing)...)
	kept, err := anyIn(s.Agent.KeptBeside()) // records of no job, too
	if err != nil {
		l.why = append(l.why, unreadableState(err))
	}
	if (len(names) > 0 || kept) && s.volatile() && s.Sink == "" && !s.AcceptVolatile {
		l.why = append(l.why, devices.Reason{Code: "state_volatile", Message: "the state is kept in memory", Hint: "copy it elsewhere first"})
	}
}

// settle has the evidence of a job that has ended brought where it should be, and, when no job runs, what it is audited by. Nobody waits
// for it but Close: a sink may not answer. It is called with mu held, by who is one of the service's lives, or while it does not close.
func (s *Service) settle(job string) {
	if !s.Resident {
		return // nobody asks
	}
	still := len(s.running) == 0
	s.lives.Go(func() {
		for _, r := range s.kept.look([]string{job}, still, false, func() {}, func() bool { return false }) {
			if r.Code != reasonUnfinished { // that is no fault of what is kept
				s.log.Error("the evidence of a job is not where it should be", "job", job, "why", r.Message)
			}
		}
	})
}
