package devices

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// describeSCSI asks a SCSI drive what it can do, how it stands, and what speaks against touching it.
// What it does not say is not assumed.
func describeSCSI(ctx context.Context, t Transport, d *Drive) error {
	var after, afterCrypto uint8
	page, has, err := optional(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageCharacter}.Command())
	if err != nil {
		return fmt.Errorf("block device characteristics: %w", err)
	}
	if c, err := scsi.ParseCharacteristics(page); has && err == nil {
		d.Media = mediaOf(c.RotationRate == 1, c.RotationRate == 1 || c.RotationRate > 0x400)
		after, afterCrypto = c.WABEREQ, c.WACEREQ
		d.zoningCode(c.Zoned)
	}
	for _, step := range []func(context.Context, Transport, *Drive) error{readBlocks, readProvisioning, readProtection, readReservation, readDefects} {
		if err := step(ctx, t, d); err != nil {
			return err
		}
	}
	if err := readSCSISanitize(ctx, t, d); err != nil {
		return err
	}
	if d.PowerOnHours, err = powerOnHours(ctx, t); err != nil {
		return err
	}
	if s := d.Sanitize; s != nil {
		s.AfterBlock, s.AfterCrypto = readsAfter(after, ReadsConstant), readsAfter(afterCrypto, ReadsAnything)
	}
	d.TCG = nil
	has, err = hasSecurityCommands(ctx, t)
	if IsGone(err) {
		return err
	}
	if err == nil && has {
		return readTCG(ctx, t, d)
	}
	return nil // a drive that cannot be asked for its commands is said to be one that cannot
}

// optional sends a data-in command that a drive need not have. has is false when the drive says that it
// does not, or that it answers nothing of the kind while an erase runs or after one failed; any other
// failure is an error: what could not be asked is not known.
func optional(ctx context.Context, t Transport, c *scsi.Command) (data []byte, has bool, err error) {
	data, err = dataIn(ctx, t, c)
	var failed *scsi.CommandError
	if errors.As(err, &failed) && failed.HostStatus == 0 && failed.Sense != nil {
		state, unknown := ParseSCSIState(failed.Sense.Raw)
		if failed.Sense.Key == scsi.IllegalRequest || unknown == nil && !state.AtRest {
			return nil, false, nil
		}
	}
	return data, err == nil, err
}

// readsAfter is what WABEREQ and WACEREQ say of reads before the next write (SBC-4 6.6.2, tables
// 261, 262). 0 is not specified: then whatever the technique leaves by its nature.
func readsAfter(required uint8, nature ReadBack) ReadBack {
	switch required {
	case 0:
		return nature
	case 1:
		return ReadsAnything
	}
	return ReadsNothing
}

// capacityOf asks for size and block length: by READ CAPACITY, or, of a drive that gives none because a
// format runs or was cut off, by the block descriptor of its mode pages.
func capacityOf(ctx context.Context, t Transport) (Geometry, error) {
	page, err := dataIn(ctx, t, scsi.ReadCapacity16{}.Command())
	if err == nil {
		c, err := scsi.ParseCapacity(page)
		return Geometry{SizeBytes: c.SizeBytes(), LogicalBlock: int(c.BlockLength), PhysicalBlock: int(c.BlockLength) << c.PhysicalPerExp}, err
	}
	if IsGone(err) {
		return Geometry{}, err
	}
	mode, modeErr := dataIn(ctx, t, scsi.ModeSense10(0x3f))
	if modeErr != nil {
		return Geometry{}, fmt.Errorf("read capacity: %w", err)
	}
	b, modeErr := scsi.ParseBlockDescriptor(mode)
	if modeErr != nil || b.Blocks == 0 || b.Blocks > 1<<62/uint64(b.Length) {
		return Geometry{}, fmt.Errorf("read capacity: %w", err)
	}
	return Geometry{SizeBytes: int64(b.Blocks) * int64(b.Length), LogicalBlock: int(b.Length), PhysicalBlock: int(b.Length)}, nil
}

