package sanitize

// Markers: before an erase whose result nobody can know, the host writes what nobody else can know
// to random blocks, and after it none of that may be left. A drive that reports success and did
// nothing is found out by them; so is an old success that is taken for a new one.

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// markerState is what a journal says of markers.
type markerState struct {
	seed   []byte
	all    overwrite.Set // drawn
	set    overwrite.Set // on the media, and read back from there
	isSet  bool
	checks []markerCheck
	again  bool // what was read of them after the last operation is not to be relied on
}

// markerCheck is one reading of the markers.
type markerCheck struct {
	after     int // operations that had ended
	read      overwrite.Set
	unchanged overwrite.Set
	failed    overwrite.Set
	constant  int64 // bytes of blocks with one value throughout
	ended     bool
}

// spaceSeed is the seed of one space: the first one's is the seed itself.
func spaceSeed(seed []byte, i int, s space) []byte {
	if i == 0 {
		return seed
	}
	sum := sha256.Sum256(fmt.Appendf(bytes.Clone(seed), "space %d", s.number))
	return sum[:]
}

// drawMarkers draws blocks over all spaces, in proportion to their size.
func drawMarkers(dp DrivePlan, seed []byte) (overwrite.Set, error) {
	var all overwrite.Set
	for i, s := range dp.spaces() {
		count := max(1, int64(float64(overwrite.MarkerCount)*float64(s.size)/float64(dp.SizeBytes)))
		extents, err := overwrite.Markers(s.size/int64(s.block), s.block, count, spaceSeed(seed, i, s))
		if s.zones.Count > 0 {
			extents, err = overwrite.ZoneMarkers(s.zones.Count, s.zones.CapacityBytes/int64(s.block), s.block, count, spaceSeed(seed, i, s))
		}
		if err != nil {
			return overwrite.Set{}, err
		}
		all.Add(overwrite.NewSet(extents...).Shift(s.base).Extents()...)
	}
	return all, nil
}

// markerPattern is what the markers hold: a keystream of its own, at the drive-wide address.
type markerPattern struct {
	stream overwrite.Keystream
	base   int64
}

// Fill implements overwrite.Pattern.
func (m markerPattern) Fill(p []byte, off int64) { m.stream.Fill(p, m.base+off) }

// Equal implements overwrite.Pattern.
func (m markerPattern) Equal(p []byte, off int64) bool { return m.stream.Equal(p, m.base+off) }

func newMarkerPattern(seed []byte, base int64) (markerPattern, error) {
	key := sha256.Sum256(append([]byte("expunge marker "), seed...))
	stream, err := overwrite.NewKeystream(key[:])
	return markerPattern{stream, base}, err
}

// markerUnit is how little of a marker counts as still there: chance makes 128 equal bits never.
const markerUnit = 16

// unchanged lists the blocks of which any part is still what was written.
func (m markerPattern) unchanged(got []byte, off int64, block int) []overwrite.Extent {
	want := make([]byte, len(got))
	m.Fill(want, off)
	var left []overwrite.Extent
	for at := 0; at+block <= len(got); at += block {
		for u := at; u < at+block; u += markerUnit {
			u := min(u, at+block-markerUnit) // blocks of 520 bytes are no multiple of it
			if bytes.Equal(got[u:u+markerUnit], want[u:u+markerUnit]) {
				left = append(left, overwrite.Extent{Offset: off + int64(at), Length: int64(block)})
				break
			}
		}
	}
	return left
}

// wantsMarkers says whether the plan has markers: there must be something to read afterwards, blocks
// to write them to, and the same blocks to find them in again.
func (dp DrivePlan) wantsMarkers() bool {
	return len(dp.Operations) > 0 && dp.Verification != VerifyStatus && !dp.BlocksBarred && dp.Reformat == 0
}

// errNoMarkers: too few markers could be set for anything to be proven by them.
var errNoMarkers = errors.New("the drive does not keep what is written to it: markers cannot be set")

