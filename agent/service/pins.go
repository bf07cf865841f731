package service

import (
	"errors"
	"sync"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// PINs holds the PINs and PSIDs that were given for drives, until their job has them. They are in memory alone.
type PINs struct {
	mu    sync.Mutex
	given map[devices.ID]string
}

// Give is agent.Options.PIN.
func (p *PINs) Give(d sanitize.DrivePlan) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pin := p.given[d.ID]; pin != "" {
		return pin, nil
	}
	return "", errors.New("give it with the request, by the drive's id")
}

// put takes those of the drives of a plan, and no others: they are other jobs'.
func (p *PINs) put(drives []sanitize.DrivePlan, pins map[devices.ID]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[devices.ID]string{}
	}
	for _, d := range drives {
		if pin, has := pins[d.ID]; has {
			p.given[d.ID] = pin
		}
	}
}

func (p *PINs) forget(d []sanitize.DrivePlan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range d {
		delete(p.given, d.ID)
	}
}
