package service

import (
	"context"
	"sync"
	"time"

	"github.com/expunge-dev/expunge/devices"
)

// watchAgain is how long it takes until what could not be done for the host is tried again. Jobs that could not be gone on with are tried
// after twice as long each time, up to adoptMost as long: each time is recorded.
const (
	watchAgain = 30 * time.Second
	adoptMost  = 20
)

// Watch goes on with unfinished jobs, and looks after the host until ctx ends: jobs that wait for a drive go on when it comes. What
// cannot be done is a problem of Health until it can.
func (s *Service) Watch(ctx context.Context) {
	s.lookEarly()
	if err := s.Adopt(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("unfinished jobs are not gone on with; it is tried again", "err", err)
	}
	var adopts sync.WaitGroup
	defer adopts.Wait()
	adopts.Go(func() { s.adoptAgain(ctx) })
	for {
		err := s.Host.Changes(ctx, func(c devices.Change) { s.changed(ctx, c) })
		if ctx.Err() != nil {
			return
		}
		s.log.Error("changes of the host are not noticed; it is tried again", "err", err)
		s.HotPlug(notNoticed + err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.watchAgain):
		}
	}
}

// notNoticed is before why changes of the host are not noticed.
const notNoticed = "not: "

// changed is told of what may have changed in the host.
func (s *Service) changed(ctx context.Context, c devices.Change) {
	how := string(c.Source)
	if c.Why != nil {
		how += ": " + c.Why.Error()
	}
	s.HotPlug(how)
	if c.Begun {
		c.Lost = true // what came since the jobs were gone on with, or since changes were noticed last
	}
	s.log.Debug("host changed", "by", string(c.Source), "events", c.Events, "malformed", c.Malformed, "lost", c.Lost, "names", c.Names)
	if err := s.HostChanged(ctx, c); err != nil && ctx.Err() == nil {
		s.log.Error("the host changed and cannot be looked at", "err", err)
	}
	if c.Begun {
		if _, err := s.listing.get(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("the host cannot be looked at", "err", err)
		}
	}
}

// adoptAgain goes on with unfinished jobs where that could not be done, until ctx ends.
func (s *Service) adoptAgain(ctx context.Context) {
	for pause := s.watchAgain; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		s.mu.Lock()
		left := s.unadopted
		s.mu.Unlock()
		if left == nil {
			pause = s.watchAgain
			continue
		}
		pause = min(2*pause, adoptMost*s.watchAgain)
		if err := s.Adopt(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("unfinished jobs are still not gone on with", "err", err)
		}
	}
}
