package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

// errHalted is the cause by which jobs stop when the agent is halted.
var errHalted = errors.New("the agent was halted; it goes on with the job when that is ended")

// haltNote is what the note of a halt says: whether one holds, and which was said last. By that, jobs of other processes stop for a halt
// that has ended before they looked.
type haltNote struct {
	api.Halt
	Last *agent.SaidHalt `json:"last,omitempty"`
}

// readHalt recalls a halt. One whose file is damaged, or cannot be read, holds.
func (s *Service) readHalt() haltNote {
	var h haltNote
	data, err := agent.ReadHalt(s.Agent.Dir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return haltNote{Halt: api.Halt{GoesOn: []api.CancelledDrive{}}}
	case err == nil && string(bytes.TrimSpace(data)) == neverHalted:
		return haltNote{Halt: api.Halt{GoesOn: []api.CancelledDrive{}}}
	}
	if err == nil {
		err = strict.Decode(data, &h)
	}
	if err == nil && (h.By == "" || h.Since == "") {
		err = errors.New("it does not say by whom and since when")
	}
	if err != nil {
		h = haltNote{Halt: api.Halt{HaltRequest: api.HaltRequest{Halted: true, Reason: "the note of a halt is damaged: " + err.Error()}, By: "unknown"}}
	}
	h.GoesOn = []api.CancelledDrive{}
	return h
}

// haltRoom is what the note of a halt takes on disk, from the first start of a service on: written in place it needs no room, so that a
// full disk keeps nobody from halting for good. A note that a cut has torn is damaged, and a damaged one holds. The longest note has two
// reasons and two names of what bounded leaves, each of up to six bytes in JSON for one.
const haltRoom = 16 << 10

// neverHalted is the note of a state in which nobody has halted yet.
const neverHalted = `{"halted":false}`

// keepHalt writes the note of a halt, or of its end, where there is room for it already, and else as a new file.
func (s *Service) keepHalt(h haltNote) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	name := s.path(agent.HaltName)
	inPlace := durable.Overwrite(name, append(data, '\n'), ' ')
	if inPlace == nil {
		return nil
	}
	if err := durable.WriteFile(name, padded(data), 0o600); err != nil {
		return errors.Join(inPlace, err)
	}
	return nil
}

// padded is a note as long as what is reserved for it, where it is not longer.
func padded(data []byte) []byte {
	data = append(data, '\n')
	return append(data, bytes.Repeat([]byte{' '}, max(0, haltRoom-len(data)))...)
}

// reserveHalt sees to it that there is room for the note of a halt. It changes nothing that the note says, and leaves one that is
// damaged as it is.
func (s *Service) reserveHalt() error {
	name := s.path(agent.HaltName)
	data, err := agent.ReadHalt(s.Agent.Dir())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		data = []byte(neverHalted)
	case err != nil:
		return err
	case len(data) >= haltRoom || !json.Valid(data):
		return nil
	}
	return durable.WriteFile(name, padded(bytes.TrimSpace(data)), 0o600)
}

// Halt stops the agent from beginning anything destructive: no job begins, and those that run stop before their next request.
// Drives that erase themselves go on. Ending a halt is for those who approve, and goes on with unfinished jobs, but for those that a person stopped.
func (s *Service) Halt(ctx context.Context, r api.HaltRequest) (api.Halt, error) {
	action, role := "halt", api.Operate
	if !r.Halted {
		action, role = "halt.end", api.Approve
	}
	if err := s.may(ctx, role, action, ""); err != nil {
		return api.Halt{}, err
	}
	x := Action{Action: action, Detail: bounded(r.Reason)}
	if !r.Halted {
		return s.endHalt(ctx, x, r)
	}
	h, stopping := s.beginHalt(ctx, x, r)
	just := map[string]bool{}
	for _, x := range stopping {
		just[x.job] = true
	}
	waitFor(ctx, stopping...)
	var err error
	if h.GoesOn, err = s.goOnNow(just); err != nil {
		h.Problems = append(h.Problems, api.NotTold(err))
	}
	return h, h.Incomplete()
}

