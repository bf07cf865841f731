package page

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// trouble is what somebody must look at.
type trouble struct {
	Words         graded
	What          string // where it is not a drive itself
	Serial, Model string
	Slot, Node    string
	Job           string
	Reasons       []devices.Reason
	Since         string // what a job that was planned later says of the same drive
	order         int
}

// What needs somebody first.
const (
	orderAgent = iota
	orderJob
	orderUnknown
	orderFailed
	orderCertificate
	orderInterrupted
	orderExceptions
	orderSince // behind all others
)

// running is a drive that is worked on.
type running struct {
	Serial, Model string
	Slot, Node    string
	Job           string
	Words         string
	Stage         string
	Known         bool // how far it is
	Percent       float64
	Rate, Left    string
	Warm          graded
	Errors        graded
	order         int
}

// gradeOf is how good an outcome is. What nobody has a word for is bad.
func gradeOf(outcome string) string {
	switch sanitize.Outcome(outcome) {
	case sanitize.Sanitized:
		return "good"
	case sanitize.Exceptions, sanitize.Interrupted:
		return "part"
	case sanitize.RefusedRun:
		return "none"
	}
	return "bad"
}

func (v *view) jobs(jobs []api.Job, now time.Time, slots map[devices.ID]string) {
	later := sanitizedBy(jobs)
	for _, j := range jobs {
		problem, hint := cmp.Or(j.Problem, j.ManifestError), "expunge jobs tells more of it"
		if j.State == api.JobUnreadable || problem != "" {
			what := graded{"UNREADABLE - treat its drives as holding data", "bad"}
			if j.State != api.JobUnreadable {
				what = graded{"NO MANIFEST - " + j.State, "part"}
			}
			v.Trouble = append(v.Trouble, trouble{Words: what, What: "a whole job", Job: j.ID, Reasons: []devices.Reason{{Message: cmp.Or(problem, "its files are damaged"), Hint: hint}}, order: orderJob})
		}
		for _, d := range j.Drives {
			slot, node := slots[d.ID], nodes(d.Nodes)
			if atWork(j, d) {
				v.Running = append(v.Running, runningOf(j, d, slot, node, now))
				continue
			}
			order, bad := weight(j, d)
			if !bad {
				continue
			}
			t := trouble{Words: graded{cmp.Or(d.Words, "UNKNOWN - treat as holding data"), gradeOf(string(d.Outcome))}, Serial: d.Serial, Model: d.Model, Slot: slot, Node: node, Job: j.ID, Reasons: d.Reasons, order: order}
			if d.Error != "" {
				if !slices.ContainsFunc(t.Reasons, func(r devices.Reason) bool { return r.Message != "" && strings.Contains(d.Error, r.Message) }) {
					t.Reasons = slices.Concat(t.Reasons, []devices.Reason{{Message: d.Error}})
				}
				t.Words.Grade = "bad"
			}
			if d.Outcome == sanitize.Sanitized && d.Certificate == nil {
				t.Words = graded{t.Words.Words + ", without a certificate", "bad"}
				t.Reasons = slices.Concat(t.Reasons, []devices.Reason{{Message: "no certificate could be made of it", Hint: "expunge certificate reissue makes it from the journal"}})
			}
			if l, ok := later[d.ID]; ok && d.ID != "" && l.Created > j.Created {
				t.Since, t.order, t.Words.Grade = fmt.Sprintf("a job that was planned later says: %s (%s)", l.words, l.ID), orderSince, "none"
			}
			v.Trouble = append(v.Trouble, t)
		}
	}
}

// atWork says whether somebody is at work on a drive: its job runs, and nothing says that it does not.
func atWork(j api.Job, d api.JobDrive) bool {
	if j.State != api.JobRunning || d.Outcome != sanitize.Interrupted {
		return false
	}
	return d.Progress != nil || len(d.Reasons) > 0 && d.Reasons[0].Code == agent.ReasonRunning
}

// weight says whether a drive of a job needs somebody, and how soon.
func weight(j api.Job, d api.JobDrive) (int, bool) {
	switch d.Outcome {
	case sanitize.Sanitized:
		return orderCertificate, d.Error != "" || d.ExitStatus == api.ExitUnproven || d.Certificate == nil && j.State != api.JobRunning // that one may be at it
	case sanitize.RefusedRun:
		return 0, false
	case sanitize.Exceptions:
		return orderExceptions, true
	case sanitize.Interrupted:
		return orderInterrupted, true
	case sanitize.Failed:
		return orderFailed, true
	}
	return orderUnknown, true
}

// sanitizer is the last planned of the jobs that sanitized a drive.
type sanitizer struct {
	api.Job
	words string
}

// sanitizedBy finds them. Nobody says when drives of jobs ended, and a plan may be started late: so
// that an older failure is marked by them, and never left out.
func sanitizedBy(jobs []api.Job) map[devices.ID]sanitizer {
	last := map[devices.ID]sanitizer{}
	for _, j := range jobs {
		for _, d := range j.Drives {
			if d.Outcome == sanitize.Sanitized && d.Certificate != nil && d.ExitStatus != api.ExitUnproven && j.Created > last[d.ID].Created {
				last[d.ID] = sanitizer{j, d.Words}
			}
		}
	}
	return last
}

func runningOf(j api.Job, d api.JobDrive, slot, node string, now time.Time) running {
	r := running{Serial: d.Serial, Model: d.Model, Slot: slot, Node: node, Job: j.ID, Words: d.Words, Stage: "starting", Rate: "not known yet", Left: "not known yet",
		Warm: graded{"not told", "none"}, Errors: graded{"none", "none"}, order: 1}
	p := d.Progress
	if p == nil || p.Stage == "" {
		return r
	}
	r.Stage, r.Known, r.Percent = p.Stage, p.Total > 0, percent(p.Done, p.Total)
	// A drive's own progress may stand still for an hour and then jump: how long it takes is the drive's to know.
	if p.ByDrive {
		r.Rate, r.Left = "by the drive itself", "the drive does not say"
	} else if took := now.Sub(p.Since).Seconds(); took >= 1 && p.Done > p.Before {
		rate := float64(p.Done-p.Before) / took
		r.Rate, r.Left = size(int64(rate))+"/s", duration(time.Duration(float64(max(0, p.Total-p.Done))/rate)*time.Second)
	}
	if p.TemperatureC != nil {
		r.Warm.Words = fmt.Sprintf("%d °C", *p.TemperatureC)
		if p.LimitC != nil {
			r.Warm.Words += fmt.Sprintf(" (limit %d)", *p.LimitC)
		}
	}
	if p.Pace != "" {
		r.Warm, r.order = graded{r.Warm.Words + ", " + p.Pace + ": too warm", "part"}, 0
	}
	if p.Bad > 0 {
		r.Errors, r.order = graded{size(p.Bad) + " BAD", "bad"}, 0
	}
	return r
}
