package service

import (
	"context"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// claims are drives of which somebody judges what may be done with them: a job that is about to begin, to go on or to be given up.
// Of those who want one drive the later waits, and then judges what the former has made of it; others are held up by nothing that
// a drive does.
type claims map[devices.ID]chan struct{}

// claim waits for the drives of a plan, all of them at once, until ctx ends. They are given back by the function that it returns.
func (s *Service) claim(ctx context.Context, drives []sanitize.DrivePlan) (release func(), err error) {
	mine := make(chan struct{})
	for {
		s.mu.Lock()
		var theirs chan struct{}
		for _, d := range drives {
			if c := s.claimed[d.ID]; c != nil {
				theirs = c
				break
			}
		}
		if theirs == nil {
			for _, d := range drives {
				s.claimed[d.ID] = mine
			}
			s.mu.Unlock()
			return func() { s.unclaim(drives, mine) }, nil
		}
		s.mu.Unlock()
		select {
		case <-theirs:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *Service) unclaim(drives []sanitize.DrivePlan, mine chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range drives {
		if s.claimed[d.ID] == mine {
			delete(s.claimed, d.ID)
		}
	}
	close(mine)
}
