package sanitize

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// verifyOverwrite reads back what the last pass wrote, and compares it with the pattern made again.
func (r *run) verifyOverwrite(ctx context.Context) error {
	last := len(r.passes)
	return r.readBack(ctx, func(q queue, s space, todo []overwrite.Extent, o overwrite.Options) error {
		pattern, ok, err := r.pattern(last, r.passes[last-1].begun)
		if err != nil || !ok {
			return errors.Join(err, fmt.Errorf("the key of pass %d was lost while in use", last))
		}
		return overwrite.Check(ctx, q, todo, overwrite.Shifted(pattern, s.base), o)
	}, func() (zeros, ones int64) { return 0, 0 })
}

// readBack reads all of the drive, or samples drawn now, and has them compared. A full verification
// goes on where it stopped; a sampled one begins anew with other samples. counted tells how many
// blocks of nothing but 00h or FFh were seen since it was last asked.
func (r *run) readBack(ctx context.Context, compare func(queue, space, []overwrite.Extent, overwrite.Options) error, counted func() (zeros, ones int64)) error {
	if err := r.reidentify(ctx, "verification"); err != nil {
		return err
	}
	if err := r.handle.DropCaches(ctx); err != nil {
		return fmt.Errorf("drop the host's caches: %w", err)
	}
	if err := r.tellZones(ctx, len(r.operations), len(r.passes)); err != nil {
		return err
	}
	if v := r.verify; v == nil || v.begun.Mode != VerifyFull || v.end != nil {
		begun, err := r.drawSamples()
		if err != nil {
			return err
		}
		if err := r.append(kindVerifyBegun, begun); err != nil {
			return err
		}
	}
	extents, _, err := r.toVerify()
	if err != nil {
		return err
	}
	todo := extents.Without(r.verify.done).Without(r.unread).Without(r.blank(len(r.operations)))
	if blank := r.blank(0).Intersect(extents).Bytes(); len(r.operations) == 0 && blank > r.drive.badLimit() {
		why := fmt.Errorf("%w: %d bytes lie above write pointers, or in zones that are lost, where a read says nothing of the media", overwrite.ErrTooManyBad, blank)
		return r.append(kindVerifyDone, verifyDoneRecord{false, why.Error()})
	}
	r.meter.begin("verify", extents.Bytes(), extents.Bytes()-todo.Bytes())
	err = r.eachSpace(ctx, todo, func(h devices.Space, s space, todo []overwrite.Extent) error {
		o := r.streaming(r.options(s, func(p overwrite.Progress) error {
			r.meter.bad.Add(overwrite.NewSet(p.Failed...).Bytes() + overwrite.NewSet(p.Mismatch...).Bytes())
			if err := r.answering(ctx, p.Failed); err != nil {
				return err
			}
			zeros, ones := counted()
			record := verifiedRecord{
				Done: shift(p.Done, s.base), Failed: shift(p.Failed, s.base), Mismatch: shift(p.Mismatch, s.base), Error: text(p.Cause), Zeros: zeros, Ones: ones,
			}
			return r.append(kindVerified, record)
		}), r.tuner(true))
		o.BadLimit = r.drive.badLimit()
		return pumped(h, func(q queue) error { return compare(q, s, todo, o) })
	})
	switch {
	case errors.Is(err, overwrite.ErrTooManyBad) && !errors.Is(err, devices.ErrGone):
		// The answer is known, and more of it would help nobody.
		return r.append(kindVerifyDone, verifyDoneRecord{false, err.Error()})
	case err != nil:
		return r.judge(ctx, fmt.Errorf("verify %s: %w", r.drive.Serial, err))
	}
	return r.append(kindVerifyDone, verifyDoneRecord{Complete: true})
}

// drawSamples decides what will be read. It runs after the erase, so that nothing could know.
func (r *run) drawSamples() (verifyBegunRecord, error) {
	if r.drive.Verification == VerifyFull {
		return verifyBegunRecord{Mode: VerifyFull}, nil
	}
	seed := make([]byte, overwrite.KeySize)
	rand.Read(seed)
	sampled := false
	for i, s := range r.drive.spaces() {
		_, full, err := overwrite.Sample(s.size/int64(s.block), s.block, spaceSeed(seed, i, s))
		if err != nil {
			return verifyBegunRecord{}, err
		}
		sampled = sampled || !full
	}
	if !sampled {
		return verifyBegunRecord{Mode: VerifyFull}, nil
	}
	return verifyBegunRecord{VerifySampled, hex.EncodeToString(seed), overwrite.SamplePRNG}, nil
}
