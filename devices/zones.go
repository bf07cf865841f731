package devices

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Zones is how a zoned space is divided: its blocks are written zone by zone, each from its start on in
// order, and again only after the zone was reset. All zones are alike. Behind the capacity of a zone, up to
// the start of the next, there are no blocks: addresses that count those which exist leave these gaps out.
type Zones struct {
	Count         int64 `json:"count"`
	SizeBytes     int64 `json:"size_bytes"`     // from the start of a zone to that of the next
	CapacityBytes int64 `json:"capacity_bytes"` // of each, from its start on
}

// Bytes are those of the blocks that exist.
func (z Zones) Bytes() int64 { return z.Count * z.CapacityBytes }

// ZoneState is what can be done to a zone.
type ZoneState string

// The states. What is above the write pointer of one that is empty or begun reads as if nothing were
// there, whatever the media hold.
const (
	ZoneEmpty    ZoneState = "empty"
	ZoneBegun    ZoneState = "begun" // open or closed
	ZoneFull     ZoneState = "full"
	ZoneReadOnly ZoneState = "read-only"
	ZoneOffline  ZoneState = "offline"
	// ZoneConventional is a zone of a hard disk that is written in any order, and has no write pointer.
	ZoneConventional ZoneState = "conventional"
)

// Zone is one zone of a space, in bytes of its node.
type Zone struct {
	Start    int64
	Capacity int64
	State    ZoneState
	Written  int64 // of one that is begun: from its start to the write pointer
}

// Unwritable says whether nothing more can be written to the zone, not even after a reset.
func (z Zone) Unwritable() bool { return z.State == ZoneReadOnly || z.State == ZoneOffline }

// ZoneReport is what a drive says of all zones of a space.
type ZoneReport struct {
	Zones
	List   []Zone
	AtOnce int64 // that may be partly written at one time; 0 says that there is no limit
	Most   int   // bytes that one command moves at most
	// Bounded: what is above a write pointer cannot be read.
	Bounded bool
	// AnyOrder: its zones take writes in any order, and have write pointers all the same. The last may be shorter.
	AnyOrder bool
}

// ErrZonesUnknown: what the drive says of its zones is missing, or contradicts itself.
var ErrZonesUnknown = errors.New("what the drive says of its zones cannot be relied on")

// The codes of drives whose zones keep something away.
const (
	ReasonZonesUnknown  = "zones_unknown"
	ReasonZonesKind     = "zones_unsupported"
	ReasonZonesOffline  = "zones_offline"
	ReasonZonesReadOnly = "zones_read_only"
	// ReasonZonesUntold: a host-aware disk does not tell its zones, which only its own erases depend on.
	ReasonZonesUntold = "zones_untold"
)

// ErrZonesKind: the zones are not alike, do not stay as they are, or their blocks carry more than data.
var ErrZonesKind = errors.New("the drive has zones of a kind that this version of expunge does not write")

// newZoneReport checks that zones are all of a space, and alike: each begins where the one before ends.
func newZoneReport(list []Zone, size, space int64) (ZoneReport, error) {
	if size <= 0 || space <= 0 || space%size != 0 || int64(len(list)) != space/size {
		return ZoneReport{}, fmt.Errorf("%w: %d zones of %d bytes in a space of %d", ErrZonesUnknown, len(list), size, space)
	}
	for i, z := range list {
		switch {
		case z.Start != int64(i)*size:
			return ZoneReport{}, fmt.Errorf("%w: zone %d begins at %d, which is not the end of the one before", ErrZonesUnknown, i, z.Start)
		case z.Capacity <= 0 || z.Capacity > size:
			return ZoneReport{}, fmt.Errorf("%w: zone %d has %d bytes of %d", ErrZonesUnknown, i, z.Capacity, size)
		case z.Capacity != list[0].Capacity:
			return ZoneReport{}, fmt.Errorf("%w: zone %d has a capacity of %d bytes, the first of %d", ErrZonesKind, i, z.Capacity, list[0].Capacity)
		}
	}
	return ZoneReport{Zones: Zones{int64(len(list)), size, list[0].Capacity}, List: list}, nil
}

// count is how many zones are in a state.
func (r ZoneReport) count(s ZoneState) (n int64) {
	for _, z := range r.List {
		if z.State == s {
			n++
		}
	}
	return n
}

// readZones asks the drive for the zones of every space that has any. While the drive erases itself, or
// after it failed at that, it does not tell them.
func (h *Host) readZones(ctx context.Context, t Transport, d *Drive) error {
	for i := range d.Namespaces {
		n := &d.Namespaces[i]
		if !n.Zoned {
			continue
		}
		report, err := h.zonesOf(ctx, t, d, *n)
		switch {
		case IsGone(err), errors.Is(err, fs.ErrPermission):
			return err
		case err != nil && !d.idle():
			d.lack(ReasonZonesUnknown, fmt.Sprintf("it does not tell the zones of namespace %d while it sanitizes itself, or after that failed", n.NSID), "")
		case errors.Is(err, ErrZonesKind):
			d.refuse(StateBlocked, Reason{ReasonZonesKind, err.Error(), "destroy it, or erase it with a tool of its manufacturer"})
		case err != nil:
			d.refuse(StateBlocked, Reason{ReasonZonesUnknown, err.Error(), "list again; a drive that does not say how its zones are cannot be sanitized by a host"})
		}
		n.Zones = report.Zones
		d.lostZones(report, fmt.Sprintf(" of namespace %d", n.NSID))
	}
	return nil
}