// readBlocks takes size and block length from the drive where the kernel shows none: Linux gives
// drives of 520-byte blocks no size, and they are reached by SCSI commands alone.
func readBlocks(ctx context.Context, t Transport, d *Drive) error {
	g, err := capacityOf(ctx, t)
	if IsGone(err) {
		return err
	}
	if err != nil {
		d.Notes = append(d.Notes, Reason{Code: "no_capacity", Message: fmt.Sprintf("it does not tell its size: %v", err), Hint: "if a format of it failed or was cut off, it must be formatted again before anything else"})
		return nil
	}
	if d.peripheral == scsi.HostManagedType && d.SizeBytes > 0 {
		return nil // READ CAPACITY may speak of its conventional zones alone (ZBC-2 5.8, RC_BASIS); the zones tell its size
	}
	if d.SizeBytes > 0 {
		return d.compareSize(g.SizeBytes)
	}
	d.byDoor = true
	d.SizeBytes, d.LogicalBlock, d.PhysicalBlock = g.SizeBytes, g.LogicalBlock, g.PhysicalBlock
	note := Reason{Code: "block_length", Message: fmt.Sprintf("blocks of %d bytes, which the kernel shows no size for: it is read and written by SCSI commands", g.LogicalBlock),
		Hint: "--technique format --block-size 512 makes them usual ones"}
	if g.LogicalBlock == 512 || g.LogicalBlock == 4096 {
		note.Hint = "have the kernel read its size anew: echo 1 > /sys/block/" + filepath.Base(d.Nodes[0]) + "/device/rescan"
	}
	d.Notes = append(d.Notes, note)
	return nil
}

// readProvisioning finds units that are cut out of something larger: what is erased there is no drive.
func readProvisioning(ctx context.Context, t Transport, d *Drive) error {
	page, has, err := optional(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageProvisioning}.Command())
	if err != nil {
		return fmt.Errorf("logical block provisioning: %w", err)
	}
	if kind, err := scsi.ParseProvisioning(page); has && err == nil && (kind == 2 || kind == 3) {
		d.refuse(StateBlocked, Reason{"logical_device", "it is a thin-provisioned unit of an array: what is erased in it says nothing of the drives behind it",
			"erase the drives of the array, each by itself"})
	}
	return nil
}

func readProtection(ctx context.Context, t Transport, d *Drive) error {
	page, has, err := optional(ctx, t, scsi.ModeSense10(0x3f))
	if err != nil {
		return fmt.Errorf("mode sense: %w", err)
	}
	if protected, err := scsi.ParseWriteProtected(page); has && err == nil && protected && !d.ReadOnly {
		d.refuse(StateBlocked, Reason{"read_only", "it is write-protected", "remove the write protection (mode page 0Ah, SWP), then list again"})
	}
	return nil
}

// readReservation refuses drives that another host has laid its hand on (SPC-5 5.13). Whoever is
// registered may be writing.
func readReservation(ctx context.Context, t Transport, d *Drive) error {
	page, has, err := optional(ctx, t, scsi.ReadKeys())
	var failed *scsi.CommandError
	switch {
	case errors.As(err, &failed) && failed.Status == 0x18:
		d.refuse(StateBlocked, Reason{ReasonReserved, "another host has reserved it", "release it there, or clear the reservation, if it is yours"})
		return nil
	case err != nil:
		return fmt.Errorf("whether another host has reserved it: %w", err)
	case !has:
		return nil // no such command: no such reservations
	}
	keys, err := scsi.ParseReservationKeys(page)
	if err != nil {
		return fmt.Errorf("reservation keys: %w", err)
	}
	if len(keys) > 0 {
		d.refuse(StateBlocked, Reason{ReasonReserved, fmt.Sprintf("%d hosts are registered for its reservation, the first with key %016x", len(keys), keys[0]),
			"unregister them there, or clear the reservation, if it is yours"})
	}
	return nil
}

