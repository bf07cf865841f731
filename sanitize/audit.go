package sanitize

// Media verification (NVMe base 2.3, 8.1.26.4): after a block or cryptographic erase that was told to
// (EMVS), a drive waits before it deallocates blocks, and lets its media be read as they are, also
// where nothing that they hold can be right any more. What is read back then is what the erase left,
// and no zeros that stand for an unmapped block. The drive stays there until it is told to go on, or
// loses its power; it takes no writes meanwhile.

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// maxExits is how often a drive is told to leave its media verification.
const maxExits = 3

// auditing says whether the last operation of the plan is in media verification by this job's command.
func (s *state) auditing() bool {
	i := len(s.operations) - 1
	if i < 0 || s.next() != i {
		return false
	}
	last := s.operations[i].last
	return s.opened.Drive.Operations[i].audited() && s.operations[i].sends > 0 && last != nil && last.phase == verifying && last.mine
}

// audited says whether what had to be read back was, in media verification.
func (s *state) audited() bool {
	i := len(s.operations) - 1
	return i >= 0 && !s.operations[i].auditDone.IsZero()
}

// audit reads what has to be read back while the drive is in media verification, and has it go on. A
// drive that fails in that goes on, too.
func (r *run) audit(ctx context.Context, i int, w *watch) error {
	planned := r.drive.Operations[i]
	if !r.audited() {
		began := r.now()
		err := r.readAudited(ctx, i)
		var failure *fault
		if err != nil && (errors.As(err, &failure) || ctx.Err() == nil && !devices.IsGone(err)) {
			return errors.Join(err, r.leaveVerification(ctx, planned))
		}
		if err != nil {
			return err
		}
		// A reset in the meantime has unmapped the blocks that were read.
		at, err := r.status(ctx, i, true)
		if err != nil {
			return fmt.Errorf("%s: what the drive is doing is not known: %w", r.drive.Serial, err)
		}
		if at.phase != verifying || !at.mine {
			return nil
		}
		if err := r.append(kindAudited, auditedRecord{i + 1}); err != nil {
			return err
		}
		w.began, w.polls = w.began.Add(r.now().Sub(began)), 0
		r.meter.beginOwn(string(planned.Technique))
	}
	err := r.leaveVerification(ctx, planned)
	if w.exits++; w.exits > maxExits {
		return &fault{fmt.Errorf("%s: the drive was told %d times to leave its media verification, and is still in it: %w", planned.Command, maxExits, errors.Join(err, errStaysVerifying))}
	}
	if devices.IsGone(err) {
		return fmt.Errorf("%s: leave media verification: %w", planned.Command, err)
	}
	return nil // whether it went on, its log tells
}

var errStaysVerifying = errors.New("only a loss of power ends it now")

func (r *run) readAudited(ctx context.Context, i int) error {
	if err := r.readMarkers(ctx, i+1); err != nil {
		return err
	}
	if err := r.verifyErase(ctx); err != nil {
		return err
	}
	return r.comparePaths(ctx, r.markersAfter(i+1))
}

// leaveVerification tells the drive to deallocate what it erased. A completed command says that it
// began to.
func (r *run) leaveVerification(ctx context.Context, o Operation) error {
	c, err := nvme.Sanitize{SANACT: nvme.ExitMediaVerification}.Command()
	if err != nil {
		return err
	}
	done, err := r.transport(o).NVMe(context.WithoutCancel(ctx), c)
	if err != nil {
		return err
	}
	return done.Err()
}
