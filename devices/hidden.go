package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/ata"
)

// HiddenKind says by which feature blocks are kept from the host.
type HiddenKind string

// The features, in the words of the standards (ACS-3 4.11, ACS-2 4.7, ACS-4 4.5).
const (
	HostProtectedArea HiddenKind = "host protected area"
	Overlay           HiddenKind = "device configuration overlay"
	AccessibleMax     HiddenKind = "accessible max address"
)

// HiddenArea is a range of blocks at the end of a drive that the host cannot address until the
// drive is told to show it.
type HiddenArea struct {
	Kind        HiddenKind `json:"kind"`
	FromBytes   int64      `json:"from_bytes"`   // what the host sees
	NativeBytes int64      `json:"native_bytes"` // what it sees without the feature
	// Locked: a password keeps it as it is.
	Locked bool `json:"locked,omitempty"`
}

// readHidden asks by how much the drive's own limits hide of it. What cannot be told is a lack: only
// the drive's own sanitize reaches such blocks then.
func readHidden(ctx context.Context, t Transport, d *Drive, i ata.Identity) error {
	shown := int64(i.Sectors) * int64(i.LogicalBytes)
	take := func(kind HiddenKind, last uint64, locked bool, err error) error {
		switch native := int64(last+1) * int64(i.LogicalBytes); {
		case IsGone(err):
			return err
		case err != nil:
			d.area(AreaKind(kind), AreaUnknown, 0)
			d.lack(ReasonHiddenUnknown, fmt.Sprintf("whether it hides blocks cannot be told (%s): %v", kind, err),
				"attach the drive to a controller that returns the ATA registers; only its own sanitize reaches blocks that are hidden")
		case last >= 1<<48:
			d.area(AreaKind(kind), AreaUnknown, 0)
			d.lack(ReasonHiddenUnknown, fmt.Sprintf("whether it hides blocks cannot be told: its last block is said to be %#x (%s)", last, kind), "only its own sanitize reaches blocks that are hidden")
		case native > shown:
			d.area(AreaKind(kind), AreaPresent, native-shown)
			d.Hidden = append(d.Hidden, HiddenArea{kind, shown, native, locked})
			d.Notes = append(d.Notes, Reason{Code: "hidden_area", Message: fmt.Sprintf("%d bytes are hidden from the host by the %s", native-shown, kind),
				Hint: "a plan makes them accessible before anything else"})
			shown = native
		default:
			d.area(AreaKind(kind), AreaAbsent, 0)
		}
		return nil
	}
	// A drive without a feature hides nothing by it.
	for _, f := range []struct {
		kind HiddenKind
		has  bool
	}{{HostProtectedArea, i.HPA()}, {AccessibleMax, i.AMA()}, {Overlay, i.DCO()}} {
		state := AreaAbsent
		if f.has {
			state = AreaUnknown // until it has answered
		}
		d.area(AreaKind(f.kind), state, 0)
	}
	switch {
	case i.AMA():
		g, err := ataAsk(ctx, t, ata.AccessibleMax())
		last := uint64(0)
		if err == nil {
			last, err = ata.ParseMaxLBA(g, true)
		}
		if err := take(AccessibleMax, last, false, err); err != nil {
			return err
		}
	case i.HPA():
		last, err := ReadNativeMax(ctx, t, i)
		if err := take(HostProtectedArea, last, i.HPAPassword(), err); err != nil {
			return err
		}
	}
	if i.DCO() {
		page, err := ataData(ctx, t, ata.DCOIdentify())
		last := uint64(0)
		if err == nil {
			last, err = ata.ParseDCOMax(page)
		}
		var refused *ata.Error
		if errors.As(err, &refused) {
			d.lack(ReasonHiddenFrozen, "whether a device configuration overlay hides blocks of it cannot be told: it does not answer that question, as when the firmware of this computer has frozen it",
				"pull the drive and put it back while the computer runs, or attach it elsewhere; its own erases reach such blocks all the same")
			return nil
		}
		return take(Overlay, last, false, err)
	}
	return nil
}

// ReadNativeMax is the last block of the drive without a host protected area.
func ReadNativeMax(ctx context.Context, t Transport, i ata.Identity) (uint64, error) {
	extend := i.Extended()
	g, err := ataAsk(ctx, t, ata.ReadNativeMax(extend))
	if err != nil {
		return 0, err
	}
	return ata.ParseMaxLBA(g, extend)
}

