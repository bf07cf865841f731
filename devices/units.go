package devices

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// LogicalUnit is one of a SCSI or UFS drive that has several, such as one with two actuators (SAM-6 4.8).
// A sanitize is a unit's own; the drive is erased when all of them are. Of an eMMC with general purpose
// partitions they and the user area are units, by the numbers that give access to them.
type LogicalUnit struct {
	LUN          uint64 `json:"lun"`
	Node         string `json:"node"`
	SizeBytes    int64  `json:"size_bytes"`
	LogicalBlock int    `json:"logical_block_bytes"`
	Number       Number `json:"-"`
}

// unitKey groups block devices that are logical units of one SCSI drive, or areas of one card: one target, one serial
// number. Arrays, which are reached over fabrics, give many volumes one serial number, and are not
// grouped. lun is the unit's number.
func (s sysfs) unitKey(b blockdev) (key string, lun uint64, ok bool) {
	if controller := s.ufsHost(b); controller != "" {
		device, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device"))
		if err != nil {
			return "", 0, false
		}
		_, number, _ := strings.Cut(filepath.Base(device), ":0:0:")
		lun, err = strconv.ParseUint(number, 10, 64)
		return controller, lun, err == nil
	}
	if card := s.card(b); card != "" {
		return card, areaOf(b.name), true
	}
	path := s.devicePath(b)
	if b.subsystem() != busSCSI || strings.Contains(path, "/session") || strings.Contains(path, "/rport-") || strings.Contains(path, "/usb") {
		return "", 0, false
	}
	device, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device"))
	serial := vpdSerial(b.dir)
	if err != nil || serial == "" || text(b.dir, "device/vendor") == "ATA" {
		return "", 0, false
	}
	address := strings.Split(filepath.Base(device), ":") // host:channel:target:lun
	if len(address) != 4 {
		return "", 0, false
	}
	if lun, err = strconv.ParseUint(address[3], 10, 64); err != nil {
		return "", 0, false
	}
	return strings.Join([]string{filepath.Dir(device), serial, text(b.dir, "device/model")}, "\n"), lun, true
}

// joinUnits adds the other logical units of a drive to it.
func (d *Drive) joinUnits(s sysfs, group []blockdev) {
	if len(group) < 2 {
		return
	}
	d.Nodes, d.SizeBytes = nil, 0
	for _, b := range group {
		_, lun, _ := s.unitKey(b)
		u := LogicalUnit{LUN: lun, Node: nodePath(b.name), Number: b.number, SizeBytes: b.sizeBytes(), LogicalBlock: int(integer(b.dir, "queue/logical_block_size"))}
		d.Nodes, d.Units = append(d.Nodes, u.Node), append(d.Units, u)
		d.SizeBytes += u.SizeBytes
		d.LogicalBlock = min(d.LogicalBlock, u.LogicalBlock)
		d.PhysicalBlock = max(d.PhysicalBlock, int(integer(b.dir, "queue/physical_block_size")))
		d.ReadOnly = d.ReadOnly || text(b.dir, "ro") == "1"
	}
	slices.SortFunc(d.Units, func(a, b LogicalUnit) int { return int(a.LUN) - int(b.LUN) })
}

// checkUnits makes sure that the units of a drive are all of it, and that each is the drive's. open
// gives the node of a unit other than the first, which t is.
func checkUnits(ctx context.Context, t Transport, d *Drive, open func(node string) (Transport, error)) error {
	page, has, err := optional(ctx, t, scsi.ReportLUNs())
	if err != nil {
		return fmt.Errorf("report LUNs: %w", err)
	}
	if has {
		luns, err := scsi.ParseLUNs(page)
		if err != nil {
			return fmt.Errorf("report LUNs: %w", err)
		}
		if have := max(1, len(d.Units)); len(luns) != have {
			d.refuse(StateBlocked, Reason{ReasonUnitUnreachable, fmt.Sprintf("the drive has %d logical units, and %d of them have a block device", len(luns), have), hintRescan})
		}
	} else if len(d.Units) > 0 {
		return errors.New("report LUNs: the drive has several logical units, and does not list them")
	}
	for _, u := range d.Units[min(1, len(d.Units)):] {
		if err := joinUnit(ctx, d, u, open); err != nil {
			return fmt.Errorf("logical unit %d: %w", u.LUN, err)
		}
	}
	return nil
}

// joinUnit asks a further unit what the first was asked, and takes what speaks against touching it, or
// against what the drive can do, for the whole drive.
func joinUnit(ctx context.Context, d *Drive, u LogicalUnit, open func(node string) (Transport, error)) (err error) {
	t, err := open(u.Node)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	serial, _, err := unitIdentity(ctx, t)
	if err != nil {
		return err
	}
	if cleanASCII(serial) != d.Serial {
		return fmt.Errorf("%s says that it is %s, and belongs to %s by its address: %w", u.Node, cleanASCII(serial), d.Serial, ErrChanged)
	}
	part := Drive{Nodes: []string{u.Node}, Geometry: Geometry{SizeBytes: u.SizeBytes, LogicalBlock: u.LogicalBlock}, State: StateReady, Protocol: ProtocolSCSI}
	if err := describeSCSI(ctx, t, &part); err != nil {
		return err
	}
	for _, r := range part.Reasons {
		d.refuse(StateBlocked, r)
	}
	d.Lacks = append(d.Lacks, part.Lacks...)
	d.Notes = append(d.Notes, part.Notes...)
	d.Unseen += part.Unseen
	d.Format, d.FormatFailed = d.Format && part.Format, d.FormatFailed || part.FormatFailed
	for _, x := range []struct{ sum, more **int64 }{{&d.GrownDefects, &part.GrownDefects}, {&d.Depopulated, &part.Depopulated}} {
		if *x.sum != nil && *x.more != nil {
			*x.sum = some(**x.sum + **x.more)
		} else if *x.sum == nil {
			*x.sum = *x.more
		}
	}
	d.Sanitize = joinSanitize(d.Sanitize, part.Sanitize)
	return nil
}

// joinSanitize is what two units of a drive can do both; one that is at work, or failed, speaks for both.
func joinSanitize(a, b *SanitizeSupport) *SanitizeSupport {
	if a == nil || b == nil {
		return nil
	}
	s := *a
	s.Crypto, s.Block, s.Overwrite = a.Crypto && b.Crypto, a.Block && b.Block, a.Overwrite && b.Overwrite
	s.ZoneNoReset = a.ZoneNoReset && b.ZoneNoReset
	if a.AfterBlock != b.AfterBlock {
		s.AfterBlock = ReadsNothing // what holds for both is not known
	}
	if a.AfterCrypto != b.AfterCrypto {
		s.AfterCrypto = ReadsNothing
	}
	for _, state := range []SanitizeState{SanitizeUnknown, SanitizeFailed, SanitizeRunning} {
		if a.State == state || b.State == state {
			s.State = state
		}
	}
	if b.State == SanitizeRunning {
		s.Percent = b.Percent
	}
	return &s
}
