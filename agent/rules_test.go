package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// under is a request under a site's policy of these rules.
func under(t *testing.T, rules string) sanitize.Request {
	t.Helper()
	p, err := sanitize.ParsePolicy([]byte("policy: x\nrules:\n" + rules))
	if err != nil {
		t.Fatal(err)
	}
	return sanitize.Request{Policy: p.Name, PolicyFile: p.Ref().File}
}

// intact makes sure that every drive holds what it held.
func (s *site) intact(serials ...string) {
	s.t.Helper()
	for _, serial := range serials {
		if n := holds(s.t, s.rack, serial); n == 0 {
			s.t.Errorf("%s was written to", serial)
		}
	}
}

func codeOf(r sanitize.Refused) string { return r.Reasons[0].Code }

// A denied drive is in the plan as refused, and stays as it was; what nobody denies is done.
func TestDeniedDriveIsNotTouched(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "KEEP-1", SizeBytes: small})
	s.add(virtual.Spec{Profile: "plain", Serial: "GO-1", SizeBytes: small})
	s.add(virtual.Spec{Profile: "plain", Serial: "ODD-1", SizeBytes: small})
	p := s.plan(under(t, `
  - {name: keep, when: 'drive.serial.startsWith("KEEP")', deny: belongs to the museum}
  - {name: hours, when: 'drive.serial.startsWith("ODD") && drive.power_on_hours > 5', require_approval: 1}
`), "KEEP-1", "GO-1", "ODD-1")
	if len(p.Drives) != 1 || p.Drives[0].Serial != "GO-1" || len(p.Refused) != 2 || codeOf(p.Refused[0]) != "rule_denied" || codeOf(p.Refused[1]) != "rule_error" {
		t.Fatalf("%+v\n%+v", p.Drives, p.Refused)
	}
	if r := s.run(p); r.Outcome != sanitize.Sanitized {
		t.Fatalf("%+v", r)
	}
	if n := holds(t, s.rack, "GO-1"); n != 0 {
		t.Errorf("%d canaries are left", n)
	}
	s.intact("KEEP-1", "ODD-1")
}

// A drive that is mounted is refused for that, under whatever rule, and so is one that came to be mounted.
func TestMountedDriveStaysRefusedUnderRules(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A1", SizeBytes: small})
	r := under(t, `
  - {name: a, when: "false", deny: no}
  - {name: b, when: 'drive.serial == "A1"', min_method: clear}
  - {name: c, when: "true", require_approval: 1}
`)
	late := s.plan(r, "A1")
	if err := s.rack.Use("A1", "mounted:/srv"); err != nil {
		t.Fatal(err)
	}
	if p := s.plan(r, "A1"); len(p.Drives) != 0 || codeOf(p.Refused[0]) != "mounted" {
		t.Fatalf("%+v", p)
	}
	var refused *RefusedError
	if _, err := s.agent.Start(t.Context(), late, Started{By: "uid:0", Approvals: make([]attest.Envelope, 4)}, Observer{}); !errors.As(err, &refused) || refused.Drives[0].Reasons[0].Code != "mounted" {
		t.Fatalf("%v", err)
	}
	s.intact("A1")
}

// Without a word of people a plan that needs it is not begun, and not used up; with it, it is carried out.
func TestApprovals(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A1", SizeBytes: small})
	r := under(t, "  - {name: two, when: 'plan.drives > 0', require_approval: 2, because: four eyes}\n")
	p := s.plan(r, "A1")
	if p.ApprovalsNeeded() != 2 {
		t.Fatalf("%d approvals", p.ApprovalsNeeded())
	}
	var missing *ApprovalError
	if _, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); !errors.As(err, &missing) || missing.Needed != 2 {
		t.Fatalf("%v", err)
	}
	if _, err := s.agent.Start(t.Context(), p, Started{By: "uid:0", Approvals: make([]attest.Envelope, 1)}, Observer{}); !errors.As(err, &missing) || missing.Have != 1 {
		t.Fatalf("%v", err)
	}
	if s.agent.WasRun(p) {
		t.Fatal("the plan is used up")
	}
	s.intact("A1")

	// A plan that was edited to need none, with a digest of its own.
	edited := p
	edited.Drives = slices.Clone(p.Drives)
	edited.Drives[0].Approvals = 0
	var refused *RefusedError
	if _, err := s.agent.Start(t.Context(), edited, Started{}, Observer{}); !errors.As(err, &refused) || refused.Drives[0].Reasons[0].Code != "approval_required" {
		t.Fatalf("%v", err)
	}
	s.intact("A1")

	j, err := s.agent.Start(t.Context(), p, Started{By: "uid:0", Approvals: make([]attest.Envelope, 2)}, Observer{})
	if err != nil || j.Drives[0].Outcome != sanitize.Sanitized {
		t.Fatalf("%v %+v", err, j)
	}
	if n := holds(t, s.rack, "A1"); n != 0 {
		t.Errorf("%d canaries are left", n)
	}
	// What was approved and is done, anybody may ask for.
	if j, err := s.agent.Start(t.Context(), p, Started{}, Observer{}); err != nil || j.Drives[0].Outcome != sanitize.Sanitized {
		t.Errorf("%v %+v", err, j)
	}
}