// ReasonHiddenUnknown is the code of a drive that has ways to hide blocks, and of which nobody can tell
// whether it does.
const ReasonHiddenUnknown = "hidden_unknown"

// ReasonHiddenFrozen is the code of a drive that may hide blocks and is kept from telling.
const ReasonHiddenFrozen = "hidden_frozen"

// ErrPowerCycle: the drive accepts the change only after its power was taken away and given back.
var ErrPowerCycle = errors.New("the drive accepts this only after its power was taken away and given back")

// ErrAdapter: the host adapter does not carry what a command needs to the drive; nothing was sent.
var ErrAdapter = errors.New("the host adapter does not carry all ATA registers to the drive")

// Show has the drive make an area accessible, for good, and returns when it said that it did. It is
// ErrPowerCycle where the drive refuses a second change since it got power (ACS-3 7.44, ACS-4 7.1).
// What the host sees changes only with Resized.
func (h *Handle) Show(ctx context.Context, area HiddenArea) error {
	t := h.Transport()
	i, _, err := ReadIdentity(ctx, t)
	if err != nil {
		return err
	}
	last := uint64(area.NativeBytes)/uint64(i.LogicalBytes) - 1
	// An adapter that loses LBA would make the drive one block long, one that loses COUNT would have the
	// change undone at the next power-on.
	drops, err := ProbeRegisters(ctx, t, i.Sectors)
	if err != nil {
		return err
	}
	if drops != "" && area.Kind != Overlay {
		return fmt.Errorf("%w: %s", ErrAdapter, drops)
	}
	var c ata.Command
	switch area.Kind {
	case AccessibleMax:
		c = ata.SetAccessibleMax(last)
	case Overlay:
		c = ata.DCORestore()
	case HostProtectedArea:
		// SET MAX ADDRESS must directly follow READ NATIVE MAX ADDRESS, or it is another command.
		native, err := ReadNativeMax(ctx, t, i)
		if err != nil {
			return fmt.Errorf("read native max address: %w", err)
		}
		if native != last {
			return fmt.Errorf("the native max address is %d, planned was %d: %w", native, last, ErrChanged)
		}
		c = ata.SetMax(last, i.Extended(), true)
	default:
		return fmt.Errorf("hidden area of the unknown kind %q", area.Kind)
	}
	s, err := c.SCSI()
	if err != nil {
		return err
	}
	r, err := t.SCSI(context.WithoutCancel(ctx), s)
	if err != nil {
		return err
	}
	_, err = ata.ParseRegisters(r)
	var failed *ata.Error
	switch {
	case errors.Is(err, ata.ErrNoRegisters) && r.Err() == nil:
		return nil // IDENTIFY DEVICE, asked next, tells
	case errors.As(err, &failed):
		return fmt.Errorf("%w (%w)", ErrPowerCycle, err)
	}
	return err
}

// Shown is how many bytes the drive says that it shows, whatever the kernel still thinks.
func (h *Handle) Shown(ctx context.Context) (int64, error) {
	i, _, err := ReadIdentity(ctx, h.Transport())
	return int64(i.Sectors) * int64(i.LogicalBytes), err
}

// Resized has the kernel read the size of every node anew, and takes what it finds: for after a
// command that changed it.
func (h *Handle) Resized(ctx context.Context) (Geometry, error) {
	for i := range len(h.spaces) + len(h.paths) {
		s := h.space(i)
		if err := s.transport.Rescan(ctx); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return Geometry{}, err
		}
		g, err := s.transport.Geometry(ctx)
		if err != nil {
			return Geometry{}, err
		}
		s.Geometry = g
		if i < len(h.spaces) && len(h.drive.Units) > 0 {
			h.drive.Units[i].SizeBytes, h.drive.Units[i].LogicalBlock = g.SizeBytes, g.LogicalBlock
		}
	}
	g, err := h.Geometry(ctx)
	if err == nil {
		h.drive.SizeBytes, h.drive.LogicalBlock, h.drive.PhysicalBlock = g.SizeBytes, g.LogicalBlock, g.PhysicalBlock
	}
	return g, err
}
