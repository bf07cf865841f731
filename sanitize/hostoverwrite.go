package sanitize

// Host overwrite: the host writes every addressable block. On every drive, and all that a plain
// block device can do. It reaches Clear (NIST SP 800-88r2, 3.1.1; IEEE 2883-2022) because spare,
// reallocated and hidden blocks keep what they held. It goes wrong in three ways that this file
// answers: a block cannot be written (it becomes an exception), writes are acknowledged and lost
// (read-back finds it), and the work is cut off (extents are noted only after a flush, and the
// same keystream is continued).

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// tuner says how many requests are in flight. It is kept for a drive and a direction, so that what was found out counts
// for later passes. That a drive has a head is its own word, not a bridge's or a virtual machine's.
func (r *run) tuner(reads bool) *overwrite.Tuner {
	at := 0
	if reads {
		at = 1
	}
	if r.tuners[at] == nil {
		from, most := overwrite.UsualRequests, overwrite.MostRequests
		if r.drive.Media == devices.MediaMagnetic && (r.drive.Protocol == devices.ProtocolATA || r.drive.Protocol == devices.ProtocolSCSI) {
			from, most = overwrite.MagneticRequests, overwrite.MagneticRequests
		}
		r.tuners[at] = overwrite.NewTuner(r.budget.Group(r.handle.Adapter()), from, most)
	}
	return r.tuners[at]
}

// badLimit is how many bytes may fail before the drive is called failed rather than sanitized
// with exceptions: a hundredth of it, or a few thousand blocks where that is more.
func (d DrivePlan) badLimit() int64 {
	return max(4096*int64(d.LogicalBlock), d.SizeBytes/100)
}

// overwrite carries out one pass, from where it stands.
func (r *run) overwrite(ctx context.Context, pass int) error {
	if pass <= len(r.passes) && r.passes[pass-1].complete && !(pass == len(r.drive.Passes) && r.needsVerifyKey(pass)) {
		return nil
	}
	if err := r.reidentify(ctx, fmt.Sprintf("pass %d", pass)); err != nil {
		return err
	}
	pattern, err := r.beginPass(pass)
	if err != nil {
		return err
	}
	now := func() *passState { return &r.passes[pass-1] }
	todo := r.all().Without(now().done).Without(now().failed)
	r.meter.begin(fmt.Sprintf("pass %d/%d", pass, len(r.drive.Passes)), r.drive.SizeBytes, r.drive.SizeBytes-todo.Bytes())
	err = r.eachSpace(ctx, todo, func(h devices.Space, s space, todo []overwrite.Extent) (err error) {
		if s.zones.Count > 0 {
			if todo, err = r.takeBack(pass, s, todo); err != nil {
				return err
			}
		}
		o := r.streaming(r.options(s, func(p overwrite.Progress) error {
			r.meter.bad.Add(overwrite.NewSet(p.Failed...).Bytes())
			if err := r.answering(ctx, p.Failed); err != nil {
				return err
			}
			return r.append(kindExtents, extentsRecord{pass, shift(p.Done, s.base), shift(p.Failed, s.base), text(p.Cause)})
		}), r.tuner(false))
		o.BadLimit = max(1, r.drive.badLimit()-now().failed.Bytes())
		if s.zones.Count > 0 {
			if todo, err = r.intoZones(ctx, h, s, todo, &o); err != nil {
				return err
			}
		}
		return pumped(h, func(q queue) error { return overwrite.Fill(ctx, q, todo, overwrite.Shifted(pattern, s.base), o) })
	})
	if err != nil {
		return r.judge(ctx, fmt.Errorf("overwrite %s: pass %d: %w", r.drive.Serial, pass, err))
	}
	if err := r.tellZones(ctx, 0, pass); err != nil {
		return err
	}
	if bad := now().failed.Bytes(); r.drive.asksZones() && bad > r.drive.badLimit() {
		return &fault{fmt.Errorf("overwrite %s: pass %d: %w: %d bytes: %s", r.drive.Serial, pass, overwrite.ErrTooManyBad, bad, now().writeErr)}
	}
	return r.append(kindPassDone, passDoneRecord{pass})
}

// answering makes sure that blocks which failed are bad blocks of a drive that is still there: a
// drive that was pulled fails everywhere, and then nothing is known of its blocks.
func (r *run) answering(ctx context.Context, failed []overwrite.Extent) error {
	if len(failed) == 0 {
		return nil
	}
	return r.handle.Reidentify(context.WithoutCancel(ctx))
}

