package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// hasty is a clock on which ten seconds pass each time that somebody looks at it.
type hasty struct{ *clock }

func (h hasty) Now() time.Time { h.pass(10 * time.Second); return h.clock.Now() }

// overwritten has the host overwrite a drive that warms, on such a clock.
func overwritten(t *testing.T, profile, fault string) (*site, DriveResult) {
	t.Helper()
	s, c := erasing(t, virtual.Spec{Profile: profile, SizeBytes: 32 << 20}, fault)
	a, err := Open(Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test", Now: hasty{c}.Now, Wait: c.Wait})
	if err != nil {
		t.Fatal(err)
	}
	s.agent = a
	return s, s.run(s.plan(sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "A"))
}

// A drive that gets too warm is worked more slowly at its own warning, not at all at its critical temperature, and as
// fast as before when it has cooled; the certificate says so, and the work is done all the same.
func TestHeatSlowsAndPauses(t *testing.T) {
	for _, x := range []struct {
		profile string
		pauses  bool // it tells a critical temperature
	}{{"nvme-ssd", true}, {"sata-ssd", false}, {"sas-ssd", false}} {
		t.Run(x.profile, func(t *testing.T) {
			s, d := overwritten(t, x.profile, "hot:200")
			want(t, d, sanitize.Sanitized, "")
			if left := holds(t, s.rack, "A"); left != 0 {
				t.Errorf("%d canaries are left", left)
			}
			h := s.certified(d).Health
			if h.Slowed == 0 || (h.Paused > 0) != x.pauses || h.MaxTemperatureC == nil || *h.MaxTemperatureC < 70 {
				t.Errorf("slowed %d times, paused %d, up to %v", h.Slowed, h.Paused, h.MaxTemperatureC)
			}
			bundle, err := s.agent.EvidenceBundle(d.Job, d.Drive.ID)
			if err != nil {
				t.Fatal(err)
			}
			// What heat began ends when it is cooler: after a pause it goes on slowly.
			before := sanitize.PaceFull
			for line := range strings.Lines(string(bundle)) {
				_, pace, paced := strings.Cut(line, `"pace":"`)
				if !paced {
					continue
				}
				pace, _, _ = strings.Cut(pace, `"`)
				if pace == before && pace != sanitize.PaceSlowed || before == sanitize.PacePaused && pace == sanitize.PaceFull {
					t.Errorf("%s after %s", pace, before)
				}
				before = pace
			}
		})
	}
}

// A drive that stays too hot though nothing is written to it is left alone after an hour. Its job can be resumed when
// it is cooler, and knows what was done.
func TestHeatThatStays(t *testing.T) {
	s, d := overwritten(t, "nvme-ssd", "hot:1")
	want(t, d, sanitize.Interrupted, "")
	if d.Err == nil || !strings.Contains(d.Err.Error(), "cool it, and resume") || d.Certificate != "" {
		t.Fatalf("%v, certificate %q", d.Err, d.Certificate)
	}
	left := holds(t, s.rack, "A")
	if left == 0 {
		t.Fatal("nothing was left to do")
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	j, err := s.agent.Resume(t.Context(), d.Job, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Sanitized, "")
	if left := holds(t, s.rack, "A"); left != 0 {
		t.Errorf("%d canaries are left", left)
	}
}
