package devices

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// Zoning is who sees to it that the zones of a shingled hard disk are written in order.
type Zoning string

// The ways, in the words of the standards (ZBC-2 4.2). Of a disk that manages its zones itself nothing is seen;
// one that is host-aware takes every write and has zones all the same.
const (
	HostManaged   Zoning = "host-managed"
	HostAware     Zoning = "host-aware"
	DeviceManaged Zoning = "device-managed"
)

// zoningCode is ZONED of VPD page B1h and of IDENTIFY DEVICE word 69, which are alike.
func (d *Drive) zoningCode(code uint8) {
	switch code {
	case 1:
		d.Zoning = HostAware
	case 2:
		d.Zoning = DeviceManaged
	case 3:
		d.refuse(StateBlocked, Reason{ReasonZonesUnknown, "it says that it is zoned, in a way that no standard has", "destroy it"})
	}
}

// kernelZones is what the kernel shows of a disk's zones. Its count and size are 0 where it shows none.
type kernelZones struct {
	managed bool
	size    int64
	count   int64
}

// readDiskZones asks a hard disk that the host must write in order for its zones, and makes sure that the
// kernel sees the same.
func (d *Drive) readDiskZones(ctx context.Context, t Transport) error {
	d.Zones = Zones{}
	if d.peripheral == scsi.HostManagedType {
		d.Zoning = HostManaged
	}
	switch {
	case d.Zoning == HostManaged:
	case d.kernelZones.managed:
		d.refuse(StateBlocked, Reason{ReasonZonesUnknown, "the kernel writes it zone by zone, and the drive does not say that it is such a disk",
			"have the kernel read it again (/sys/block/…/device/rescan); destroy it if both stay at that"})
		return nil
	case d.Zoning == HostAware:
		d.Notes = append(d.Notes, Reason{Code: "zoned_disk", Message: "a shingled hard disk that takes writes in any order, and is host-aware: it has zones, and is slow where they are not written in order; what is written over may stay where it was until the drive tidies up",
			Hint: "only the drive's own erases reach what it has moved"})
		return d.readAwareZones(ctx, t)
	case d.Zoning == DeviceManaged:
		d.Notes = append(d.Notes, Reason{Code: "zoned_disk", Message: "a shingled hard disk that manages its zones itself: what is written over may stay where it was until the drive tidies up",
			Hint: "only the drive's own erases reach what it has moved"})
		return nil
	default:
		return nil
	}
	if len(d.Units) > 0 {
		d.refuse(StateBlocked, Reason{ReasonZonesKind, fmt.Errorf("%w: in several logical units", ErrZonesKind).Error(), "destroy it, or erase it with a tool of its manufacturer"})
		return nil
	}
	report, err := reportDiskZones(ctx, t, Geometry{SizeBytes: d.SizeBytes, LogicalBlock: d.LogicalBlock})
	k := d.kernelZones
	if err == nil && report.AnyOrder {
		err = fmt.Errorf("%w: the disk says that the host must write it in order, and its zones that they take any", ErrZonesKind)
	}
	if err == nil && (!k.managed || k.size != report.SizeBytes || k.count != 0 && k.count != report.Count) {
		err = fmt.Errorf("%w: the drive says that the host must write its %d zones of %d bytes in order, and the kernel shows %d of %d (host-managed: %v)",
			ErrZonesUnknown, report.Count, report.SizeBytes, k.count, k.size, k.managed)
	}
	switch {
	case IsGone(err), errors.Is(err, fs.ErrPermission):
		return err
	case err != nil && d.busyWithItself():
		d.lack(ReasonZonesUnknown, "it does not tell its zones while it erases itself, or after that failed", "")
		return nil
	case errors.Is(err, ErrZonesKind):
		d.refuse(StateBlocked, Reason{ReasonZonesKind, err.Error(), "destroy it, or erase it with a tool of its manufacturer"})
		return nil
	case err != nil:
		d.refuse(StateBlocked, Reason{ReasonZonesUnknown, err.Error(), "list again; a drive that does not say how its zones are cannot be sanitized by a host"})
		return nil
	}
	d.Zones = report.Zones
	d.lostZones(report, "")
	return nil
}

// readAwareZones asks a disk that takes writes in any order for its zones: whether an erase of its own can be read
// back depends on how it leaves them. Where it does not tell them such an erase rests on its word.
func (d *Drive) readAwareZones(ctx context.Context, t Transport) error {
	report, err := reportDiskZones(ctx, t, Geometry{SizeBytes: d.SizeBytes, LogicalBlock: d.LogicalBlock})
	switch {
	case IsGone(err), errors.Is(err, fs.ErrPermission):
		return err
	case err != nil && d.busyWithItself():
		return nil // it tells them when that is over
	case err == nil && !report.AnyOrder:
		err = fmt.Errorf("%w: the disk says that it takes writes in any order, and none of its zones that it does", ErrZonesUnknown)
	}
	if err != nil {
		d.lack(ReasonZonesUntold, err.Error(), "overwrite it by the host; --verify status takes the word of the drive for an erase of its own")
		return nil
	}
	d.lostZones(report, "")
	return nil
}