// readDefects counts what no write of the host reaches. It is worth knowing, and not more.
func readDefects(ctx context.Context, t Transport, d *Drive) error {
	if page, err := dataIn(ctx, t, scsi.ReadDefectData12(false, true)); err == nil {
		if n, known := scsi.Defects(page); known {
			d.GrownDefects = some(int64(n))
		}
	} else if IsGone(err) {
		return err
	}
	if page, err := dataIn(ctx, t, scsi.GetPhysicalElementStatus()); err == nil {
		n, err := scsi.ParseDepopulated(page)
		if err == nil {
			d.area(AreaDepopulated, presence(n > 0), 0)
		}
		if err == nil && n > 0 {
			d.Depopulated = some(int64(n))
			d.Notes = append(d.Notes, Reason{Code: "depopulated", Message: fmt.Sprintf("%d of its heads or dies are taken out of use, and may hold data that nothing reaches", n),
				Hint: "destroy it where that matters"})
		}
	} else if IsGone(err) {
		return err
	}
	return nil
}

// readSCSISanitize asks which erases the drive supports, by its own list of commands and never by
// trying one (SPC-5 6.36), and how it stands.
func readSCSISanitize(ctx context.Context, t Transport, d *Drive) error {
	keeps := d.peripheral == scsi.HostManagedType || d.Zoning == HostAware
	supports := func(c scsi.ReportOpcode) (bool, error) {
		page, err := dataIn(ctx, t, c.Command())
		if err != nil {
			return false, err
		}
		s, err := scsi.ParseOpcodeSupport(page)
		if s == scsi.SupportedStandard && c.HasServiceAction {
			usage, bad := scsi.ParseOpcodeUsage(page)
			keeps = keeps && bad == nil && len(usage) > 1 && usage[1]&(1<<6) != 0 // ZNR
		}
		return s == scsi.SupportedStandard, err
	}
	support := SanitizeSupport{State: SanitizeUnknown}
	for _, x := range []struct {
		to *bool
		a  scsi.SanitizeAction
	}{{&support.Crypto, scsi.SanitizeCryptoErase}, {&support.Block, scsi.SanitizeBlockErase}, {&support.Overwrite, scsi.SanitizeOverwrite}} {
		var err error
		if *x.to, err = supports(scsi.ReportOpcode{Opcode: 0x48, ServiceAction: uint16(x.a), HasServiceAction: true}); IsGone(err) {
			return err
		}
	}
	format, err := supports(scsi.ReportOpcode{Opcode: 0x04})
	if IsGone(err) {
		return err
	}
	if err != nil {
		d.lack("opcodes_unreported", fmt.Sprintf("which erases it supports cannot be asked: %v", err), "its own erases are not tried blindly; it can be overwritten")
	}
	d.Format = format
	at, _, _, err := ReadSCSIState(ctx, t)
	if IsGone(err) {
		return err
	}
	able := support.Crypto || support.Block || support.Overwrite
	support.ZoneNoReset = able && keeps
	if able {
		d.Sanitize = &support
	}
	switch {
	case err != nil && (able || format):
		d.Sanitize, d.Format = nil, false
		d.lack("sanitize_unknown", fmt.Sprintf("whether an erase of it succeeds cannot be told: %v", err), "attach the drive to an adapter that passes its sense data on")
	case err != nil:
	case at.Formatting:
		d.refuse(StateBlocked, Reason{ReasonSanitizing, fmt.Sprintf("it is formatting itself (%d %%)", int(at.Progress)*100/65536),
			"expunge recover waits for it if the job is one of this state; leave the drive alone otherwise"})
	case at.Sanitizing:
		d.Sanitize = &support
		d.sanitizing("", int(at.Progress)*100/65536)
	case at.SanitizeFailed:
		d.Sanitize = &support
		d.sanitizeFailed(false)
	case at.FormatFailed, at.FormatCutOff:
		d.FormatFailed = true
		d.Notes = append(d.Notes, Reason{Code: "format_failed", Message: "its latest format failed or was cut off: its medium cannot be used until one succeeds", Hint: "expunge plan " + d.Serial + " --technique format, or by its sanitize"})
	case at.FirmwarePending:
		d.refuse(StateBlocked, Reason{"firmware_pending", "new firmware is saved and not active yet", "take power from the drive and give it back, then list again"})
	case able:
		support.State = SanitizeIdle
	}
	return nil
}

