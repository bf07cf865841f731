package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
)

// Health says how the agent is, and whether the host may lose its power.
func (s *Service) Health(ctx context.Context) (api.Health, error) {
	if err := s.may(ctx, api.Read, "health", ""); err != nil {
		return api.Health{}, err
	}
	h := api.Health{Status: "ok", Version: s.Agent.Version(), Simulated: s.Agent.Simulated(), Started: s.started.UTC().Format(time.RFC3339), Problems: []devices.Reason{}, PowerOff: []devices.Reason{}}
	s.mu.Lock()
	h.HotPlug = s.hotPlug
	halt, beside, unadopted := s.halt, s.beside, s.unadopted
	h.Running = len(s.running)
	for _, r := range s.running {
		h.Drives += r.busy()
	}
	s.mu.Unlock()
	h.Halted = s.withNote(halt).Halted
	others, unknown := s.attendedElsewhere()
	if unknown != nil {
		h.Problems = append(h.Problems, devices.Reason{Code: "state", Message: "what other processes run: " + unknown.Error(), Hint: "look at the state directory"})
	}
	for _, j := range others {
		h.Running++
		for _, d := range j.Drives {
			if !d.Finished() {
				h.Drives++
			}
		}
	}
	why, err := s.powerOff(ctx)
	if err != nil {
		h.Problems = append(h.Problems, devices.Reason{Code: "state", Message: err.Error(), Hint: "look at the state directory"})
	}
	h.PowerOff = append(h.PowerOff, why...)
	h.SafeToPowerOff = len(why) == 0
	if free, err := durable.Free(s.Agent.Dir()); err != nil || free < lowRoom {
		h.Problems = append(h.Problems, devices.Reason{Code: "no_room", Message: fmt.Sprintf("the state directory has %d bytes left", free), Hint: "make room there"})
	}
	if durable.ReadOnly(s.Agent.Dir()) {
		h.Problems = append(h.Problems, readOnly)
	}
	if err := s.StateStands(); err != nil {
		h.Problems = append(h.Problems, stateReason(err))
	}
	if unadopted != nil {
		h.Problems = append(h.Problems, devices.Reason{Code: "not_adopted", Message: "unfinished jobs are not gone on with: " + unadopted.Error(), Hint: "it is tried again, within ten minutes; expunge jobs resume goes on with one now"})
	}
	if why, not := strings.CutPrefix(h.HotPlug, notNoticed); not {
		h.Problems = append(h.Problems, devices.Reason{Code: "hot_plug", Message: "drives that come and go are not noticed: " + why, Hint: "it is tried again every half a minute; a job that waits for its drive goes on by expunge jobs resume"})
	}
	h.Problems = append(h.Problems, s.auditProblems()...)
	if beside != nil {
		h.Problems = append(h.Problems, beside()...)
	}
	switch {
	case len(h.Problems) > 0:
		h.Status = "degraded"
	case h.Halted:
		h.Status = "halted"
	}
	return h, nil
}

// lowRoom is the free space below which the agent calls itself degraded.
const lowRoom = 64 << 20

// Answers returns as soon as what every answer needs is free. A service that is stuck does not return from it.
func (s *Service) Answers() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

// HotPlug notes how changes of the host are noticed, for Health.
func (s *Service) HotPlug(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hotPlug = how
}

// Beside notes who says what is wrong beside the service, such as with how others reach it, for Health.
func (s *Service) Beside(problems func() []devices.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beside = problems
}
