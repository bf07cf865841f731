package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
	"github.com/expunge-dev/expunge/sanitize"
)

// errHalted is the cause by which jobs stop when the agent is halted.
var errHalted = errors.New("the agent was halted; it goes on with the job when that is ended")

// readHalt recalls a halt. One whose file is damaged holds.
func (s *Service) readHalt() (api.Halt, error) {
	var h api.Halt
	data, err := os.ReadFile(s.path(agent.HaltName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.Halt{GoesOn: []api.CancelledDrive{}}, nil
	case err != nil:
		return h, fmt.Errorf("halt: %w", err)
	}
	err = strict.Decode(data, &h)
	if err == nil && (h.By == "" || h.Since == "") {
		err = errors.New("it does not say by whom and since when")
	}
	if err != nil {
		h = api.Halt{HaltRequest: api.HaltRequest{Halted: true, Reason: "the note of a halt is damaged: " + err.Error()}, By: "unknown"}
	}
	h.GoesOn = []api.CancelledDrive{}
	return h, nil
}

// Halt stops the agent from beginning anything destructive: no job begins, and those that run stop before their next request.
// Drives that erase themselves go on. Ending a halt is for those who approve, and goes on with the jobs that it stopped.
func (s *Service) Halt(ctx context.Context, r api.HaltRequest) (api.Halt, error) {
	action, role := "halt", api.Operate
	if !r.Halted {
		action, role = "halt.end", api.Approve
	}
	if err := s.may(ctx, role, action, ""); err != nil {
		return api.Halt{}, err
	}
	x := Action{Action: action, Detail: bounded(r.Reason)}
	if r.Halted && r.Reason == "" || len(r.Reason) > 500 {
		return api.Halt{}, s.refuse(ctx, x, &sanitize.RequestError{Field: "reason", Why: "others must be able to read why, in at most 500 characters"})
	}
	s.halting.Lock() // record, file and memory say the same
	defer s.halting.Unlock()
	// It takes effect even when it cannot be recorded: a full disk must not keep anybody from halting.
	noted := s.allow(ctx, x)
	if noted != nil && !r.Halted {
		return api.Halt{}, noted
	}
	h := api.Halt{HaltRequest: r, By: api.PrincipalOf(ctx).Name, Since: s.clock().Format(time.RFC3339), GoesOn: []api.CancelledDrive{}}
	data, err := json.Marshal(h)
	if err == nil {
		err = durable.WriteFile(s.path(agent.HaltName), append(data, '\n'), 0o600)
	}
	if err != nil && !r.Halted {
		return api.Halt{}, fmt.Errorf("end of the halt: %w", err)
	}
	s.mu.Lock()
	s.halt = h
	var stopping []*run
	if r.Halted {
		for _, x := range s.running {
			stopping = append(stopping, x)
		}
	}
	s.mu.Unlock()
	for _, x := range stopping {
		h.GoesOn = append(h.GoesOn, x.goOn()...)
		x.cancel(errHalted)
	}
	for _, x := range stopping {
		s.waitFor(ctx, x)
	}
	if !r.Halted {
		return h, s.Adopt(ctx)
	}
	if err = errors.Join(noted, err); err != nil {
		return h, fmt.Errorf("the agent is halted, until it ends: that could not be kept: %w", err)
	}
	return h, nil
}

// Halted is whether the agent is halted now.
func (s *Service) Halted(ctx context.Context) (api.Halt, error) {
	if err := s.may(ctx, api.Read, "halt.read", ""); err != nil {
		return api.Halt{}, err
	}
	s.mu.Lock()
	h := s.halt
	var running []*run
	for _, r := range s.running {
		running = append(running, r)
	}
	s.mu.Unlock()
	h.GoesOn = []api.CancelledDrive{}
	if !h.Halted {
		return h, nil
	}
	for _, r := range running {
		h.GoesOn = append(h.GoesOn, r.goOn()...)
	}
	return h, nil
}