// SCSIState is where a SCSI drive stands with what it does by itself.
type SCSIState struct {
	Sanitizing, Formatting       bool
	SanitizeFailed, FormatFailed bool
	FormatCutOff                 bool // and not failed: the medium cannot be used until another succeeds
	FirmwarePending              bool
	AtRest                       bool
	Progress                     uint16 // 65536ths
	HasProgress                  bool
}

// ReadSCSIState asks by REQUEST SENSE, and where that has nothing to say by TEST UNIT READY, which
// is not accepted while a sanitize runs (SBC-4 4.11.2). It returns the sense data that the answer
// is in; of a drive at rest it says so.
func ReadSCSIState(ctx context.Context, t Transport) (state SCSIState, page []byte, reset bool, err error) {
	for n := 1; ; n++ {
		c := scsi.RequestSense(true)
		r, again, err := askNoting(ctx, t, c)
		reset = reset || again
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return SCSIState{}, nil, reset, fmt.Errorf("request sense: %w", err)
		}
		page = r.In(c)
		s, err := scsi.ParseRequestSense(page)
		if err != nil {
			return SCSIState{}, page, reset, fmt.Errorf("request sense: %w", err)
		}
		if s.Key != scsi.UnitAttention {
			break
		}
		reset = reset || s.ASC == 0x29
		if n == questions {
			return SCSIState{}, page, reset, fmt.Errorf("request sense: unit attention %02x/%02x again and again", s.ASC, s.ASCQ)
		}
	}
	if state, err = ParseSCSIState(page); err != nil || !state.AtRest {
		return state, page, reset, err
	}
	r, again, err := askNoting(ctx, t, scsi.TestUnitReady())
	reset = reset || again
	switch {
	case err != nil:
		return SCSIState{}, page, reset, fmt.Errorf("test unit ready: %w", err)
	case r.Err() == nil:
		return state, page, reset, nil
	case r.HostStatus != 0 || len(r.Sense) == 0:
		return SCSIState{}, page, reset, fmt.Errorf("test unit ready: %w", r.Err())
	}
	if state, err = ParseSCSIState(r.Sense); err == nil && state.AtRest {
		err = fmt.Errorf("test unit ready: %w", r.Err())
	}
	return state, r.Sense, reset, err
}

// ParseSCSIState judges sense data of either format (SPC-5 annex F, SBC-4 4.11, 5.4). What is none
// of the states that are known is an error.
func ParseSCSIState(page []byte) (SCSIState, error) {
	s, err := scsi.ParseRequestSense(page)
	if err != nil {
		return SCSIState{}, err
	}
	state := SCSIState{Progress: s.Progress, HasProgress: s.ProgressValid}
	switch {
	case s.Deferred:
		return SCSIState{}, fmt.Errorf("deferred error %x/%02x/%02x, of an earlier command", s.Key, s.ASC, s.ASCQ)
	case s.ASC == 0x04 && s.ASCQ == 0x1b:
		state.Sanitizing = true
	case s.ASC == 0x04 && s.ASCQ == 0x04:
		state.Formatting = true
	case s.ASC == 0x31 && s.ASCQ == 0x03:
		state.SanitizeFailed = true
	case s.ASC == 0x31 && s.ASCQ == 0x01:
		state.FormatFailed = true
	case s.ASC == 0x31 && s.ASCQ == 0x00:
		state.FormatCutOff = true
	case s.ASC == 0x04 && s.ASCQ == 0x1e:
		state.FirmwarePending = true
	case s.Key == scsi.NoSense && s.ASC == 0 && s.ASCQ == 0:
		state.AtRest = true
	default:
		return SCSIState{}, fmt.Errorf("sense %x/%02x/%02x, which tells nothing of an erase", s.Key, s.ASC, s.ASCQ)
	}
	return state, nil
}
