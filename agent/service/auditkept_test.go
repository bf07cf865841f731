package service

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

func (s *site) problems(x *Service) []string {
	s.t.Helper()
	h, err := x.Health(s.ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var codes []string
	for _, p := range h.Problems {
		codes = append(codes, p.Code)
	}
	if (len(codes) > 0) != (h.Status == "degraded") {
		s.t.Errorf("%s with %v", h.Status, codes)
	}
	return codes
}

// Where the audit file is not the one that was written to, what acts is refused until it is back, and the agent says so at once.
func TestTheAuditFileIsTakenAway(t *testing.T) {
	for name, take := range map[string]func(name string) error{
		"removed":  os.Remove,
		"cut":      func(name string) error { return os.Truncate(name, 1) },
		"replaced": func(name string) error { return os.WriteFile(name+".other", nil, 0o600) },
		"emptied":  func(name string) error { return os.Truncate(name, 0) },
		"added to": func(name string) error {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, append(data, '\n'), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.drive("A", "", small)
			x := s.serve(nil)
			p := s.plan(x, sanitize.Request{}, "A")
			file := filepath.Join(s.state, ActionsName)
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Link(file, file+".kept"); err != nil {
				t.Fatal(err)
			}
			if err := take(file); err != nil {
				t.Fatal(err)
			}
			if name == "replaced" {
				if err := os.Rename(file+".other", file); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 {
				_, err = x.Start(s.ctx, starting(p))
				wantCode(t, err, "audit")
			}
			if jobs, err := x.Jobs(s.ctx); err != nil || len(jobs) > 0 || s.holds("A") == 0 {
				t.Fatalf("%d jobs, %v", len(jobs), err)
			}
			if codes := s.problems(x); !slices.Contains(codes, "audit") {
				t.Errorf("%v", codes)
			}
			// It is put back: the agent goes on with it.
			if err := os.Rename(file+".kept", file); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, was, 0o600); err != nil {
				t.Fatal(err)
			}
			if codes := s.problems(x); len(codes) > 0 {
				t.Errorf("%v", codes)
			}
			j := s.start(x, p)
			s.follow(x, j.ID, "")
			if list := s.actions(); list[len(list)-1].Action != "jobs.start" || list[0].Action != "plans.make" {
				t.Errorf("%+v", list)
			}
		})
	}
}

// An audit file that was taken away, or cut, while no agent ran is missed by the next, which goes on and says so, in the file too.
func TestTheAuditFileIsTakenAwayBetween(t *testing.T) {
	for name, c := range map[string]struct {
		take func(name string) error
		left int // records
	}{
		"removed": {os.Remove, 0},
		"cut": {func(name string) error { // whole records from its end: the chain holds
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.Truncate(name, int64(bytes.IndexByte(data, '\n')+1))
		}, 1},
		"replaced by another, which is longer": {func(name string) error {
			if err := os.Remove(name); err != nil {
				return err
			}
			other, err := journal.Create(name, time.Now)
			for range 5 {
				if err == nil {
					_, err = other.Append("action", Action{Who: "uid:0", Action: "plans.make", Decision: allowed})
				}
			}
			return errors.Join(err, other.Close())
		}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.drive("A", "", small)
			s.drive("B", "", small)
			x := s.serve(nil)
			p := s.plan(x, sanitize.Request{}, "A")
			j := s.start(x, p)
			s.follow(x, j.ID, "")
			s.close(x)
			x = s.serve(nil)
			if codes := s.problems(x); len(codes) > 0 {
				t.Fatalf("nothing was taken: %v", codes)
			}
			s.close(x)
			if err := c.take(filepath.Join(s.state, ActionsName)); err != nil {
				t.Fatal(err)
			}
			before := c.left
			x = s.serve(nil)
			if codes := s.problems(x); !slices.Equal(codes, []string{gapCode}) {
				t.Errorf("%v", codes)
			}
			if list := s.actions(); len(list) != before+1 || list[before].Action != gapAction || list[before].Code != gapCode || list[before].Who != "agent" {
				t.Errorf("%+v", list)
			}
			j = s.start(x, s.plan(x, sanitize.Request{}, "B"))
			if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK {
				t.Errorf("%+v", end)
			}
			// It is said once: what began later is in the file.
			s.close(x)
			x = s.serve(nil)
			if codes := s.problems(x); len(codes) > 0 {
				t.Errorf("%v", codes)
			}
			s.close(x)
			if err := os.Remove(filepath.Join(s.state, ActionsName)); err != nil {
				t.Fatal(err)
			}
			x = s.serve(nil)
			if h, err := x.Health(s.ctx); err != nil || !slices.ContainsFunc(h.Problems, func(r devices.Reason) bool { return r.Code == gapCode }) {
				t.Errorf("%+v, %v", h, err)
			}
		})
	}
}
