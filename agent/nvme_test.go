package agent

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// clock is a time that only waiting moves, shared by drives and agent: what takes a drive hours
// takes a test nothing.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return nil
}

// pass lets time pass in which nobody waits.
func (c *clock) pass(d time.Duration) { _ = c.Wait(context.Background(), d) }

// newTimed is a site on such a clock.
func newTimed(t *testing.T) (*site, *clock) {
	t.Helper()
	s, c := newSite(t), newClock()
	s.rack.Clock = c.Now
	s.agent = s.timed(s.rack.Host(nil), c)
	return s, c
}

func (s *site) timed(h *devices.Host, c *clock) *Agent {
	s.t.Helper()
	a, err := Open(Options{Host: h, StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test", Now: c.Now, Wait: c.Wait})
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func TestPurgedByTheDrive(t *testing.T) {
	s, _ := newTimed(t)
	s.add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 8 << 20, EraseSeconds: 600})
	r := s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "A"))
	if r.Outcome != sanitize.Sanitized || r.Err != nil {
		t.Fatalf("%s %v %v", r.Outcome, r.Reasons, r.Err)
	}
	m, err := s.rack.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	if blank, err := m.Blank(); err != nil || !blank {
		t.Errorf("the medium is not erased: %v", err)
	}
	if begun := m.Begun(); len(begun) != 2 || begun[0] != "84:00000204" || begun[1] != "84:00000002" {
		t.Errorf("operations %q", begun)
	}
	report := s.verify(r)
	if report.Code != attest.CodeOK || report.Result.Outcome.Method != "purge" || report.Result.Scope != "device" {
		t.Fatalf("%d %v %+v", report.Code, report.Reasons, report.Result.Outcome)
	}
	x := report.Result
	if v := x.Verification; v.Markers == nil || v.Markers.Set < 2000 || v.Markers.Set > 2002 || v.Markers.Changed != v.Markers.Set || v.Result != "passed" || v.ZeroBlocks == 0 {
		t.Errorf("%+v %+v", v, v.Markers)
	}
	ops := x.Sanitization.Operations
	if len(ops) != 2 || !strings.Contains(strings.Join(x.Sanitization.RestsOn, "\n"), sanitize.Reliance) || *ops[1].EstimateSeconds != 600 || ops[1].ElapsedSeconds < 590 || ops[1].Timing != "plausible" {
		t.Errorf("%+v", ops)
	}
	if h := x.Health; h == nil || h.Before == nil || h.After == nil || *h.MaxTemperatureC != 48 || h.Samples < 5 {
		t.Errorf("%+v", h)
	}
}
