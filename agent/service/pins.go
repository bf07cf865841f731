package service

import (
	"errors"
	"sync"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// PINs holds the PINs and PSIDs that were given for the drives of jobs, until their jobs have them. They are in memory alone. What is
// given to a job that is refused, as another is at work on the drive, is not the other's.
type PINs struct {
	mu    sync.Mutex
	given map[string]map[devices.ID]string // by job
}

// Give is agent.Options.PIN.
func (p *PINs) Give(job string, d sanitize.DrivePlan) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pin := p.given[job][d.ID]; pin != "" {
		return pin, d.CheckPIN(pin)
	}
	return "", errors.New("give it with the request, by the drive's id (a command has --pin-file for it)")
}

// put takes those of the drives of a job's plan, and no others.
func (p *PINs) put(job string, drives []sanitize.DrivePlan, pins map[devices.ID]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[string]map[devices.ID]string{}
	}
	p.given[job] = map[devices.ID]string{}
	for _, d := range drives {
		if pin, has := pins[d.ID]; has {
			p.given[job][d.ID] = pin
		}
	}
}

func (p *PINs) forget(job string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.given, job)
}
