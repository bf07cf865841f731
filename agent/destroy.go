package agent

import (
	"context"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
)

// Doomed is a drive that somebody destroyed, as far as this state knows it.
type Doomed struct {
	Name  attest.Named
	Media string // "unknown" where nobody could tell
}

// FindDoomed finds a drive of this state's jobs by its serial number, WWN or id. The error is devices.ErrNotFound or
// ErrAmbiguous.
func (a *Agent) FindDoomed(name string) (Doomed, error) {
	found := map[devices.ID]Doomed{}
	jobs, err := a.Jobs()
	if err != nil {
		return Doomed{}, err
	}
	for _, j := range jobs {
		for _, r := range j.Plan.Drives {
			if r.Serial == name || string(r.ID) == name || r.WWN != "" && r.WWN == name {
				found[r.ID] = Doomed{attest.Name(r.Model, r.Serial, r.WWN), string(r.Media)}
			}
		}
	}
	switch len(found) {
	case 0:
		return Doomed{}, fmt.Errorf("%q: %w", name, devices.ErrNotFound)
	case 1:
		for _, d := range found {
			return d, nil
		}
	}
	return Doomed{}, fmt.Errorf("%q: %w", name, devices.ErrAmbiguous)
}

// RecordDestruction signs what people did to a drive, and keeps the record. What is attached to the host is not destroyed: the
// error is an *attest.RecordError then, or why the host cannot be looked at.
func (a *Agent) RecordDestruction(ctx context.Context, d attest.Destruction) (string, error) {
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return "", err
	}
	for _, there := range listed {
		same := d.Device.Serial != "" && there.Serial == d.Device.Serial || d.Device.WWN != "" && there.WWN == d.Device.WWN
		if same || string(there.ID) == d.Device.ID {
			return "", &attest.RecordError{Code: "attached", Problem: fmt.Sprintf("%s %s is attached to this host (%s): it is not destroyed", there.Model, there.Serial, strings.Join(there.Nodes, " ")),
				Hint: "take it out of the host, destroy it, and record that then"}
		}
	}
	is, err := a.issuer()
	if err != nil {
		return "", err
	}
	data, err := is.Destruction(d)
	if err != nil {
		return "", err
	}
	return a.keepRecord(data)
}