// mark sets the markers. It is done once, before the first operation; when it was cut off it is
// done again with others.
func (r *run) mark(ctx context.Context) error {
	if !r.drive.wantsMarkers() || r.sent() {
		return nil
	}
	if r.markers != nil && r.markers.isSet {
		return r.comparePaths(ctx, r.markers.set) // which an earlier attempt may not have come to
	}
	if err := r.reidentify(ctx, "markers"); err != nil {
		return err
	}
	seed := make([]byte, overwrite.KeySize)
	rand.Read(seed)
	if err := r.append(kindMarkersBegun, markersBegunRecord{hex.EncodeToString(seed), overwrite.SamplePRNG}); err != nil {
		return err
	}
	r.meter.begin("markers", r.markers.all.Bytes()*2, 0)
	var lost overwrite.Set
	// Written and flushed, then read back from the media: what does not come back was never there.
	for step, do := range []func(context.Context, queue, []overwrite.Extent, overwrite.Pattern, overwrite.Options) error{overwrite.Fill, overwrite.Check} {
		if err := r.handle.DropCaches(ctx); err != nil {
			return fmt.Errorf("drop the host's caches: %w", err)
		}
		err := r.eachSpace(ctx, r.markers.all.Without(lost), func(h devices.Space, s space, todo []overwrite.Extent) error {
			pattern, err := newMarkerPattern(seed, s.base)
			if err != nil {
				return err
			}
			o := r.options(s, func(p overwrite.Progress) error {
				lost.Add(shift(p.Failed, s.base)...)
				lost.Add(shift(p.Mismatch, s.base)...)
				return r.answering(ctx, p.Failed)
			})
			if writing := step == 0; writing && s.zones.Count > 0 {
				if todo, err = r.intoZones(ctx, h, s, todo, &o); err != nil {
					return err
				}
			}
			return pumped(h, func(q queue) error { return do(ctx, q, todo, pattern, o) })
		})
		if err != nil {
			return r.judge(ctx, fmt.Errorf("set markers on %s: %w", r.drive.Serial, err))
		}
	}
	if err := r.append(kindMarkersSet, markersSetRecord{lost.Extents()}); err != nil {
		return err
	}
	if 2*r.markers.set.Bytes() < r.markers.all.Bytes() {
		return &fault{errNoMarkers}
	}
	if err := r.comparePaths(ctx, r.markers.set); err != nil {
		return err
	}
	return nil
}

// readMarkers looks what is left of them, after so many operations.
func (r *run) readMarkers(ctx context.Context, after int) error {
	if r.markers == nil || !r.markers.isSet {
		return nil
	}
	if c := r.markers.check(after); c != nil && c.ended && !r.markers.again {
		return nil
	}
	if err := r.reidentify(ctx, "reading the markers"); err != nil {
		return err
	}
	if err := r.handle.DropCaches(ctx); err != nil {
		return fmt.Errorf("drop the host's caches: %w", err)
	}
	if err := r.tellZones(ctx, after, 0); err != nil {
		return err
	}
	if err := r.append(kindMarkersRead, markersReadRecord{After: after, Begin: true}); err != nil {
		return err
	}
	set := r.markersAfter(after)
	r.meter.begin("markers", set.Bytes(), 0)
	err := r.eachSpace(ctx, set, func(h devices.Space, s space, todo []overwrite.Extent) error {
		pattern, err := newMarkerPattern(r.markers.seed, s.base)
		if err != nil {
			return err
		}
		constant := int64(0)
		o := r.options(s, func(p overwrite.Progress) error {
			if err := r.answering(ctx, p.Failed); err != nil {
				return err
			}
			record := markersReadRecord{
				After: after, Read: shift(p.Done, s.base), Unchanged: shift(p.Mismatch, s.base), Failed: shift(p.Failed, s.base), Error: text(p.Cause), Constant: constant,
			}
			constant = 0
			return r.append(kindMarkersRead, record)
		})
		look := func(got []byte, off int64) []overwrite.Extent {
			for at := 0; at+s.block <= len(got); at += s.block {
				if b := got[at : at+s.block]; bytes.Count(b, b[:1]) == s.block {
					constant += int64(s.block)
				}
			}
			return pattern.unchanged(got, off, s.block)
		}
		return pumped(h, func(q queue) error {
			return overwrite.Inspect(ctx, q, todo, look, o)
		})
	})
	if err != nil {
		return r.judge(ctx, fmt.Errorf("read the markers of %s: %w", r.drive.Serial, err))
	}
	return r.append(kindMarkersRead, markersReadRecord{After: after, End: true})
}

// check is the latest reading after so many operations; nil when there is none.
func (m *markerState) check(after int) *markerCheck {
	if m == nil {
		return nil
	}
	for i := len(m.checks) - 1; i >= 0; i-- {
		if m.checks[i].after == after {
			return &m.checks[i]
		}
	}
	return nil
}