// beginHalt halts, and returns the jobs that have to stop. It takes effect at once, and also when it can be neither recorded nor kept: a
// disk that is full or does not answer must not keep anybody from halting.
func (s *Service) beginHalt(ctx context.Context, x Action, r api.HaltRequest) (api.Halt, []*run) {
	h := s.said(ctx, r)
	kept := h // problems are those of this answer
	stopping := s.haltNow(kept)
	s.halting.Lock() // record, file and memory say the same
	defer s.halting.Unlock()
	for _, r := range s.haltNow(kept) { // an earlier halt may have been ended meanwhile
		if !slices.Contains(stopping, r) {
			stopping = append(stopping, r)
		}
	}
	if err := s.record(ctx, x); err != nil {
		s.log.Error("the agent is halted, and that could not be recorded", "by", h.By, "err", err)
		h.Problems = append(h.Problems, devices.Reason{Code: api.CodeNotRecorded, Message: "it could not be recorded: " + err.Error(), Hint: "make room for the state, or look at its audit file"})
	}
	s.saidLast = &agent.SaidHalt{ID: rand.Text(), By: h.By, Since: h.Since, Reason: h.Reason}
	if err := s.keepHalt(haltNote{kept, s.saidLast}); err != nil {
		s.log.Error("the agent is halted until it ends: that could not be kept", "by", h.By, "err", err)
		h.Problems = append(h.Problems, devices.Reason{Code: "not_kept", Message: "it could not be kept, and ends with the agent: " + err.Error(), Hint: "make the state writable, and halt again"})
	}
	return h, stopping
}

// haltNow halts in memory, and tells the jobs that run to stop.
func (s *Service) haltNow(h api.Halt) []*run {
	s.mu.Lock()
	s.halt = h
	stopping := slices.Collect(maps.Values(s.running))
	s.mu.Unlock()
	for _, r := range stopping {
		r.cancel(errHalted)
	}
	return stopping
}

// said is what somebody says of a halt. It is not refused for what it gives as its reason: nobody who must halt looks for words.
func (s *Service) said(ctx context.Context, r api.HaltRequest) api.Halt {
	if r.Reason = bounded(r.Reason); r.Halted && r.Reason == "" {
		r.Reason = "no reason was given"
	}
	return api.Halt{HaltRequest: r, By: bounded(api.PrincipalOf(ctx).Name), Since: s.clock().Format(time.RFC3339), GoesOn: []api.CancelledDrive{}}
}

// endHalt ends a halt, and goes on with jobs; those that have not stopped yet, here or elsewhere, as soon as they have.
func (s *Service) endHalt(ctx context.Context, x Action, r api.HaltRequest) (api.Halt, error) {
	h, late, err := s.endNote(ctx, x, r)
	if err != nil {
		return api.Halt{}, err
	}
	for _, j := range late {
		s.adoptWhenLeft(j.ID, j.Plan)
	}
	return h, s.Adopt(context.WithoutCancel(ctx)) // whether or not somebody waits for the answer
}

// endNote ends a halt on disk and in memory. late are the jobs of others that still stop where they run.
func (s *Service) endNote(ctx context.Context, x Action, r api.HaltRequest) (h api.Halt, late []agent.Job, err error) {
	s.halting.Lock()
	defer s.halting.Unlock()
	if err := s.allow(ctx, x); err != nil {
		return h, nil, err
	}
	h = s.said(ctx, r)
	if late, err = s.attendedElsewhere(); err == nil {
		err = s.keepHalt(haltNote{h, s.saidLast})
	}
	if err != nil {
		return h, nil, s.refuse(ctx, x, fmt.Errorf("end of the halt: %w", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.halt = h
	for _, x := range s.running {
		x.missed = true // it stops still: when it has, the agent goes on with it
	}
	return h, late, nil
}

// withNote is a halt as it holds for whatever begins now: also one whose note somebody wrote or damaged since.
func (s *Service) withNote(h api.Halt) api.Halt {
	if h.Halted {
		return h
	}
	if held := s.Agent.Halted(); held != nil {
		return api.Halt{HaltRequest: api.HaltRequest{Halted: true, Reason: held.Reason}, By: held.By, Since: held.Since}
	}
	return h
}

// Halted is whether the agent is halted now.
func (s *Service) Halted(ctx context.Context) (api.Halt, error) {
	if err := s.may(ctx, api.Read, "halt.read", ""); err != nil {
		return api.Halt{}, err
	}
	s.mu.Lock()
	h := s.halt
	s.mu.Unlock()
	h = s.withNote(h)
	h.GoesOn = []api.CancelledDrive{}
	if !h.Halted {
		return h, nil
	}
	var err error
	if h.GoesOn, err = s.goOnNow(nil); err != nil {
		h.Problems = append(h.Problems, api.NotTold(err))
	}
	return h, h.Incomplete()
}
