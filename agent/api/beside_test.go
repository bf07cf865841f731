package api

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// What somebody who chooses drives would lose: that one holds data though a job had it, or is being worked on.
func TestWhatJobsMakeOfDrives(t *testing.T) {
	id := devices.NewID("model", "A", "")
	job := func(name, state string, outcome sanitize.Outcome, words string) Job {
		return Job{ID: name, State: state, Drives: []JobDrive{{ID: id, Outcome: outcome, Words: words}}}
	}
	failed, done := job("j-1", JobEnded, sanitize.Failed, "FAILED - holds data"), job("j-2", JobEnded, sanitize.Sanitized, "PURGED verified")
	refused := job("j-3", JobEnded, sanitize.RefusedRun, "REFUSED - not touched")
	running := job("j-4", JobRunning, sanitize.Interrupted, "RUNNING - holds data until it has ended")
	stopped := job("j-5", JobInterrupted, sanitize.Interrupted, "INTERRUPTED - holds data, resumable")
	withdrawn := job("j-6", JobEnded, sanitize.Sanitized, "PURGED verified, certificate WITHDRAWN")
	withdrawn.Drives[0].ExitStatus = ExitUnproven
	uncertified := job("j-8", JobEnded, sanitize.Sanitized, "NOT CERTIFIED - no certificate says what was done")
	uncertified.Drives[0].ExitStatus = ExitInternal
	for name, x := range map[string]struct {
		jobs  []Job
		left  string
		state devices.State
	}{
		"no job":                  {nil, "", devices.StateReady},
		"failed":                  {[]Job{failed}, "job j-1 left it FAILED - holds data", devices.StateReady},
		"failed, then sanitized":  {[]Job{failed, done}, "", devices.StateReady},
		"sanitized, then failed":  {[]Job{done, failed}, "job j-1 left it FAILED - holds data", devices.StateReady},
		"withdrawn":               {[]Job{failed, withdrawn}, "job j-6 left it PURGED verified, certificate WITHDRAWN", devices.StateReady},
		"not certified":           {[]Job{uncertified}, "job j-8 left it NOT CERTIFIED - no certificate says what was done", devices.StateReady},
		"one cannot be read":      {[]Job{done, {ID: "j-7", State: JobUnreadable}}, "", devices.StateBlocked},
		"failed, then refused":    {[]Job{failed, refused}, "job j-1 left it FAILED - holds data", devices.StateReady},
		"failed, and at it again": {[]Job{failed, running}, "", devices.StateInUse},
		"sanitized, then stopped": {[]Job{done, stopped}, "", devices.StateBlocked},
		"failed, then stopped":    {[]Job{failed, stopped}, "job j-1 left it FAILED - holds data", devices.StateBlocked},
	} {
		drives := []devices.Drive{{ID: id, State: devices.StateReady}, {ID: devices.NewID("model", "B", ""), State: devices.StateReady}, {State: devices.StateUnreadable}}
		got := Beside(drives, x.jobs)
		if Left(got[0]) != x.left || got[0].State != x.state || x.state == devices.StateInUse && (len(got[0].Reasons) != 1 || got[0].Reasons[0].Code != ReasonBusy) {
			t.Errorf("%s: %s %+v %q", name, got[0].State, got[0].Reasons, Left(got[0]))
		}
		twins := Beside([]devices.Drive{drives[0], drives[0]}, x.jobs)
		if Left(twins[0]) != x.left || twins[0].State != x.state {
			t.Errorf("%s: of two that cannot be told apart one is %s %q", name, twins[0].State, Left(twins[0]))
		}
		if Left(got[1])+Left(got[2]) != "" || drives[0].State != devices.StateReady || drives[0].Notes != nil {
			t.Errorf("%s: of other drives, or in what was given: %+v", name, got)
		}
	}
}