// lostZones notes zones that cannot be written, or read either. of says whose they are.
func (d *Drive) lostZones(report ZoneReport, of string) {
	for _, x := range []struct {
		state ZoneState
		code  string
		what  string
	}{{ZoneOffline, ReasonZonesOffline, "can neither be written nor read"}, {ZoneReadOnly, ReasonZonesReadOnly, "cannot be written"}} {
		if lost := report.count(x.state); lost > 0 {
			d.lack(x.code, fmt.Sprintf("%d of %d zones%s %s (%s): %d bytes", lost, report.Count, of, x.what, x.state, lost*report.CapacityBytes),
				"a host overwrite lists them as exceptions; only the drive's own erases reach them")
		}
	}
}

// zonesOf asks for the zones of one namespace, by its own node: t is that of the drive's first.
func (h *Host) zonesOf(ctx context.Context, t Transport, d *Drive, n Namespace) (report ZoneReport, err error) {
	if n.Node != d.Nodes[0] {
		if t, err = h.open(ctx, n.Node, ReadOnly); err != nil {
			return ZoneReport{}, err
		}
		defer func() { err = errors.Join(err, t.Close()) }()
	}
	return reportNVMeZones(ctx, t, n.NSID)
}

// idle says whether nothing of the drive's own keeps its blocks from the host.
func (d *Drive) idle() bool { return d.Sanitize == nil || d.Sanitize.State == SanitizeIdle }

// needZones refuses drives whose zones nobody asked for: they have no command door, or it did not open.
func (d *Drive) needZones() {
	unasked := slices.ContainsFunc(d.Namespaces, func(n Namespace) bool { return n.Zoned && n.Zones.Count == 0 })
	unasked = unasked || d.kernelZones.managed && d.Protocol != ProtocolNVMe && d.Zones.Count == 0
	if unasked && d.State == StateReady && d.idle() {
		d.refuse(StateBlocked, Reason{ReasonZonesUnknown, "its blocks are written in order, zone by zone, and it cannot be asked for its zones", "run as root; destroy a drive that does not say how its zones are"})
	}
}

// sameNamespaces compares them as far as both tell: zones are not told while a drive erases itself.
func sameNamespaces(a, b []Namespace) bool {
	return slices.EqualFunc(a, b, func(x, y Namespace) bool {
		if x.Zones.Count == 0 || y.Zones.Count == 0 {
			x.Zones, y.Zones = Zones{}, Zones{}
		}
		return x == y
	})
}

// sameZones compares those of two disks in the same way.
func sameZones(a, b Drive) bool {
	return a.Zoning == b.Zoning && (a.Zones == b.Zones || a.Zones.Count == 0 || b.Zones.Count == 0)
}

// ReadZones asks the drive for the space's zones, as they are now.
func (s Space) ReadZones(ctx context.Context) (ZoneReport, error) {
	if s.NSID == 0 {
		return reportDiskZones(ctx, s.transport, s.Geometry)
	}
	return reportNVMeZones(ctx, s.transport, s.NSID)
}

// ResetZone has the zone at an address of the node begin anew; with all, every zone of the space that is in use. It
// is no erase: what was written can be read no more, and stays on the media until they are written again.
func (s Space) ResetZone(ctx context.Context, start int64, all bool) error {
	if s.NSID == 0 {
		return sendDiskZone(ctx, s, start, all, false)
	}
	return sendNVMeZone(ctx, s, start, all, false)
}

// FinishZone has a zone count as full, so that it does not stay among those that may be partly written.
func (s Space) FinishZone(ctx context.Context, start int64) error {
	if s.NSID == 0 {
		return sendDiskZone(ctx, s, start, false, true)
	}
	return sendNVMeZone(ctx, s, start, false, true)
}

// Compact is the space with queues whose addresses count the blocks that exist, and no others. They
// carry writes as well as reads by commands of the drive: a kernel keeps write pointers of its own, which
// miss a reset that goes by, and may cut a write in parts and send them out of order.
func (s Space) Compact(r ZoneReport) Space {
	s.zones = &r
	return s
}

// At is the address of the node where the block at an address that counts existing blocks is.
func (z Zones) At(off int64) int64 { return off/z.CapacityBytes*z.SizeBytes + off%z.CapacityBytes }

// zoneQueue opens a queue on a space that is Compact.
func (s Space) zoneQueue(depth int) (blockio.Queue, error) {
	if s.NSID == 0 {
		return blockio.NewPool(diskZoneBlocks{scsiBlocks{s.transport, int64(s.LogicalBlock), s.SizeBytes}, *s.zones}, depth)
	}
	return blockio.NewPool(nvmeBlocks{s.transport, s.NSID, int64(s.LogicalBlock), *s.zones}, depth)
}

// writeTo tells how far each zone is written: whatever is written to a zoned drive moves a write pointer.
func (r ZoneReport) writeTo(w io.Writer) {
	for _, z := range r.List {
		fmt.Fprintf(w, "zone %d %d %s %d\n", z.Start, z.Capacity, z.State, z.Written)
	}
}
