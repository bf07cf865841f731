package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// What jobs left of drives, and what was said of their certificates later, beside what is asked of the drives themselves.

// leftPrefix begins the codes of notes that say what the last job left of a drive; behind it comes an outcome, or "running".
const leftPrefix = "last_job_"

// noteLeft adds to drives what the last job that touched them left, unless it sanitized them: such a drive can be chosen, and is not as it
// was found. Whoever only looks at a host makes no state, and may have none or not be permitted to look into it: then nothing is added.
func (a *app) noteLeft(ctx context.Context, drives []devices.Drive) {
	for id, note := range a.left(ctx) {
		for i := range drives {
			if drives[i].ID == id {
				drives[i].Notes = append(drives[i].Notes, note)
			}
		}
	}
}

// left says by drive what the last jobs left.
func (a *app) left(ctx context.Context) map[devices.ID]devices.Reason {
	jobs, err := a.jobsThere(ctx)
	if err != nil {
		return nil
	}
	notes := map[devices.ID]devices.Reason{}
	for _, j := range jobs { // oldest first
		for _, d := range j.Drives {
			if note, is := leftBy(j, d); is {
				notes[d.ID] = note
			} else if d.Outcome != sanitize.RefusedRun {
				delete(notes, d.ID)
			}
		}
	}
	return notes
}

// jobsThere are the jobs of the agent that runs, or of a state that is there.
func (a *app) jobsThere(ctx context.Context) ([]api.Job, error) {
	if svc, err := a.remote(ctx); svc != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return svc.Jobs(byHand(ctx))
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "owner.json")); err != nil {
		return nil, err
	}
	ag, err := a.agent()
	if err != nil {
		return nil, err
	}
	jobs, err := ag.Jobs()
	list := make([]api.Job, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, api.JobOf(j))
	}
	return list, err
}

// leftBy is what a job left of a drive; false where it sanitized it, or did not touch it.
func leftBy(j api.Job, d api.JobDrive) (devices.Reason, bool) {
	switch {
	case d.Outcome == sanitize.RefusedRun, d.Outcome == sanitize.Sanitized:
		return devices.Reason{}, false
	case j.State == api.JobRunning && d.Outcome == sanitize.Interrupted:
		return devices.Reason{Code: leftPrefix + api.JobRunning, Message: fmt.Sprintf("job %s is at work on it", j.ID), Hint: "expunge watch " + j.ID}, true
	}
	hint := "expunge jobs show " + j.ID
	if d.Outcome == sanitize.Interrupted {
		hint = "expunge jobs resume " + j.ID
	}
	return devices.Reason{Code: leftPrefix + string(d.Outcome), Message: fmt.Sprintf("job %s left it %s", j.ID, d.Words), Hint: hint}, true
}

// leftWords is what a list has room for of that.
func leftWords(d devices.Drive) string {
	for _, n := range d.Notes {
		if strings.HasPrefix(n.Code, leftPrefix) {
			return n.Message
		}
	}
	return ""
}

// standing is what was said of a certificate after it was signed: "sanitized, withdrawn".
type standing struct {
	ID      devices.ID `json:"id"`
	Serial  string     `json:"serial"`
	Outcome string     `json:"outcome"`
}

// jobItem is a job, with its certificates of which something was said later.
type jobItem struct {
	api.Job
	Certificates []standing `json:"certificates,omitempty"`
}

// standings puts such certificates to their jobs.
func standings(ctx context.Context, svc api.Service, jobs []api.Job) ([]jobItem, error) {
	issued, err := svc.Certificates(ctx)
	if err != nil {
		return nil, err
	}
	said := map[string][]standing{}
	for _, c := range issued {
		if strings.Contains(c.Outcome, ", ") {
			said[c.Job] = append(said[c.Job], standing{c.ID, c.Serial, c.Outcome})
		}
	}
	items := make([]jobItem, 0, len(jobs))
	for _, j := range jobs {
		items = append(items, jobItem{j, said[j.ID]})
	}
	return items, nil
}

// words are the drive's words with what was said of its certificate later.
func (j jobItem) words(d api.JobDrive) string {
	for _, c := range j.Certificates {
		if c.ID == d.ID {
			_, later, _ := strings.Cut(c.Outcome, ", ")
			return d.Words + ", certificate " + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(later, "validation_"), "_", " "))
		}
	}
	return d.Words
}
