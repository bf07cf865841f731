package agent

import (
	"fmt"
	"os"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// What goes wrong with the files of one drive is that drive's matter: the others come to their ends.
func TestFilesOfOneDriveAreItsOwn(t *testing.T) {
	s := newSite(t)
	var names []string
	for n := range 6 {
		names = append(names, fmt.Sprintf("D%d", n))
		s.add(virtual.Spec{Serial: names[n], SizeBytes: small})
	}
	p := s.plan(sanitize.Request{}, names...)
	want := map[string]sanitize.Outcome{"D1": sanitize.Unknown, "D4": sanitize.Interrupted}
	var planned []sanitize.DrivePlan
	j, err := s.agent.Start(t.Context(), p, Started{}, Observer{
		Planned: func(drives []sanitize.DrivePlan) { planned = append(planned, drives...) },
		Begun: func(d sanitize.DrivePlan, _ *sanitize.Meter) {
			file := func(name string) string { return s.agent.driveFile(jobName(p), d.ID, name) }
			var err error
			switch d.Serial {
			case "D1": // its journal is damaged behind the agent's back
				var data []byte
				if data, err = os.ReadFile(file(journalFile)); err == nil {
					data[len(data)/3] ^= 1
					err = os.WriteFile(file(journalFile), data, 0o600)
				}
			case "D4": // its keys cannot be put down, so that nothing may be written with them
				err = os.Mkdir(file(secretsFile), 0o700)
			}
			if err != nil {
				t.Error(err)
			}
		},
	})
	if err != nil || len(j.Drives) != len(names) || len(planned) != len(names) {
		t.Fatalf("%d drives, %d planned: %v", len(j.Drives), len(planned), err)
	}
	for n, r := range j.Drives {
		outcome, special := want[names[n]]
		left := holds(t, s.rack, names[n])
		switch {
		case r.Drive.Serial != names[n]:
			t.Errorf("%s is at the place of %s", r.Drive.Serial, names[n])
		case special && (r.Outcome != outcome || r.Certificate != "" || r.Err == nil):
			t.Errorf("%s: %s, certificate %q, %v", names[n], r.Outcome, r.Certificate, r.Err)
		case names[n] == "D4" && left == 0:
			t.Error("D4 was written to without its keys on disk")
		case !special && (r.Outcome != sanitize.Sanitized || r.Certificate == "" || left != 0):
			t.Errorf("%s: %s %v, %d old records left", names[n], r.Outcome, r.Err, left)
		}
	}
	if err := s.agent.CheckLog(); err != nil {
		t.Error(err)
	}
}
