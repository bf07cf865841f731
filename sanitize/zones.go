package sanitize

// Zones: a zoned drive takes writes only in the order of each zone, and a block again only after its
// zone was reset. A reset is no erase: what was written stays on the media until it is written over. It
// is destructive all the same, for nothing of the zone can be read any more; so a reset is noted before
// it is sent, with what it takes back: blocks that a pass has written count as not written from then on.
// A zone that was cut off in the middle is never continued: where its write pointer is after a loss of
// power says nothing of what is on the media.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// wholeZones are the zones that a set of a space lies in.
func wholeZones(z devices.Zones, set []overwrite.Extent) overwrite.Set {
	var zones []overwrite.Extent
	for _, e := range set {
		from := e.Offset / z.CapacityBytes * z.CapacityBytes
		to := (e.End() + z.CapacityBytes - 1) / z.CapacityBytes * z.CapacityBytes
		zones = append(zones, overwrite.Extent{Offset: from, Length: to - from})
	}
	return overwrite.NewSet(zones...)
}

// takeBack notes that the zones of todo will be reset in a pass, and returns all of them.
func (r *run) takeBack(pass int, s space, todo []overwrite.Extent) ([]overwrite.Extent, error) {
	whole := wholeZones(s.zones, todo)
	r.meter.moved.Add(overwrite.NewSet(todo...).Bytes() - whole.Bytes())
	return whole.Extents(), r.append(kindZonesReset, zonesResetRecord{pass, whole.Shift(s.base).Extents()})
}

// applyZonesReset takes back what a pass has written to zones. They are whole zones of one space.
func (s *state) applyZonesReset(r journal.Record) error {
	var z zonesResetRecord
	if err := r.Decode(&z); err != nil {
		return err
	}
	p, err := s.current(r, z.Pass)
	if err != nil {
		return err
	}
	set := overwrite.NewSet(z.Zones...)
	for _, area := range s.opened.Drive.spaces() {
		in := set.Intersect(overwrite.NewSet(overwrite.Extent{Offset: area.base, Length: area.size})).Shift(-area.base).Extents()
		if len(in) > 0 && (area.zones.Count == 0 || !slices.Equal(in, wholeZones(area.zones, in).Extents())) {
			return fmt.Errorf("journal record %d resets what is no zones of the plan", r.Seq)
		}
	}
	s.forgetZones(z.Pass)
	p.done, p.failed, p.ended = p.done.Without(set), p.failed.Without(set), r.Time
	return nil
}

// ofZones makes sure that a space has the zones that were planned, and lets it be addressed by the
// blocks that exist.
func (s space) ofZones(ctx context.Context, h devices.Space) (devices.Space, error) {
	if s.zones.Count == 0 {
		return h, nil
	}
	report, err := s.readZones(ctx, h)
	if err != nil {
		return h, err
	}
	return h.Compact(report), nil
}

// readZones has the drive tell its zones, which must be those that were planned.
func (s space) readZones(ctx context.Context, h devices.Space) (devices.ZoneReport, error) {
	report, err := h.ReadZones(ctx)
	if err != nil {
		return report, fmt.Errorf("zones of %s: %w", h.Node, err)
	}
	if report.AnyOrder || report.Zones != s.zones || int64(len(report.List)) != s.zones.Count {
		return report, fmt.Errorf("%s has %d zones of %d bytes with a capacity of %d, planned were %d of %d with %d: %w",
			h.Node, report.Count, report.SizeBytes, report.CapacityBytes, s.zones.Count, s.zones.SizeBytes, s.zones.CapacityBytes, devices.ErrChanged)
	}
	return report, nil
}

// intoZones resets the zones of todo, whose parts begin where zones do, and has o write them zone by
// zone. It returns what can be written, and has the rest noted as failed: zones that are read-only or
// offline, and those that do not get empty.
func (r *run) intoZones(ctx context.Context, h devices.Space, s space, todo []overwrite.Extent, o *overwrite.Options) ([]overwrite.Extent, error) {
	atOnce, err := reset(ctx, h, s, todo)
	if err != nil {
		return nil, err
	}
	report, err := s.readZones(ctx, h)
	if err != nil {
		return nil, err
	}
	var zones []overwrite.Extent
	var cause error
	for _, n := range numbers(s.zones, todo) {
		if z := report.List[n]; z.State != devices.ZoneEmpty && z.State != devices.ZoneConventional {
			zones = append(zones, overwrite.Extent{Offset: n * s.zones.CapacityBytes, Length: s.zones.CapacityBytes})
			cause = fmt.Errorf("zone %d of %s is %s", n, h.Node, z.State)
		}
	}
	o.Request = report.Most // so that a request which fails is one command
	if h.NSID == 0 {
		atOnce = 1 // a hard disk: two zones at a time would be a seek for each request
	}
	conventional := func(off int64) bool {
		return report.List[off/s.zones.CapacityBytes].State == devices.ZoneConventional
	}
	o.Zoned = &overwrite.Zoned{
		Lanes:   int(atOnce),
		Random:  conventional,
		Pointer: func(off int64) (int64, error) { return pointer(ctx, h, s, off) },
		End: func(part overwrite.Extent, broken bool) error {
			if part.End()%s.zones.CapacityBytes == 0 && !broken || conventional(part.Offset) {
				return nil // it is full, or never is
			}
			err := h.FinishZone(ctx, s.zones.At(part.Offset))
			if broken && errors.Is(err, syscall.EIO) {
				return nil // what was written of it stays, and what was not has failed
			}
			return err
		},
	}
	lost := overwrite.NewSet(zones...)
	failed := overwrite.NewSet(todo...).Intersect(lost)
	if failed.Bytes() == 0 {
		return todo, nil
	}
	if err := o.Commit(overwrite.Progress{Failed: failed.Extents(), Cause: cause}); err != nil {
		return nil, err
	}
	if o.BadLimit > 0 {
		if failed.Bytes() > o.BadLimit {
			return nil, fmt.Errorf("%w: %d bytes, at most %d: %w", overwrite.ErrTooManyBad, failed.Bytes(), o.BadLimit, cause)
		}
		o.BadLimit = max(1, o.BadLimit-failed.Bytes())
	}
	return overwrite.NewSet(todo...).Without(lost).Extents(), nil
}