// forget drops the readings after so many operations: the last of them was sent again.
func (m *markerState) forget(after int) {
	if m != nil {
		m.checks = slices.DeleteFunc(m.checks, func(c markerCheck) bool { return c.after >= after })
	}
}

// changed says whether a reading shows that the markers are gone: none is left, and at least half
// of them could be read.
func (s *state) changed(after int) bool {
	c, set := s.markers.check(after), s.markersAfter(after)
	if c == nil || !c.ended || c.unchanged.Bytes() > 0 {
		return false
	}
	read := c.read.Without(s.blank(after)).Bytes()
	return 2*read >= set.Bytes() && read > 0
}

// markersAfter are the markers that must be gone after so many operations: all of them after the last;
// before, those of the logical unit that the latest one erased.
func (s *state) markersAfter(after int) overwrite.Set {
	if s.markers == nil {
		return overwrite.Set{}
	}
	dp := s.opened.Drive
	if len(dp.Units) == 0 || after < 1 || after >= len(s.operations) {
		return s.markers.set
	}
	unit := dp.spaces()[dp.Operations[after-1].Unit]
	return s.markers.set.Intersect(overwrite.NewSet(overwrite.Extent{Offset: unit.base, Length: unit.size}))
}

// firstOfUnit says whether operation i is the first on its logical unit, so that nothing else of this
// job can have made the markers go.
func (dp DrivePlan) firstOfUnit(i int) bool {
	return !slices.ContainsFunc(dp.Operations[:i], func(o Operation) bool { return o.Unit == dp.Operations[i].Unit })
}

// unmapped says whether most markers read as one value after an operation that was told to leave
// blocks allocated: what is read then are blocks that were unmapped, and nothing of what was erased.
func (s *state) unmapped(after int) bool {
	c := s.markers.check(after)
	return c != nil && s.opened.Drive.Operations[after-1].noDeallocate() && c.constant*2 > c.read.Bytes()
}

// contradicted says whether a drive unmapped blocks that it was told to leave allocated, after any
// operation, and did not say so (SOS 4): what it reports is not to be believed then.
func (s *state) contradicted() bool {
	for i := range s.operations {
		if s.unmapped(i+1) && !s.operations[i].last.unmapped {
			return true
		}
	}
	return false
}

func shift(extents []overwrite.Extent, by int64) []overwrite.Extent {
	return overwrite.NewSet(extents...).Shift(by).Extents()
}

func (s *state) applyMarkers(kind string, decode func(any) error, seq int64) error {
	switch kind {
	case kindMarkersBegun:
		var b markersBegunRecord
		if err := decode(&b); err != nil {
			return err
		}
		seed, err := decodeKey(b.Seed)
		if err != nil {
			return fmt.Errorf("journal record %d: marker seed: %w", seq, err)
		}
		if !s.opened.Drive.wantsMarkers() || s.sent() {
			return fmt.Errorf("journal record %d sets markers where the plan has none, or too late", seq)
		}
		s.markers = &markerState{seed: seed}
		s.markers.all, err = drawMarkers(s.opened.Drive, seed)
		return err
	case kindMarkersSet:
		var b markersSetRecord
		if err := decode(&b); err != nil {
			return err
		}
		if s.markers == nil || s.markers.isSet {
			return fmt.Errorf("journal record %d ends the setting of markers that was not begun", seq)
		}
		s.markers.set, s.markers.isSet = s.markers.all.Without(overwrite.NewSet(b.Lost...)), true
		return nil
	}
	var b markersReadRecord
	if err := decode(&b); err != nil {
		return err
	}
	// A reading speaks of an operation that was sent, and all before it had ended by then.
	if n := b.After - 1; s.markers == nil || !s.markers.isSet || n < 0 || n >= len(s.operations) || n > s.next() || s.operations[n].sends == 0 {
		return fmt.Errorf("journal record %d reads markers that were not set, or too early", seq)
	}
	if b.Begin {
		s.markers.again = false
		s.markers.checks = append(s.markers.checks, markerCheck{after: b.After})
		return nil
	}
	c := s.markers.check(b.After)
	if c == nil || c.ended {
		return fmt.Errorf("journal record %d reads markers outside a reading", seq)
	}
	c.read.Add(overwrite.NewSet(b.Read...).Intersect(s.markers.set).Extents()...)
	c.unchanged.Add(b.Unchanged...)
	c.failed.Add(b.Failed...)
	c.constant += b.Constant
	if b.Error != "" {
		s.readErr = b.Error
	}
	c.ended = b.End
	return nil
}
