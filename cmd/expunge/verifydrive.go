package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
)

// inHand is a drive that certificates are held against: is it the one that they speak of, and was it used since?
type inHand struct {
	drive  devices.Drive
	health devices.Health // empty where it cannot be asked
}

// driveInHand finds a drive of this machine and asks it. It is only looked at.
func (a *app) driveInHand(ctx context.Context, name string) (*inHand, error) {
	host, _, err := a.host()
	if err != nil {
		return nil, err
	}
	drives, err := host.Drives(ctx)
	if err != nil {
		return nil, err
	}
	found, err := host.Select(drives, []string{name})
	if err != nil {
		return nil, err
	}
	h := &inHand{drive: found[0]}
	if h.health, err = host.Health(ctx, h.drive); err != nil && !errors.Is(err, devices.ErrNoDoor) {
		return nil, fmt.Errorf("ask %s %s for its condition: %w", h.drive.Model, h.drive.Serial, err)
	}
	return h, nil
}

// against says what does not fit between a certificate and the drive. The codes are stable.
func (h *inHand) against(r attest.Report) []attest.Reason {
	d, c := h.drive, r.Result.Device
	what := fmt.Sprintf("%s %s at %s", d.Model, d.Serial, strings.Join(d.Nodes, " "))
	if string(d.ID) != c.DriveID() {
		return []attest.Reason{{Code: "drive_other", Message: fmt.Sprintf("it is about %s %s, and %s is another drive", c.Model, c.Serial, what), Hint: "look at the label of the drive, and find the certificate by its serial number"}}
	}
	var list []attest.Reason
	say := func(code, hint, format string, args ...any) {
		list = append(list, attest.Reason{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	const again = "do not rely on the certificate: sanitize the drive again"
	if d.SizeBytes != c.SizeBytes {
		say("drive_size", again, "%s has %d bytes, and %d by the certificate", what, d.SizeBytes, c.SizeBytes)
	}
	if d.State != devices.StateReady {
		words := []string{}
		for _, reason := range d.Reasons {
			words = append(words, reason.Message)
		}
		say("drive_in_use", again, "%s is %s: %s", what, d.State, strings.Join(words, "; "))
	}
	for _, n := range d.Notes {
		if n.Code == "signature" {
			say("drive_written", again, "%s was written to: %s", what, n.Message)
		}
	}
	var then *attest.Condition
	if r.Result.Health != nil {
		then = r.Result.Health.After
	}
	if then == nil {
		then = &attest.Condition{}
	}
	counted := false
	for _, counter := range h.counters(then) {
		switch {
		case counter.now == nil || counter.then == nil:
			continue
		case *counter.now < *counter.then:
			say("drive_rewound", "it is another drive that bears this serial number, or its counters were changed", "%s tells of %d %s, and had %d when it was certified", what, *counter.now, counter.name, *counter.then)
		case counter.writes && *counter.now > *counter.then:
			say("drive_written", again, "%s was written to since it was certified: %d %s, and %d then", what, *counter.now, counter.name, *counter.then)
		}
		counted = counted || counter.writes
	}
	if !counted {
		say("drive_use_unknown", "look at the drive's content, or sanitize it again", "%s does not count what is written, or did not when it was certified: nobody can tell whether it was used since", what)
	}
	return list
}

// counter is one that never goes back.
type counter struct {
	name      string
	now, then *int64
	writes    bool // it counts what is written
}

func (h *inHand) counters(then *attest.Condition) []counter {
	return []counter{
		{"power-on hours", h.health.PowerOnHours, then.PowerOnHours, false},
		{"power cycles", h.health.PowerCycles, then.PowerCycles, false},
		{"thousands of 512 bytes written", h.health.DataWritten, then.DataUnitsWritten, true},
	}
}
