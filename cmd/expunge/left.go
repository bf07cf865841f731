package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
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

// jobsThere are the jobs of a state that is there. Where there is one, and something other than permission keeps them from being read, that
// is said: what a drive shows then is not all.
func (a *app) jobsThere() ([]api.Job, error) {
	dir, err := a.stateDir()
	if err == nil {
		_, err = os.Stat(filepath.Join(dir, "owner.json"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var jobs []agent.Job
	if err == nil {
		jobs, err = a.jobsOfState()
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		a.say("what jobs left of drives cannot be told: %v", plainly(err))
	}
	list := make([]api.Job, 0, len(jobs))
	for _, j := range jobs {
		list = append(list, api.JobOf(j))
	}
	return list, err
}

func (a *app) jobsOfState() ([]agent.Job, error) {
	ag, err := a.agent()
	if err != nil {
		return nil, err
	}
	return ag.Jobs()
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
	// Untold is why it cannot be told whether something was said of its certificates later.
	Untold string `json:"certificates_untold,omitempty"`
}

// certificatesOf are the certificates of one job. In this process no other job keeps them from being read.
func certificatesOf(ctx context.Context, svc api.Service, job string) ([]api.Certificate, error) {
	if here, is := svc.(*service.Service); is {
		return here.CertificatesOf(ctx, job)
	}
	return svc.Certificates(ctx)
}

// standings puts to jobs those of the issued certificates of which something was said later. Why that cannot be told keeps no job from
// being told of.
func (a *app) standings(jobs []api.Job, issued []api.Certificate, untold error) []jobItem {
	why := ""
	if untold != nil {
		why = plainly(untold).Error()
		a.say("whether certificates were withdrawn or rejected later cannot be told: %s", why)
	}
	said := map[string][]standing{}
	for _, c := range issued {
		if strings.Contains(c.Outcome, ", ") {
			said[c.Job] = append(said[c.Job], standing{c.ID, c.Serial, c.Outcome})
		}
	}
	items := make([]jobItem, 0, len(jobs))
	for _, j := range jobs {
		items = append(items, jobItem{j, said[j.ID], why})
	}
	return items
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
