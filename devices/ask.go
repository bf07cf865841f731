package devices

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

// askers bounds how many drives are asked at once.
const askers = 16

// askAll asks the drives that have a command door what they are.
func (h *Host) askAll(ctx context.Context, drives []Drive) {
	if h.open == nil {
		return
	}
	var wait sync.WaitGroup
	slots := make(chan struct{}, askers)
	for i := range drives {
		d := &drives[i]
		if d.Protocol != ProtocolNVMe && d.Protocol != ProtocolSCSI && d.Protocol != ProtocolATA {
			continue
		}
		if slices.ContainsFunc(d.Reasons, func(r Reason) bool { return r.Code == "no_medium" || r.Code == "optical" }) {
			continue
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			h.asked.ask(ctx, d, h.ask)
		})
	}
	wait.Wait()
}

// ask opens a drive for reading and lets it say what it is. What it says stands in place of the
// kernel's word; when it says nothing that can be believed, the drive cannot be chosen.
func (h *Host) ask(ctx context.Context, d *Drive) {
	t, err := h.open(ctx, d.Nodes[0], ReadOnly)
	if err == nil {
		if t.Number() != d.Number {
			err = fmt.Errorf("%s is device %v now, was %v: %w", d.Nodes[0], t.Number(), d.Number, ErrChanged)
		} else {
			err = h.identifyOpen(ctx, t, d)
		}
		err = errors.Join(err, t.Close())
	}
	if d.SizeBytes == 0 && (err == nil || errors.Is(err, ErrNoDoor)) {
		d.refuse(StateBlocked, Reason{"no_medium", "it holds no medium, or none that it tells the size of", ""})
	}
	if err == nil || errors.Is(err, ErrNoDoor) {
		return
	}
	h.log.Debug("a drive did not identify itself", "node", d.Nodes[0], "err", err)
	reason := Reason{"unidentified", fmt.Sprintf("it cannot be asked what it is: %v", err), "list again; a drive that does not answer cannot be sanitized by a host"}
	var inUse *InUseError
	switch {
	case errors.Is(err, fs.ErrPermission):
		reason.Code, reason.Hint = "permission", "run as root"
		var lacking *CapabilityError
		if errors.As(err, &lacking) {
			reason.Hint += " with " + lacking.Capability + "; a container is not given it by itself"
		}
	case errors.As(err, &inUse):
		return // its use is in the list already
	}
	d.refuse(StateUnreadable, reason)
}

// refuse adds a reason why a drive cannot be chosen, and the state that goes with it when nothing
// else speaks against the drive.
func (d *Drive) refuse(s State, r Reason) {
	d.Reasons = append(d.Reasons, r)
	if d.State == StateReady {
		d.State = s
	}
}

// lack notes what keeps erases away that the drive may be able to do. People see it with the drive's
// notes; a technique that it concerns is rejected for it.
func (d *Drive) lack(code, message, hint string) {
	d.Lacks = append(d.Lacks, Reason{code, message, hint})
}

// Lack finds what keeps an erase away; false when nothing of that code does.
func (d Drive) Lack(code string) (Reason, bool) {
	at := slices.IndexFunc(d.Lacks, func(r Reason) bool { return r.Code == code })
	if at < 0 {
		return Reason{}, false
	}
	return d.Lacks[at], true
}

// compareSize compares the size that the drive tells with what its node shows. A node that shows less,
// as docks do that know no more than 2 TB, hides the rest from whatever the host writes.
func (d *Drive) compareSize(size int64) error {
	shown := d.SizeBytes
	if len(d.Units) > 0 {
		shown = d.Units[0].SizeBytes // the others are asked by themselves
	}
	switch {
	case size < shown:
		return fmt.Errorf("%d bytes, and the node has %d: one of them is another drive, or the drive was made smaller since the kernel read its size (have it read anew: echo 1 > /sys/block/%s/device/rescan)",
			size, shown, filepath.Base(d.Nodes[0]))
	case size > shown && shown > 0:
		d.Unseen = size - shown
		d.lack(ReasonNodeSmaller, fmt.Sprintf("the drive has %d bytes, and its node shows %d of them", size, shown),
			"attach it without the dock or adapter that cuts it short, or have the kernel read its size again; only the drive's own erases reach the rest")
	}
	return nil
}

// ReasonNodeSmaller is the code of a drive that has more blocks than its node shows.
const ReasonNodeSmaller = "node_smaller"

// identifyOpen fills in what the open drive says of itself. The error is ErrNoDoor when it has no
// door for that, and leaves d as it was.
func (h *Host) identifyOpen(ctx context.Context, t Transport, d *Drive) error {
	other := func(node string) (Transport, error) { return h.open(ctx, node, ReadOnly) }
	switch d.Protocol {
	case ProtocolNVMe:
		if err := identifyNVMe(ctx, t, d); err != nil {
			return err
		}
		if err := readReservations(ctx, t, d, other); err != nil {
			return err
		}
		return h.readZones(ctx, t, d)
	case ProtocolSCSI, ProtocolATA:
		if err := identifySCSI(ctx, t, d); err != nil {
			return err
		}
		if d.Protocol == ProtocolSCSI {
			if err := checkUnits(ctx, t, d, other); err != nil {
				return err
			}
		}
		return d.readDiskZones(ctx, t)
	}
	return ErrNoDoor
}

// vouch takes a drive's own identity. Words of a drive are made printable.
func (d *Drive) vouch(model, serial, wwn, firmware string) {
	d.Model, d.Serial, d.WWN, d.Firmware = cleanASCII(model), cleanASCII(serial), cleanASCII(wwn), cleanASCII(firmware)
	d.ID, d.Identity = NewID(d.Model, d.Serial, d.WWN), IdentityDrive
}