// busyWithItself says whether there is a reason why the drive answers no question about its zones now.
func (d *Drive) busyWithItself() bool {
	erasing := slices.ContainsFunc(d.Reasons, func(r Reason) bool { return r.Code == ReasonSanitizing })
	return !d.idle() || erasing || d.FormatFailed || d.Security != nil && d.Security.Locked
}

// reportDiskZones asks a disk for its zones (ZBC-2 5.2) and for what holds for all of them (6.4.2).
func reportDiskZones(ctx context.Context, t Transport, g Geometry) (ZoneReport, error) {
	block := int64(g.LogicalBlock)
	if block <= 0 || g.SizeBytes < block {
		return ZoneReport{}, fmt.Errorf("%w: %d bytes in blocks of %d", ErrZonesUnknown, g.SizeBytes, block)
	}
	page, has, err := optional(ctx, t, scsi.Inquiry{EVPD: true, PageCode: scsi.PageZoned}.Command())
	if err != nil {
		return ZoneReport{}, fmt.Errorf("zoned block device characteristics: %w", err)
	}
	bounded, atOnce := true, int64(1) // what it does not say is taken to be so
	if z, err := scsi.ParseZoned(page); has && err == nil {
		bounded = !z.UnrestrictedReads
		switch z.MaxOpen {
		case 0:
		case scsi.NoZoneLimit:
			atOnce = 0
		default:
			atOnce = int64(z.MaxOpen)
		}
	}
	list, anyOrder, err := listDiskZones(ctx, t, g)
	if err != nil {
		return ZoneReport{}, err
	}
	r := ZoneReport{Zones: Zones{int64(len(list)), list[0].Capacity, list[0].Capacity}, List: list, AnyOrder: anyOrder}
	if !anyOrder {
		r, err = newZoneReport(list, list[0].Capacity, g.SizeBytes)
	}
	r.AtOnce, r.Most, r.Bounded = atOnce, mostAtOnce, bounded
	return r, err
}

// listDiskZones reads reports until all blocks are covered. Each must say that the zones from where it
// begins on are as many as there is room for, and that the drive ends where its node does. anyOrder says that
// some take writes in any order, and none in that of its write pointer alone.
func listDiskZones(ctx context.Context, t Transport, g Geometry) (list []Zone, anyOrder bool, err error) {
	block := int64(g.LogicalBlock)
	types := map[scsi.ZoneType]bool{}
	for at := int64(0); at < g.SizeBytes; {
		page, err := dataIn(ctx, t, scsi.ReportZones(uint64(at/block)))
		if err != nil {
			return nil, false, fmt.Errorf("report zones: %w", err)
		}
		part, total, last, err := scsi.ParseZoneReport(page)
		switch {
		case err != nil:
			return nil, false, fmt.Errorf("%w: %w", ErrZonesUnknown, err)
		case int64(last+1) != g.Blocks():
			return nil, false, fmt.Errorf("%w: the drive has %d blocks in zones, and its node shows %d", ErrZonesUnknown, last+1, g.Blocks())
		case int64(part[0].Start) != at/block, part[0].Length == 0, total > maxZones:
			return nil, false, fmt.Errorf("%w: of those from block %d on, %d, the first is said to begin at %d", ErrZonesUnknown, at/block, total, part[0].Start)
		}
		size := int64(part[0].Length) * block
		if len(list) > 0 {
			size = list[0].Capacity
		}
		if want := (g.SizeBytes - at + size - 1) / size; int64(total) != want {
			return nil, false, fmt.Errorf("%w: %d zones from block %d on, where %d of %d bytes have room", ErrZonesUnknown, total, at/block, want, size)
		}
		for _, z := range part {
			zone, err := diskZone(z, block)
			if err != nil {
				return nil, false, err
			}
			types[z.Type] = true
			shorter := z.Type == scsi.ZoneWritePreferred && zone.Capacity < size && zone.Start+zone.Capacity == g.SizeBytes
			if zone.Capacity != size && !shorter {
				return nil, false, fmt.Errorf("%w: one at block %d has %d bytes, the first has %d", ErrZonesKind, z.Start, zone.Capacity, size)
			}
			list, at = append(list, zone), zone.Start+zone.Capacity
		}
	}
	if types[scsi.ZoneWritePreferred] && types[scsi.ZoneWriteRequired] {
		return nil, false, fmt.Errorf("%w: some take writes in any order, and some do not", ErrZonesKind)
	}
	return list, types[scsi.ZoneWritePreferred], nil
}