// A method that a rule demands is reached where nothing was asked for, and less is refused.
func TestRuleRaisesTheMethod(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "nvme-ssd", Serial: "A1", SizeBytes: 1 << 20, EraseSeconds: 1})
	r := under(t, "  - {name: flash, when: 'drive.media == \"ssd\"', min_method: purge}\n")
	r.Method = sanitize.Clear
	if p := s.plan(r, "A1"); len(p.Drives) != 0 || codeOf(p.Refused[0]) != "method_too_low" {
		t.Fatalf("%+v", p)
	}
	r.Method = ""
	p := s.plan(r, "A1")
	if len(p.Drives) != 1 || p.Drives[0].Method != sanitize.Purge {
		t.Fatalf("%+v", p)
	}
	if d := s.run(p); d.Outcome != sanitize.Sanitized {
		t.Fatalf("%+v", d)
	}
	m, err := s.rack.Medium("A1")
	if err != nil {
		t.Fatal(err)
	}
	if addressable, hidden, err := m.CountCanary(canary); err != nil || addressable+hidden != 0 {
		t.Errorf("%d and %d canaries are left, %v", addressable, hidden, err)
	}
}

// What was allowed by day is refused when night has fallen before it is begun, and when it fell between the
// beginning of the job and that of the drive.
func TestRulesAreJudgedAgainBeforeTheWork(t *testing.T) {
	for _, when := range []string{"before the job", "before the drive"} {
		t.Run(when, func(t *testing.T) {
			s := newSite(t)
			s.add(virtual.Spec{Profile: "plain", Serial: "A1", SizeBytes: small})
			var mu sync.Mutex
			now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
			night := func() {
				mu.Lock()
				defer mu.Unlock()
				now = time.Date(2026, 3, 2, 23, 0, 0, 0, time.UTC)
			}
			decisions := map[string]int{}
			a, err := Open(Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test",
				Now: func() time.Time {
					mu.Lock()
					defer mu.Unlock()
					return now
				},
				Decided: func(rule, decision string) {
					mu.Lock()
					defer mu.Unlock()
					decisions[rule+" "+decision]++
				}})
			if err != nil {
				t.Fatal(err)
			}
			p, err := a.Plan(t.Context(), []string{"A1"}, under(t, "  - {name: hours, when: now.getHours() >= 20, deny: nobody is there}\n"))
			if err != nil || len(p.Drives) != 1 || decisions["hours pass"] != 1 {
				t.Fatalf("%v %+v %v", err, p, decisions)
			}
			var reasons string
			if when == "before the job" {
				night()
				var refused *RefusedError
				if _, err := a.Start(t.Context(), p, Started{}, Observer{}); !errors.As(err, &refused) || refused.Drives[0].Reasons[0].Code != "rule_denied" || a.WasRun(p) {
					t.Fatalf("%v", err)
				}
				reasons = "rule hours: nobody is there"
			} else {
				j, err := a.Start(t.Context(), p, Started{}, Observer{Planned: func([]sanitize.DrivePlan) { night() }})
				if err != nil || j.Drives[0].Outcome != sanitize.RefusedRun {
					t.Fatalf("%v %+v", err, j)
				}
				for _, r := range j.Drives[0].Reasons {
					reasons += r.Message
				}
			}
			if !strings.Contains(reasons, "rule hours: nobody is there") || decisions["hours deny"] != 1 {
				t.Errorf("%q, %v", reasons, decisions)
			}
			s.intact("A1")
		})
	}
}

// Who stops planning when the drives are listed is told so, and not that a rule denied them.
func TestStoppedPlanningIsNoDenial(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Profile: "plain", Serial: "A1", SizeBytes: small})
	ctx, cancel := context.WithCancel(t.Context())
	a, err := Open(Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test", Now: func() time.Time {
		cancel() // a plan is dated between the listing and the rules
		return time.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Plan(ctx, []string{"A1"}, under(t, "  - {name: a, when: \"false\", deny: no}\n"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v %+v", err, p)
	}
}
