package api

import (
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// ReasonBusy is the reason of a drive that a job is at work on.
const ReasonBusy = "busy"

// ReasonUnreadableJob is the reason of a drive that a job that cannot be read may be of.
const ReasonUnreadableJob = agent.ReasonUnreadable

const hintUnreadable = "expunge jobs tells why; put the job's files back as they were, or keep its directory elsewhere and look at its drives"

// notePrefix begins the codes of notes that say what the last job left of a drive; behind it comes an outcome.
const notePrefix = "last_job_"

// Beside says of drives what jobs, the oldest first, make of them: one that a job is at work on is in use, one whose job is not finished
// is blocked until it is resumed or given up, and one that the last job that ended did not sanitize has a note of what was left: it can be
// chosen, and is not as it was found.
func Beside(drives []devices.Drive, jobs []Job) []devices.Drive {
	drives = slices.Clone(drives)
	busy, open, left := map[devices.ID]string{}, map[devices.ID]devices.Reason{}, map[devices.ID]devices.Reason{}
	var unreadable []devices.Reason // each could be of any drive
	for _, j := range jobs {
		if j.State == JobUnreadable {
			unreadable = append(unreadable, devices.Reason{Code: ReasonUnreadableJob, Message: "job " + j.ID + " cannot be read, so no drive can be told to be free of it", Hint: hintUnreadable})
		}
		for _, d := range j.Drives {
			switch {
			case d.ID == "" || d.Outcome == sanitize.RefusedRun:
			case j.State == JobRunning && d.Outcome == sanitize.Interrupted:
				busy[d.ID] = j.ID
				delete(left, d.ID) // what it will be nobody knows
			case d.Outcome == sanitize.Interrupted:
				open[d.ID] = devices.Reason{Code: agent.ReasonUnfinished, Message: "job " + j.ID + " on this drive is not finished: " + d.Words,
					Hint: "expunge jobs resume " + j.ID + ", or expunge jobs abandon " + j.ID}
			case d.Outcome == sanitize.Sanitized && d.ExitStatus == ExitOK: // it is certified, and nobody said otherwise later
				delete(left, d.ID)
			default:
				left[d.ID] = devices.Reason{Code: notePrefix + string(d.Outcome), Message: "job " + j.ID + " left it " + d.Words, Hint: "expunge jobs show " + j.ID}
			}
		}
	}
	for i, d := range drives { // several may have one id: drives that cannot be told apart
		if note, is := left[d.ID]; is {
			drives[i].Notes = append(slices.Clip(d.Notes), note)
		}
		if r, is := open[d.ID]; is {
			drives[i] = barred(drives[i], devices.StateBlocked, r)
		}
		if job := busy[d.ID]; job != "" {
			drives[i] = Busy(drives[i], job)
		}
		if len(unreadable) > 0 && drives[i].State == devices.StateReady {
			drives[i] = barred(drives[i], devices.StateBlocked, unreadable[0])
		}
	}
	return drives
}

// barred is a drive that cannot be chosen for a reason that it does not know itself.
func barred(d devices.Drive, as devices.State, why devices.Reason) devices.Drive {
	if d.State == devices.StateReady {
		d.State = as
	}
	d.Reasons = append([]devices.Reason{why}, d.Reasons...)
	return d
}

// Busy is a drive that a job is at work on.
func Busy(d devices.Drive, job string) devices.Drive {
	if slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == ReasonBusy }) {
		return d
	}
	return barred(d, devices.StateInUse, devices.Reason{Code: ReasonBusy, Message: "job " + job + " is at work on it", Hint: "expunge watch " + job + " follows it"})
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