// keepsZones says whether the erases of a zoned drive are told not to leave its zones empty.
func (t Technique) keepsZones(d devices.Drive) bool {
	s := d.Sanitize
	return s != nil && t.hasFailureMode() && (s.NoDeallocate || s.ZoneNoReset && d.Zoning != "")
}

// emptiesZones says whether a technique leaves the zones of a drive empty, so that what is read afterwards
// says nothing of its media.
func (t Technique) emptiesZones(d devices.Drive) bool {
	return t != HostOverwrite && (zoned(d) || d.Zoning == devices.HostAware) && !t.keepsZones(d)
}

// numbers are those of the zones that a set of a space lies in.
func numbers(z devices.Zones, set []overwrite.Extent) []int64 {
	var list []int64
	for _, e := range wholeZones(z, set).Extents() {
		for at := e.Offset; at < e.End(); at += z.CapacityBytes {
			list = append(list, at/z.CapacityBytes)
		}
	}
	return list
}

// reset resets zones, all with one command where no other is in use, and returns how many can be written
// at one time. What a drive refuses shows in the state of the zone afterwards; a command without an
// answer ends the work. Other zones that are partly written are finished where the drive bounds how many
// may be: they keep what they hold.
func reset(ctx context.Context, h devices.Space, s space, todo []overwrite.Extent) (atOnce int64, err error) {
	report, err := s.readZones(ctx, h)
	if err != nil {
		return 0, err
	}
	mine := map[int64]bool{}
	for _, n := range numbers(s.zones, todo) {
		mine[n] = true
	}
	var used []devices.Zone
	others := false
	for n, z := range report.List {
		inUse := z.State == devices.ZoneBegun || z.State == devices.ZoneFull
		switch {
		case inUse && mine[int64(n)]:
			used = append(used, z)
		case inUse:
			others = true
			if z.State == devices.ZoneBegun && report.AtOnce > 0 {
				if err := refused(h.FinishZone(ctx, z.Start)); err != nil {
					return 0, fmt.Errorf("finish zone %d of %s: %w", n, h.Node, err)
				}
			}
		}
	}
	all := len(used) > 0 && !others
	if all {
		used = []devices.Zone{{}}
	}
	for _, z := range used {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		if err := refused(h.ResetZone(ctx, z.Start, all)); err != nil {
			return 0, fmt.Errorf("reset zones of %s: %w", h.Node, err)
		}
	}
	return report.AtOnce, nil
}

// refused drops an error by which a drive says that it did nothing to a zone.
func refused(err error) error {
	if errors.Is(err, syscall.EIO) && !devices.IsGone(err) {
		return nil
	}
	return err
}

// pointer asks where the next write to a zone must begin.
func pointer(ctx context.Context, h devices.Space, s space, off int64) (int64, error) {
	report, err := s.readZones(context.WithoutCancel(ctx), h)
	if err != nil {
		return 0, err
	}
	n := off / s.zones.CapacityBytes
	switch z := report.List[n]; z.State {
	case devices.ZoneEmpty, devices.ZoneBegun:
		return n*s.zones.CapacityBytes + z.Written, nil
	case devices.ZoneFull:
		return (n + 1) * s.zones.CapacityBytes, nil
	default:
		return 0, fmt.Errorf("zone %d is %s", n, z.State)
	}
}

// checkZones makes sure that the zones of a space are possible, and add up to it.
func (s space) checkZones() error {
	z := s.zones
	if z == (devices.Zones{}) {
		return nil
	}
	whole := z.Count > 0 && z.CapacityBytes > 0 && z.CapacityBytes%int64(s.block) == 0 && s.size%z.CapacityBytes == 0 && s.size/z.CapacityBytes == z.Count
	if !whole || z.SizeBytes < z.CapacityBytes || z.SizeBytes%int64(s.block) != 0 || z.Count > 1<<62/z.SizeBytes {
		return fmt.Errorf("%d zones of %d bytes with a capacity of %d are none of %d bytes", z.Count, z.SizeBytes, z.CapacityBytes, s.size)
	}
	return nil
}

// zonedSpaces are those that are written zone by zone.
func (dp DrivePlan) zonedSpaces() []space {
	return slices.DeleteFunc(dp.spaces(), func(s space) bool { return s.zones.Count == 0 })
}

// nodeBytes is what the drive's nodes show: with the addresses between zones where no blocks are.
func (dp DrivePlan) nodeBytes() int64 {
	n := dp.SizeBytes
	for _, s := range dp.zonedSpaces() {
		n += s.nodeSize() - s.size
	}
	return n
}

func (s space) nodeSize() int64 {
	if s.zones.Count == 0 {
		return s.size
	}
	return s.zones.Count * s.zones.SizeBytes
}
