package sanitize

// What is above the write pointer of a zone reads as if nothing were there, or not at all, whatever the media
// hold. So a drive that was told to leave its zones full or as they were, and empties them all the same, would
// read back as erased. Its zones are asked for before the first erase, after each, and before anything is read
// back: blocks above a write pointer are not read, are never gone, and verify nothing. What the drive says is
// in the journal, and judged from there.

import (
	"context"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// zonesTold is what a drive said of its zones at one time.
type zonesTold struct {
	after     int           // operations that had ended
	pass      int           // or the pass that was written
	complete  bool          // it was, by then
	unwritten overwrite.Set // above write pointers
	lost      overwrite.Set // of zones that are read-only or offline, which have none
	ended     bool
}

// asksZones says whether what can be read of the drive depends on its zones.
func (dp DrivePlan) asksZones() bool {
	return dp.Zoning == devices.HostAware || len(dp.zonedSpaces()) > 0
}

// judgesZones says whether an erase of the plan is judged by how it leaves the drive's zones.
func (dp DrivePlan) judgesZones() bool {
	return len(dp.Operations) > 0 && dp.Verification != VerifyStatus && dp.asksZones()
}

// mostTold is how many extents of each kind are in one record: far less than it has room for.
const mostTold = 8192

// tellZones has the drive tell its zones, and notes what cannot be read of them: after so many operations, or
// after a pass.
func (r *run) tellZones(ctx context.Context, after, pass int) error {
	if !r.drive.asksZones() {
		return nil
	}
	var told zonesTold
	err := r.eachNode(func(h devices.Space, s space) error {
		var report devices.ZoneReport
		var err error
		switch {
		case s.zones.Count > 0:
			report, err = s.readZones(ctx, h)
		case r.drive.Zoning == devices.HostAware:
			report, err = s.readAwareZones(ctx, h)
		}
		if err != nil {
			return err
		}
		told.add(report, s.base)
		return nil
	})
	if err != nil {
		return err
	}
	unwritten, lost := told.unwritten.Extents(), told.lost.Extents()
	for begin := true; begin || len(unwritten)+len(lost) > 0; begin = false {
		u, l := min(mostTold, len(unwritten)), min(mostTold, len(lost))
		record := zonesToldRecord{After: after, Pass: pass, Begin: begin, Unwritten: unwritten[:u], Lost: lost[:l]}
		unwritten, lost = unwritten[u:], lost[l:]
		record.End = len(unwritten)+len(lost) == 0
		if err := r.append(kindZonesTold, record); err != nil {
			return err
		}
	}
	return nil
}

// add takes the zones of a space that begins at base. A state that is not known is none to rely on.
func (t *zonesTold) add(report devices.ZoneReport, base int64) {
	var unwritten, lost []overwrite.Extent
	for n, z := range report.List {
		at := base + int64(n)*report.CapacityBytes
		switch z.State {
		case devices.ZoneConventional, devices.ZoneFull:
		case devices.ZoneEmpty:
			unwritten = append(unwritten, overwrite.Extent{Offset: at, Length: z.Capacity})
		case devices.ZoneBegun:
			if left := z.Capacity - z.Written; left > 0 {
				unwritten = append(unwritten, overwrite.Extent{Offset: at + z.Written, Length: left})
			}
		default:
			lost = append(lost, overwrite.Extent{Offset: at, Length: z.Capacity})
		}
	}
	t.unwritten.Add(unwritten...)
	t.lost.Add(lost...)
}

// readAwareZones has a host-aware disk tell its zones, which are all of it.
func (s space) readAwareZones(ctx context.Context, h devices.Space) (devices.ZoneReport, error) {
	report, err := h.ReadZones(ctx)
	if err != nil {
		return report, fmt.Errorf("zones of %s: %w", h.Node, err)
	}
	var bytes int64
	for _, z := range report.List {
		bytes += z.Capacity
	}
	if !report.AnyOrder || bytes != s.size {
		return report, fmt.Errorf("%s has zones of %d bytes (writes in any order: %v), and was planned as host-aware with %d: %w", h.Node, bytes, report.AnyOrder, s.size, devices.ErrChanged)
	}
	return report, nil
}

// applyZonesTold takes what a drive said of its zones: before the first operation, after one that was sent, or
// after a pass. What a pass has written is not on the drive where a write pointer is below it.
func (s *state) applyZonesTold(r journal.Record) error {
	var z zonesToldRecord
	if err := r.Decode(&z); err != nil {
		return err
	}
	if s.attempts == 0 || !s.opened.Drive.asksZones() {
		return fmt.Errorf("journal record %d tells zones of a drive that has none, or outside an attempt", r.Seq)
	}
	n := z.After - 1
	early := n >= len(s.operations) || n > s.next() || n >= 0 && s.operations[n].sends == 0
	late := n < 0 && s.sent()
	if len(s.operations) == 0 {
		early, late = z.Pass != len(s.passes), z.Pass == 0 || z.After != 0
	} else if n < -1 || z.Pass != 0 {
		late = true
	}
	if early || late {
		return fmt.Errorf("journal record %d tells the zones after operation %d, pass %d too early, or too late", r.Seq, z.After, z.Pass)
	}
	if z.Begin {
		s.told = append(s.told, zonesTold{after: z.After, pass: z.Pass, complete: z.Pass > 0 && s.passes[z.Pass-1].complete})
	}
	last := len(s.told) - 1
	if last < 0 || s.told[last].ended || s.told[last].after != z.After || s.told[last].pass != z.Pass {
		return fmt.Errorf("journal record %d tells zones outside a report", r.Seq)
	}
	t := &s.told[last]
	t.unwritten.Add(overwrite.NewSet(z.Unwritten...).Intersect(s.all()).Extents()...)
	t.lost.Add(overwrite.NewSet(z.Lost...).Intersect(s.all()).Extents()...)
	t.ended = z.End
	if t.ended && z.Pass > 0 && !s.passes[z.Pass-1].complete {
		s.passes[z.Pass-1].notKept(*t)
	}
	return nil
}

// notKept takes back what a pass has written to zones that are not full: it is not on the drive.
func (p *passState) notKept(t zonesTold) {
	for _, set := range []overwrite.Set{t.unwritten, t.lost} {
		if not := p.done.Intersect(set); not.Bytes() > 0 {
			p.done = p.done.Without(not)
			p.failed.Add(not.Extents()...)
			p.writeErr = "the drive took what was written, and says that its zones are not full"
		}
	}
}

// zonesAfter is what was told after so many operations, or after the last pass: of several reports each counts
// that says of a block that it cannot be read, but before the first operation only the latest.
func (s *state) zonesAfter(after int) (t zonesTold) {
	t.after = after
	for _, x := range s.told {
		if x.after != after || x.pass != len(s.passes) || !x.ended {
			continue
		}
		if after == 0 && x.pass == 0 {
			t = x
			continue
		}
		t.unwritten.Add(x.unwritten.Extents()...)
		t.lost.Add(x.lost.Extents()...)
		t.ended = true
	}
	return t
}

// blank are the blocks of which a read says nothing after so many operations, or after the last pass.
func (s *state) blank(after int) overwrite.Set {
	if s.opened.Drive.Verification == VerifyStatus {
		return overwrite.Set{}
	}
	t := s.zonesAfter(after)
	t.unwritten.Add(t.lost.Extents()...)
	return t.unwritten
}

// zonesWrong are blocks of zones that an operation left as it was told not to: a cryptographic erase less written
// than they were, any other not full. ok is false when the journal does not show how it left them.
func (s *state) zonesWrong(operation int) (wrong overwrite.Set, ok bool) {
	before, after := s.zonesAfter(0), s.zonesAfter(operation)
	keeps := s.opened.Drive.Operations[operation-1].Technique == CryptographicErase
	if s.opened.Drive.BlocksBarred && !before.ended {
		before.unwritten, before.lost = s.all(), s.all() // it did not tell them
		before.ended = true
	}
	wrong = after.unwritten
	if keeps {
		wrong = wrong.Without(before.unwritten)
	}
	wrong.Add(after.lost.Without(before.lost).Extents()...)
	return wrong, before.ended && after.ended
}

// zonesToldOfPasses says whether the drive told its zones after each pass, and again before reading back, where it has any.
func (s *state) zonesToldOfPasses() bool {
	if !s.opened.Drive.asksZones() {
		return true
	}
	told := func(pass int, complete bool) bool {
		return slices.ContainsFunc(s.told, func(t zonesTold) bool { return t.ended && t.pass == pass && t.complete == complete })
	}
	for n := range s.passes {
		if !told(n+1, false) {
			return false
		}
	}
	return s.opened.Drive.Verification == VerifyStatus || told(len(s.passes), true)
}

// forgetZones drops what was told after so many operations, or passes: the last of them is done again.
func (s *state) forgetZones(after int) {
	s.told = slices.DeleteFunc(s.told, func(t zonesTold) bool { return max(t.after, t.pass) >= after })
}

// zonesOutcome judges how the erases of the plan left the drive's zones; "" when nothing speaks against them.
func (s *state) zonesOutcome() (Outcome, string) {
	dp := s.opened.Drive
	if !dp.judgesZones() {
		return "", ""
	}
	for n := range s.operations {
		wrong, ok := s.zonesWrong(n + 1)
		looked := s.zonesAfter(n+1).ended || n+1 == len(s.operations)
		switch {
		case !looked:
			continue // another followed, before anything was read
		case !ok:
			return Unknown, "the journal does not show how the drive's zones were before and after the erase"
		case wrong.Bytes() == 0:
			continue
		}
		return Unproven, fmt.Sprintf("%d bytes lie in zones that the drive left otherwise than %s was told to leave them, although it reported success: above a write pointer blocks read as if nothing were there, whatever the media hold",
			wrong.Bytes(), dp.Operations[n].Command)
	}
	return "", ""
}
