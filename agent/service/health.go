package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// Health says how the agent is, and whether the host may lose its power.
func (s *Service) Health(ctx context.Context) (api.Health, error) {
	if err := s.may(ctx, api.Read, "health", ""); err != nil {
		return api.Health{}, err
	}
	h := api.Health{Status: "ok", Version: s.Agent.Version(), Simulated: s.Agent.Simulated(), Started: s.started.UTC().Format(time.RFC3339), Problems: []devices.Reason{}, PowerOff: []devices.Reason{}}
	s.mu.Lock()
	h.Halted, h.HotPlug = s.halt.Halted, s.hotPlug
	h.Running = len(s.running)
	for _, r := range s.running {
		h.Drives += r.busy()
	}
	s.mu.Unlock()
	why, err := s.powerOff()
	if err != nil {
		why = append(why, devices.Reason{Code: "unknown", Message: err.Error(), Hint: "look at the state directory"})
		h.Problems = append(h.Problems, devices.Reason{Code: "state", Message: err.Error(), Hint: "look at the state directory"})
	}
	h.PowerOff = append(h.PowerOff, why...)
	h.SafeToPowerOff = len(why) == 0
	if free, err := durable.Free(s.Agent.Dir()); err != nil || free < lowRoom {
		h.Problems = append(h.Problems, devices.Reason{Code: "no_room", Message: fmt.Sprintf("the state directory has %d bytes left", free), Hint: "make room there"})
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

// powerOff says why the host must keep its power: jobs that are not at their end, certificates that are not made, evidence that is
// not where the configuration wants it.
func (s *Service) powerOff() ([]devices.Reason, error) {
	names, err := s.Agent.JobNames()
	if err != nil {
		return nil, err
	}
	var why []devices.Reason
	for _, job := range names {
		s.mu.Lock()
		done, running := s.settled[job], s.running[job] != nil
		s.mu.Unlock()
		switch {
		case done:
		case running:
			why = append(why, devices.Reason{Code: "running", Message: "job " + job + " is being run", Hint: "wait for it; cancelling it leaves its drives with data"})
		default:
			reason, err := s.settle(job)
			if err != nil {
				reason = &devices.Reason{Code: "sink", Message: fmt.Sprintf("the evidence of job %s is not where it should be: %v", job, err), Hint: "look at the sink"}
			}
			if reason != nil {
				why = append(why, *reason)
			}
		}
	}
	if len(names) > 0 && s.volatile() && s.Sink == "" && !s.AcceptVolatile {
		why = append(why, devices.Reason{Code: "state_volatile", Message: "the state is kept in memory", Hint: "copy it elsewhere first"})
	}
	return why, nil
}

// settle sees to it that a job that has ended has its evidence where it should be. It says what is left to do.
func (s *Service) settle(job string) (*devices.Reason, error) {
	j, err := s.Agent.Job(job)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, d := range j.Drives {
		switch {
		case !d.Finished():
			return &devices.Reason{Code: "unfinished", Message: fmt.Sprintf("job %s is not at its end: drive %s holds data", job, d.Drive.Serial), Hint: "resume the job, or abandon it"}, nil
		case d.Certificate == "" && (d.Outcome != sanitize.RefusedRun || d.Evidence != nil && d.Evidence.IntentLeaf != ""):
			return &devices.Reason{Code: "uncertified", Message: fmt.Sprintf("job %s has no certificate of drive %s", job, d.Drive.Serial), Hint: "run: expunge certificate reissue " + job}, nil
		case d.Certificate != "":
			files = append(files, d.Certificate)
		}
		if d.Evidence != nil {
			files = append(files, s.Agent.JournalOf(job, d.Drive))
		}
	}
	if j.Manifest = s.Agent.ManifestOf(job); j.Manifest != "" {
		files = append(files, j.Manifest)
	}
	if err := s.sink(files); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled[job] = true
	return nil, nil
}

// sink copies files to the sink, under their names below the state's jobs, and reads them back.
func (s *Service) sink(files []string) error {
	if s.Sink == "" {
		return nil
	}
	if durable.Volatile(s.Sink) && !s.Agent.Simulated() {
		return fmt.Errorf("sink %s is kept in memory", s.Sink)
	}
	for _, name := range files {
		below, err := filepath.Rel(s.Agent.Dir(), name)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		to := filepath.Join(s.Sink, below)
		if err := durable.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		if err := durable.WriteFile(to, data, 0o600); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		switch copied, err := os.ReadFile(to); {
		case err != nil:
			return fmt.Errorf("sink: %w", err)
		case hexSHA256(copied) != hexSHA256(data):
			return errors.New("sink: " + to + " reads back otherwise than it was written")
		}
	}
	return nil
}

// HotPlug notes how changes of the host are noticed, for Health.
func (s *Service) HotPlug(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hotPlug = how
}