func diskZone(z scsi.Zone, block int64) (Zone, error) {
	zone := Zone{Start: int64(z.Start) * block, Capacity: int64(z.Length) * block}
	if z.Type != scsi.ZoneConventional && z.Type != scsi.ZoneWriteRequired && z.Type != scsi.ZoneWritePreferred {
		return zone, fmt.Errorf("%w: the zone at block %d is of type %d", ErrZonesKind, z.Start, z.Type)
	}
	switch z.Condition {
	case scsi.ZoneNoPointer:
		zone.State = ZoneConventional
	case scsi.ZoneEmpty:
		zone.State = ZoneEmpty
	case scsi.ZoneFull:
		zone.State = ZoneFull
	case scsi.ZoneReadOnly:
		zone.State = ZoneReadOnly
	case scsi.ZoneOffline:
		zone.State = ZoneOffline
	default:
		zone.State, zone.Written = ZoneBegun, int64(z.Pointer-z.Start)*block
	}
	return zone, nil
}

// sendDiskZone resets or finishes zones (ZBC-2 5.4, 5.7). Either may be sent again.
func sendDiskZone(ctx context.Context, s Space, start int64, all, finish bool) error {
	z := scsi.ZoneOut{Action: scsi.ZoneReset, LBA: uint64(start / int64(s.LogicalBlock)), All: all}
	if finish {
		z.Action = scsi.ZoneFinish
	}
	c, err := z.Command()
	if err != nil {
		return err
	}
	r, err := ask(context.WithoutCancel(ctx), s.transport, c)
	if err == nil {
		err = r.Err()
	}
	return ioError(err)
}

// diskZoneBlocks is block I/O by SCSI commands on a disk that is written zone by zone. No request reaches
// from one zone into the next.
type diskZoneBlocks struct {
	scsiBlocks
	zones ZoneReport
}

// ReadAt implements blockio.Backend.
func (b diskZoneBlocks) ReadAt(p []byte, off int64) (int, error) {
	if err := b.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	return b.scsiBlocks.ReadAt(p, off)
}

func (b diskZoneBlocks) inside(off, n int64) error {
	if z := b.zones.CapacityBytes; off < 0 || off%z+n > z {
		return fmt.Errorf("%d+%d in zones of %d: %w", off, n, z, syscall.EINVAL)
	}
	return nil
}

// WriteAt implements blockio.Backend. A write whose answer is lost cannot just be sent again, for the zone may
// have taken it: what is there tells.
func (b diskZoneBlocks) WriteAt(p []byte, off int64) (int, error) {
	if err := b.inside(off, int64(len(p))); err != nil || off%b.block != 0 || int64(len(p))%b.block != 0 || len(p) == 0 {
		return 0, errors.Join(err, fmt.Errorf("%d+%d: %w", off, len(p), syscall.EINVAL))
	}
	at, most := 0, int(max(b.block, mostAtOnce/b.block*b.block))
	for at < len(p) {
		part := p[at:min(len(p), at+most)]
		if err := b.writeOne(part, off+int64(at)); err != nil {
			return at, ioError(fmt.Errorf("WRITE(16) at block %d: %w", (off+int64(at))/b.block, err))
		}
		at += len(part)
	}
	return at, nil
}

func (b diskZoneBlocks) writeOne(p []byte, off int64) error {
	ctx := context.Background()
	for n := 1; ; n++ {
		r, err := b.t.SCSI(ctx, scsi.Write16(uint64(off/b.block), uint32(int64(len(p))/b.block), p))
		if err == nil {
			err = r.Err()
		}
		if err == nil && r.Transferred != len(p) {
			err = fmt.Errorf("%d bytes of %d moved", r.Transferred, len(p))
		}
		var failed *scsi.CommandError
		if err == nil || n == questions || !errors.As(err, &failed) {
			return err
		}
		switch {
		case failed.FateUnknown():
			there := make([]byte, len(p))
			if _, unread := b.scsiBlocks.ReadAt(there, off); unread == nil && bytes.Equal(there, p) && b.reached(ctx, off+int64(len(p))) {
				return nil
			} else if IsGone(unread) {
				return unread
			}
		case failed.Sense == nil || failed.Sense.Key != scsi.UnitAttention:
			return err
		}
	}
}

// reached says whether a zone was written up to an address, or is written in any order.
func (b diskZoneBlocks) reached(ctx context.Context, to int64) bool {
	start := (to - 1) / b.zones.CapacityBytes * b.zones.CapacityBytes
	page, err := dataIn(ctx, b.t, scsi.ReportZones(uint64(start/b.block)))
	if err != nil {
		return false
	}
	list, _, _, err := scsi.ParseZoneReport(page)
	if err != nil || int64(list[0].Start)*b.block != start {
		return false
	}
	z, err := diskZone(list[0], b.block)
	return err == nil && (z.State == ZoneConventional || z.State == ZoneFull && to == start+z.Capacity || z.State == ZoneBegun && start+z.Written == to)
}
