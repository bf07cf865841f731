package sanitize

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// Reshape is a change of the size that a drive shows to the host.
type Reshape struct {
	Why       string // a devices.HiddenKind, or whyFormat
	From, To  int64  // bytes
	FromBlock int
	ToBlock   int
}

// whyFormat: a format changed the logical blocks.
const whyFormat = "format"

// restore makes the areas accessible that the plan has to restore, one after another: the host can
// neither overwrite nor read back what it cannot address. A drive that takes such a change only
// once after each power-on stops the job with devices.ErrPowerCycle.
func (r *run) restore(ctx context.Context) error {
	for r.restored < len(r.drive.Restore) {
		area := r.drive.Restore[r.restored]
		if err := r.handle.Reidentify(ctx); err != nil {
			return fmt.Errorf("identify the drive before its %s is restored: %w", area.Kind, err)
		}
		shown, err := r.handle.Shown(ctx)
		if err != nil {
			return err
		}
		if shown < area.NativeBytes {
			again := r.restoreTries > 0
			if err := r.append(kindRestoreBegun, restoreRecord{string(area.Kind), area.NativeBytes}); err != nil {
				return err
			}
			err := r.handle.Show(ctx, area)
			if errors.Is(err, devices.ErrAdapter) || again && errors.Is(err, devices.ErrPowerCycle) {
				if err := r.leaveHidden(area, err); err != nil {
					return err
				}
				continue
			}
			if err != nil {
				return fmt.Errorf("make %d bytes accessible that the %s hides: %w", area.NativeBytes-shown, area.Kind, err)
			}
			if shown, err = r.handle.Shown(ctx); err != nil {
				return err
			}
		}
		g, err := r.handle.Resized(ctx)
		if err != nil {
			return err
		}
		if shown < area.NativeBytes || g.SizeBytes < area.NativeBytes {
			return fmt.Errorf("its %s is restored, and it still shows %d bytes of %d: %w", area.Kind, min(shown, g.SizeBytes), area.NativeBytes, devices.ErrPowerCycle)
		}
		if err := r.reshape(string(area.Kind), g); err != nil {
			return err
		}
	}
	return nil
}

// leaveHidden gives up on an area that the drive does not show, or that the adapter cannot ask for. A
// host cannot overwrite it then. The drive's own erases reach it, and it is said that nothing of it was
// read back.
func (r *run) leaveHidden(area devices.HiddenArea, why error) error {
	if r.drive.Technique == HostOverwrite {
		return &fault{fmt.Errorf("%d bytes that the %s hides cannot be made accessible, and nothing was overwritten: %w", area.NativeBytes-area.FromBytes, area.Kind, why)}
	}
	return r.append(kindLeftHidden, leftHiddenRecord{string(area.Kind), area.NativeBytes - area.FromBytes, why.Error()})
}

// reshape notes the size that the drive has now, and goes on with it.
func (r *run) reshape(why string, g devices.Geometry) error {
	err := r.append(kindReshaped, reshapedRecord{why, g.SizeBytes, g.LogicalBlock, g.PhysicalBlock})
	r.drive = r.opened.Drive
	return err
}

// reformatted takes the size that a format left.
func (r *run) reformatted(ctx context.Context) error {
	if r.drive.Reformat == 0 || r.wasReformatted() {
		return nil
	}
	g, err := r.handle.Resized(ctx)
	if err != nil {
		return err
	}
	if g.LogicalBlock != r.drive.Reformat {
		return &fault{fmt.Errorf("the drive reports that its format succeeded, and has blocks of %d bytes, not of %d", g.LogicalBlock, r.drive.Reformat)}
	}
	return r.reshape(whyFormat, g)
}

// applyReshape takes records of what changes the drive's size. From then on the drive is as large
// as it says.
func (s *state) applyReshape(r journal.Record) error {
	dp := &s.opened.Drive
	switch r.Kind {
	case kindRestoreBegun:
		s.touch(r.Time)
		s.restoring, s.restoreTries = true, s.restoreTries+1
		return r.Decode(&restoreRecord{})
	case kindLeftHidden:
		var l leftHiddenRecord
		if err := r.Decode(&l); err != nil {
			return err
		}
		if s.restored == len(dp.Restore) || l.Area != string(dp.Restore[s.restored].Kind) || dp.Technique == HostOverwrite {
			return fmt.Errorf("journal record %d leaves a %s hidden, which the plan does not have", r.Seq, l.Area)
		}
		s.restored, s.restoreTries = s.restored+1, 0
		dp.Excludes = append(slices.Clip(dp.Excludes), devices.Reason{Code: "hidden_area_not_read",
			Message: fmt.Sprintf("%d bytes hidden by the %s, which could not be made accessible (%s): they are not read back", l.Bytes, l.Area, l.Why)})
		return nil
	}
	var b reshapedRecord
	if err := r.Decode(&b); err != nil {
		return err
	}
	switch {
	case b.Why == whyFormat:
		if dp.Reformat == 0 || s.wasReformatted() || b.LogicalBlock != dp.Reformat || !s.operatedAll() {
			return fmt.Errorf("journal record %d changes blocks to %d bytes, which the plan does not have", r.Seq, b.LogicalBlock)
		}
	case s.restored == len(dp.Restore) || b.Why != string(dp.Restore[s.restored].Kind) || b.SizeBytes < dp.Restore[s.restored].NativeBytes || b.LogicalBlock != dp.LogicalBlock:
		return fmt.Errorf("journal record %d restores a %s to %d bytes, which the plan does not have", r.Seq, b.Why, b.SizeBytes)
	default:
		s.restored, s.restoreTries = s.restored+1, 0
	}
	if b.SizeBytes <= 0 || b.LogicalBlock <= 0 || b.SizeBytes%int64(b.LogicalBlock) != 0 || len(dp.Units) > 0 {
		return fmt.Errorf("journal record %d: %d bytes in blocks of %d", r.Seq, b.SizeBytes, b.LogicalBlock)
	}
	s.reshapes = append(s.reshapes, Reshape{b.Why, dp.SizeBytes, b.SizeBytes, dp.LogicalBlock, b.LogicalBlock})
	dp.SizeBytes, dp.LogicalBlock, dp.PhysicalBlock = b.SizeBytes, b.LogicalBlock, b.PhysicalBlock
	return nil
}

// wasReformatted says whether the size that a format left was taken.
func (s *state) wasReformatted() bool {
	n := len(s.reshapes)
	return n > 0 && s.reshapes[n-1].Why == whyFormat
}
