package api

import (
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// ReasonBusy is the reason of a drive that a job is at work on.
const ReasonBusy = "busy"

// notePrefix begins the codes of notes that say what the last job left of a drive; behind it comes an outcome.
const notePrefix = "last_job_"

// Beside says of drives what jobs, the oldest first, make of them: one that a job is at work on is in use, and one that the last job
// that touched it did not sanitize has a note of what was left: it can be chosen, and is not as it was found.
func Beside(drives []devices.Drive, jobs []Job) []devices.Drive {
	drives = slices.Clone(drives)
	at := make(map[devices.ID]int, len(drives))
	for i, d := range drives {
		at[d.ID] = i
	}
	left := make([]*devices.Reason, len(drives))
	for _, j := range jobs {
		for _, d := range j.Drives {
			i, there := at[d.ID]
			if !there || d.ID == "" || d.Outcome == sanitize.RefusedRun {
				continue
			}
			if j.State == JobRunning && d.Outcome == sanitize.Interrupted {
				drives[i] = Busy(drives[i], j.ID)
				continue
			}
			if left[i] = nil; d.Outcome != sanitize.Sanitized {
				hint := "expunge jobs show " + j.ID
				if d.Outcome == sanitize.Interrupted {
					hint = "expunge jobs resume " + j.ID
				}
				left[i] = &devices.Reason{Code: notePrefix + string(d.Outcome), Message: "job " + j.ID + " left it " + d.Words, Hint: hint}
			}
		}
	}
	for i, note := range left {
		if note != nil {
			drives[i].Notes = append(slices.Clip(drives[i].Notes), *note)
		}
	}
	return drives
}

// Busy is a drive that a job is at work on.
func Busy(d devices.Drive, job string) devices.Drive {
	if slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == ReasonBusy }) {
		return d
	}
	if d.State == devices.StateReady {
		d.State = devices.StateInUse
	}
	d.Reasons = append([]devices.Reason{{Code: ReasonBusy, Message: "job " + job + " is at work on it", Hint: "expunge watch " + job + " follows it"}}, d.Reasons...)
	return d
}

// Left is the note of what the last job left of a drive; "" where there is none.
func Left(d devices.Drive) string {
	for _, n := range d.Notes {
		if strings.HasPrefix(n.Code, notePrefix) {
			return n.Message
		}
	}
	return ""
}