// judge tells failures for good from interruptions. A drive that no longer answers did not fail:
// it is gone, and the job can be resumed when it is back.
func (r *run) judge(ctx context.Context, err error) error {
	var flush *overwrite.FlushError
	if !errors.As(err, &flush) && !errors.Is(err, overwrite.ErrTooManyBad) || errors.Is(err, devices.ErrGone) || errors.Is(err, devices.ErrChanged) {
		return err
	}
	if gone := r.handle.Reidentify(context.WithoutCancel(ctx)); gone != nil {
		return errors.Join(err, gone)
	}
	return &fault{err}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// needsVerifyKey says whether the keystream of a complete pass can no longer be made again, so
// that it could not be verified.
func (r *run) needsVerifyKey(pass int) bool {
	begun := r.passes[pass-1].begun
	if begun.Pattern != "random" || r.drive.Verification == VerifyStatus {
		return false
	}
	_, ok := r.secrets.key(pass, begun.KeySHA256)
	return !ok
}

// beginPass returns the pass's pattern. A pass that was begun goes on with what was drawn then;
// when its key is lost it is begun anew, for half a pass under a lost key proves nothing.
func (r *run) beginPass(pass int) (overwrite.Pattern, error) {
	why := ""
	if pass <= len(r.passes) {
		begun := r.passes[pass-1].begun
		if pattern, ok, err := r.pattern(pass, begun); ok || err != nil {
			return pattern, err
		}
		why = "its key is not in the secrets any more"
	}
	drawn, err := r.draw(r.drive.Passes[pass-1].Pattern)
	if err != nil {
		return nil, err
	}
	begun := passBegunRecord{Pass: pass, Pattern: drawn, Why: why}
	if drawn == "random" {
		key, err := r.secrets.newKey(pass)
		if err != nil {
			return nil, err
		}
		begun.KeySHA256 = keyDigest(key)
	}
	if err := r.append(kindPassBegun, begun); err != nil {
		return nil, err
	}
	pattern, ok, err := r.pattern(pass, begun)
	if err == nil && !ok {
		err = fmt.Errorf("the key of pass %d was lost while in use", pass)
	}
	return pattern, err
}

// pattern makes the pattern of a pass that was begun; false when its key is not there.
func (r *run) pattern(pass int, begun passBegunRecord) (overwrite.Pattern, bool, error) {
	if begun.Pattern == "random" {
		key, ok := r.secrets.key(pass, begun.KeySHA256)
		if !ok {
			return nil, false, nil
		}
		stream, err := overwrite.NewKeystream(key)
		return stream, err == nil, err
	}
	unit, err := hex.DecodeString(strings.TrimPrefix(begun.Pattern, "hex:"))
	if err != nil {
		return nil, false, fmt.Errorf("pattern of pass %d: %w", pass, err)
	}
	repeating, err := overwrite.NewRepeating(unit)
	return repeating, err == nil, err
}

// draw fills in what chance decides about a pass (see Pass).
func (r *run) draw(planned string) (string, error) {
	kind, name, _ := strings.Cut(planned, ":")
	switch kind {
	case "random", "hex":
		return planned, nil
	case "char":
		var c [1]byte
		rand.Read(c[:])
		return "hex:" + hex.EncodeToString(c[:]), nil
	case "not":
		if pattern := r.complement(name); pattern != "" {
			return pattern, nil
		}
		return "", &fault{fmt.Errorf("pattern %q complements a byte that was not drawn", planned)}
	case "gutmann":
		return r.drawGutmann()
	}
	return "", &fault{fmt.Errorf("pattern %q is not known to this program", planned)}
}

// drawGutmann draws one of the fixed patterns that this job has not written yet.
func (r *run) drawGutmann() (string, error) {
	left := slices.Clone(gutmannPatterns)
	for i, p := range r.passes {
		if r.drive.Passes[i].Pattern == "gutmann" {
			if at := slices.Index(left, strings.TrimPrefix(p.begun.Pattern, "hex:")); at >= 0 {
				left = slices.Delete(left, at, at+1)
			}
		}
	}
	if len(left) == 0 {
		return "", &fault{errors.New("the scheme has more passes than the Gutmann patterns")}
	}
	at, err := rand.Int(rand.Reader, big.NewInt(int64(len(left))))
	if err != nil {
		return "", fmt.Errorf("draw a pattern: %w", err)
	}
	return "hex:" + left[at.Int64()], nil
}
