package agent

import (
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// certified is the result that a drive's certificate says, after it was verified.
func (s *site) certified(r DriveResult) attest.Result {
	s.t.Helper()
	if r.Err != nil || r.Certificate == "" {
		s.t.Fatalf("%s: no certificate: %v", r.Outcome, r.Err)
	}
	report := s.verify(r)
	if report.Result == nil {
		s.t.Fatalf("%v", report.Reasons)
	}
	return *report.Result
}

// Every command that destroys is on disk before the drive begins, with its bytes, and in the certificate with how it
// was answered.
func TestCommandsAreNotedBeforeTheyAreSent(t *testing.T) {
	for _, x := range []struct{ profile, name, bytes string }{
		{"nvme-ssd", "Sanitize", "8400000000000000"}, {"sata-ssd", "SANITIZE DEVICE", "85"}, {"sas-ssd", "SANITIZE", "48"},
	} {
		s, _ := erasing(t, virtual.Spec{Profile: x.profile, EraseSeconds: 40})
		noted := 0
		s.agent.testOnlyObserve = func(r journal.Record) {
			if r.Kind == "command" && strings.Contains(string(r.Data), `"`+x.name+`"`) {
				if begun := s.begun(); len(begun) != noted {
					t.Errorf("%s: %q was begun before command %d was noted", x.profile, begun, noted+1)
				}
				noted++
			}
		}
		r := s.certified(s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "A")))
		var sent []attest.Command
		for _, c := range r.Sanitization.Commands {
			if c.Name == x.name && strings.HasPrefix(c.Bytes, x.bytes) {
				sent = append(sent, c)
			}
		}
		if n := len(s.begun()); noted != n || len(sent) != n || n == 0 {
			t.Errorf("%s: %d commands begun, %d noted, certified %+v", x.profile, n, noted, r.Sanitization.Commands)
		}
		for _, c := range sent {
			if c.ElapsedMs == nil || c.Status == "unknown" {
				t.Errorf("%s: %+v has no answer", x.profile, c)
			}
		}
	}
}

// What is said of hidden areas is what the medium shows.
func TestHiddenAreasTellTheTruth(t *testing.T) {
	whole(t)
	const spare = "over-provisioned and reallocated blocks"
	for _, x := range []struct {
		profile string
		request sanitize.Request
		area    string
		state   string
	}{
		{"sata-hdd-hpa", sanitize.Request{Method: sanitize.Purge}, "host protected area", "removed"},
		{"sata-hdd-hpa", sanitize.Request{Method: sanitize.Purge}, "accessible max address", "absent"},
		{"sata-hdd-dco", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "device configuration overlay", "removed"},
		{"sata-hdd-dco", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, spare, "not sanitized"},
		{"sata-ssd", sanitize.Request{Method: sanitize.Purge}, spare, "sanitized"},
		{"nvme-ssd", sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, spare, "not sanitized"},
		{"nvme-ssd", sanitize.Request{Method: sanitize.Purge}, "persistent memory region", "unknown"},
		{"nvme-ssd", sanitize.Request{Method: sanitize.Purge}, "replay protected memory block", "absent"},
		{"nvme-boot", sanitize.Request{Method: sanitize.Purge}, "boot partitions", "not sanitized"},
		{"nvme-boot", sanitize.Request{Method: sanitize.Purge}, "replay protected memory block", "not sanitized"},
		{"plain", sanitize.Request{Method: sanitize.Clear}, spare, "not sanitized"},
	} {
		s, _ := erasing(t, virtual.Spec{Profile: x.profile, EraseSeconds: 40})
		d := s.run(s.plan(x.request, "A"))
		want(t, d, sanitize.Sanitized, "")
		states := map[string]string{}
		for _, a := range s.certified(d).HiddenAreas {
			states[a.Kind] = a.State
		}
		if states[x.area] != x.state {
			t.Errorf("%s by %s: %s is %q, want %q", x.profile, d.Drive.Technique, x.area, states[x.area], x.state)
		}
		addressable, hidden, err := s.medium().CountCanary(canary)
		if err != nil || addressable > 0 {
			t.Errorf("%s: %d addressable blocks hold data, %v", x.profile, addressable, err)
		}
		if left := states[spare] == "not sanitized"; left != (hidden > 0) {
			t.Errorf("%s by %s: %d hidden blocks hold data, and the spare ones are %q", x.profile, d.Drive.Technique, hidden, states[spare])
		}
	}
	s, _ := erasing(t, virtual.Spec{Profile: "nvme-ssd", EraseSeconds: 40}, "sanitize-fail:40")
	d := s.run(s.plan(sanitize.Request{Method: sanitize.Purge}, "A"))
	want(t, d, sanitize.Failed, "")
	for _, a := range s.certified(d).HiddenAreas {
		if a.State == "sanitized" || a.State == "removed" {
			t.Errorf("a sanitize that failed: %s is %s", a.Kind, a.State)
		}
	}
}

// Counters come from the drive and go on: what the job wrote is in them, and so is a loss of power.
func TestCountersAdvance(t *testing.T) {
	whole(t)
	for _, profile := range []string{"nvme-ssd", "sata-hdd", "sas-hdd"} {
		s, _ := erasing(t, virtual.Spec{Profile: profile})
		run := func() (before, after attest.Condition) {
			h := s.certified(s.run(s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "A"))).Health
			if h == nil || h.Before == nil || h.After == nil || h.After.DataUnitsWritten == nil || h.Before.DataUnitsWritten == nil {
				t.Fatalf("%s: %+v", profile, h)
			}
			return *h.Before, *h.After
		}
		cycles := func(c attest.Condition) *int64 {
			if profile == "sas-hdd" {
				return c.StartStopCycles
			}
			return c.PowerCycles
		}
		before, after := run()
		if units := *after.DataUnitsWritten - *before.DataUnitsWritten; units < 4<<20/512000 || units > 4<<20/512000+2 {
			t.Errorf("%s: 4 MiB were written, and it counts %d units", profile, units)
		}
		if err := s.rack.PowerCycle("A"); err != nil {
			t.Fatal(err)
		}
		next, _ := run()
		if cycles(after) == nil || cycles(next) == nil {
			t.Errorf("%s does not count its power cycles", profile)
		} else if *cycles(next) != *cycles(after)+1 {
			t.Errorf("%s: %d power cycles, and after one more %d", profile, *cycles(after), *cycles(next))
		}
	}
}
