package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/agent"
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
