package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// A drive that a later job has sanitized holds somebody's new data: an earlier job whose files were damaged, or away, and are back leaves it
// alone, whoever goes on with it.
func TestAnEarlierJobThatIsBack(t *testing.T) {
	for name, begun := range map[string]bool{"it had begun on the drive": true, "it had not": false} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20})
			p := s.plan(sanitize.Request{Pattern: "zero"}, "A")
			job := jobName(p)
			if begun {
				s.fault("A", "power-cut:1")
				want(t, s.run(p), sanitize.Interrupted, "")
				if err := s.rack.ClearFaults("A"); err != nil {
					t.Fatal(err)
				}
			} else if _, err := s.agent.createJob(p, Started{}); err != nil {
				t.Fatal(err)
			}
			away := filepath.Join(t.TempDir(), "away")
			if err := os.Rename(s.agent.jobDir(job), away); err != nil {
				t.Fatal(err)
			}
			now := s.agent.now
			s.agent.now = func() time.Time { return now().Add(2 * time.Second) }
			later := s.run(s.plan(sanitize.Request{Pattern: "zero"}, "A"))
			want(t, later, sanitize.Sanitized, "")
			if err := errors.Join(s.rack.Populate("A", canary), os.Rename(away, s.agent.jobDir(job))); err != nil {
				t.Fatal(err)
			}
			data := holds(t, s.rack, "A")
			j, err := s.agent.Resume(t.Context(), job, Observer{})
			if err != nil || data == 0 || holds(t, s.rack, "A") != data {
				t.Fatalf("%d of %d canaries are left: %+v, %v", holds(t, s.rack, "A"), data, j, err)
			}
			if r := j.Drives[0]; begun && (r.Outcome != sanitize.Interrupted || !errors.Is(r.Err, ErrBegunSince) || !strings.Contains(r.Err.Error(), later.Job)) {
				t.Errorf("%s %v", r.Outcome, r.Err)
			} else if !begun && (r.Outcome != sanitize.RefusedRun || !strings.Contains(r.Reasons[0].Message, later.Job)) {
				t.Errorf("%s %v", r.Outcome, r.Reasons)
			}
			if begun {
				if j, err = s.agent.Abandon(t.Context(), job, "test"); err != nil || j.Drives[0].Outcome != sanitize.Failed || holds(t, s.rack, "A") != data {
					t.Errorf("given up: %+v, %v", j, err)
				}
			}
			if p := s.plan(sanitize.Request{}, "A"); len(p.Drives) != 1 {
				t.Errorf("a new plan: %+v", p.Refused)
			}
		})
	}
}

// A later job that was cut off goes on, whatever an earlier one says of its drive.
func TestALaterJobGoesOn(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 4 << 20})
	want(t, s.run(s.plan(sanitize.Request{Pattern: "zero"}, "A")), sanitize.Sanitized, "")
	if err := s.rack.Populate("A", canary); err != nil {
		t.Fatal(err)
	}
	p := s.plan(sanitize.Request{Pattern: "zero"}, "A")
	s.fault("A", "power-cut:1")
	want(t, s.run(p), sanitize.Interrupted, "")
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if r := s.run(p); r.Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 {
		t.Errorf("%s %v", r.Outcome, r.Err)
	}
}
