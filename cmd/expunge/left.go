package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

// What jobs left of drives, and what was said of their certificates later, beside what is asked of the drives themselves.

// beside says of drives what jobs make of them (api.Beside), where no agent said so already. Whoever only looks at a host makes no state,
// and may have none or not be permitted to look into it: then nothing is added.
func (a *app) beside(drives []devices.Drive) []devices.Drive {
	jobs, err := a.jobsThere()
	if err != nil {
		return drives
	}
	return api.Beside(drives, jobs)
}

// jobsThere are the jobs of a state that is there.
func (a *app) jobsThere() ([]api.Job, error) {
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
