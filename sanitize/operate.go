package sanitize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/expunge-dev/expunge/devices"
)

// ErrForeignOperation: the drive is erasing itself by a command that this job did not send. It is
// left alone; resume the job when the drive has ended.
var ErrForeignOperation = errors.New("the drive is erasing itself by a command that this job did not send")

// How long is waited for what.
const (
	settleTime = 10 * time.Second // for the drive to show an operation whose command was completed
	silentTime = 10 * time.Minute // without any answer that can be believed
	stallTime  = 2 * time.Hour    // without progress, before that is said
	healthTime = time.Minute      // between two looks at the drive's condition
	noteTime   = time.Minute      // between two notes that an operation runs
)

// operate brings one operation to its end, from wherever it stands.
func (r *run) operate(ctx context.Context, i int) error {
	op, planned := &r.operations[i], r.drive.Operations[i]
	if op.end != nil {
		return nil
	}
	set, err := commandSetOf(planned)
	if err != nil {
		return &fault{err}
	}
	if err := r.reidentify(ctx, planned.Command); err != nil {
		return err
	}
	at, err := r.status(ctx, i, op.sends > 0)
	if err != nil {
		return fmt.Errorf("%s: what the drive is doing is not known: %w", r.drive.Serial, err)
	}
	active := at.phase == running || at.phase == verifying
	switch {
	case active && (op.sends == 0 || !at.mine):
		return fmt.Errorf("%w (%s): it is left alone", ErrForeignOperation, at.all())
	case op.sends > 0 && !active:
		if err := r.unused(ctx, i, at); err != nil {
			return err
		}
		if done, err := r.concluded(ctx, i); done || err != nil {
			return err
		}
	}
	answered := true
	if !active {
		if !op.fresh {
			if at, err = r.status(ctx, i, false); err != nil {
				return fmt.Errorf("%s: what the drive is doing is not known: %w", r.drive.Serial, err)
			} else if at.phase == running || at.phase == verifying {
				return fmt.Errorf("%w (%s): it is left alone", ErrForeignOperation, at.all())
			}
		}
		if barred := at.phase == failed || at.cutOff || at.barred; r.drive.BlocksBarred && i == 0 && !barred && !(planned.byTCG() && op.sends > 0) {
			return fmt.Errorf("%s: nothing was marked because an earlier erase of the drive had failed, and the drive does not say so any more (%s): give the job up, and make a new plan: %w", planned.Command, at.all(), ErrPlanChanged)
		}
		if err := r.unused(ctx, i, at); err != nil {
			return err
		}
		if answered, err = set.send(ctx, r, i); err != nil {
			return err
		}
	}
	return r.await(ctx, i, answered)
}

// transport is the node that takes an operation's command.
func (r *run) transport(o Operation) devices.Transport { return r.handle.Unit(o.Unit) }

// ask has the drive say how it stands with operation i, and reads that.
func (r *run) ask(ctx context.Context, i int) (a account, page []byte, reset bool, err error) {
	planned := r.drive.Operations[i]
	set, err := commandSetOf(planned)
	if err != nil {
		return account{}, nil, false, err
	}
	page, reset, err = set.ask(ctx, r.transport(planned), r.drive.Protocol)
	// Whichever command was told of a reset, the operation may have ended by it.
	if n := r.handle.Resets(); n != r.resets {
		reset, r.resets = true, n
	}
	if err == nil {
		a, err = set.parse(page, planned)
	}
	return a, page, reset, err
}

// status has the drive say how it stands and notes it. Before a command is sent it is the state to
// compare with; afterwards it belongs to what was sent.
func (r *run) status(ctx context.Context, i int, after bool) (account, error) {
	a, page, reset, err := r.ask(ctx, i)
	record := driveStatusRecord{Operation: i + 1, When: whenBefore, Page: page, Reset: reset, Error: text(err)}
	if after {
		record.When = whenAfter
	}
	return a, errors.Join(err, r.append(kindDriveStatus, record))
}

// concluded says whether the operation has ended by the latest status. false means that it was
// never begun, as far as anybody can tell.
func (r *run) concluded(ctx context.Context, i int) (bool, error) {
	op := &r.operations[i]
	if r.failedByUs(i) {
		return true, r.failure(i)
	}
	if op.last != nil && op.last.explicit {
		if _, ok := r.ours(i); !ok && !op.released && r.markers != nil && r.drive.firstOfUnit(i) {
			// Only the markers can tell an old success from a new one.
			if err := r.readMarkers(ctx, i+1); err != nil {
				return false, err
			}
		}
	}
	because, ok := r.ours(i)
	if !ok {
		return false, nil
	}
	if !op.auditDone.IsZero() && !op.last.cancelled {
		because += ", and what it left was read in its media verification"
	}
	return true, r.append(kindEnded, endedRecord{i + 1, because})
}

func (r *run) failure(i int) error {
	what := "restricted: the drive takes nothing but another sanitize now; make a new plan for it"
	switch {
	case r.drive.Operations[i].Kind == SCSIFormat:
		what = "the medium is corrupted until a format succeeds; make a new plan for it"
	case r.operations[i].last.unrestricted:
		what = "unrestricted: the drive can be used again, with its data: expunge recover " + r.drive.Serial + " --exit-failure-mode"
	}
	return &fault{fmt.Errorf("%s: the drive reports that it failed (%s)", r.drive.Operations[i].Command, what)}
}

// sendOnce notes the intent on disk, has the command sent, and notes how it was completed. refused
// tells errors by which the drive took nothing.
func (r *run) sendOnce(i int, send func() error, refused func(error) bool) (answered bool, err error) {
	planned := r.drive.Operations[i]
	if err := r.append(kindBegun, begunRecord{i + 1, planned.Command, planned.Code}); err != nil {
		return false, err
	}
	r.meter.beginOwn(string(planned.Technique)) // some complete the command only when they are done with it
	r.sending = true
	err = send()
	r.sending = false
	if noted := r.append(kindSent, sentRecord{i + 1, text(err)}); noted != nil {
		return false, noted
	}
	switch {
	case err == nil:
		return true, nil
	case refused(err):
		return false, &fault{r.refusedBy(i, err)}
	case devices.IsGone(err), errors.Is(err, devices.ErrNoDoor), errors.Is(err, fs.ErrPermission):
		return false, fmt.Errorf("%s: %w", planned.Command, err)
	}
	return false, nil
}

// watch is what is kept in mind while an operation runs.
type watch struct {
	began    time.Time
	answered time.Time // the latest answer that could be believed
	moved    time.Time // the latest progress
	noted    time.Time
	looked   time.Time // at the drive's condition
	progress uint16
	stalled  bool
	late     bool
	exits    int // commands to leave media verification
	polls    int
}

// await polls until the drive says how the operation ended. It does not give up on an operation
// that runs, however long it takes.
func (r *run) await(ctx context.Context, i int, answered bool) error {
	op, planned := &r.operations[i], r.drive.Operations[i]
	now := r.now()
	w := watch{began: op.begun, answered: now, moved: now, looked: now}
	r.meter.beginOwn(string(planned.Technique))
	for {
		if err := r.wait(ctx, r.pause(i, &w)); err != nil {
			return r.leaves(i, err)
		}
		at, page, reset, err := r.ask(ctx, i)
		now := r.now()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return r.leaves(i, cause)
			}
			if devices.IsGone(err) {
				return fmt.Errorf("%s: %w", planned.Command, err)
			}
			if now.Sub(w.answered) >= silentTime {
				return fmt.Errorf("%s: the drive has not told for %v how it stands: %w", planned.Command, silentTime, err)
			}
			if err := r.append(kindDriveStatus, driveStatusRecord{Operation: i + 1, When: whenAfter, Page: page, Reset: reset, Error: err.Error()}); err != nil {
				return err
			}
			continue
		}
		w.answered = now
		warning := r.warn(i, &w, at, now)
		if (at.phase == running || at.phase == verifying) && !at.mine {
			return fmt.Errorf("%w (%s): it is left alone", ErrForeignOperation, at.all())
		}
		if at.phase != running || !op.seen || reset || warning != "" || now.Sub(w.noted) >= noteTime {
			w.noted = now
			if err := r.append(kindDriveStatus, driveStatusRecord{Operation: i + 1, When: whenAfter, Page: page, Reset: reset, Warning: warning}); err != nil {
				return err
			}
		}
		if at.phase == verifying {
			if err := r.audit(ctx, i, &w); err != nil {
				return err
			}
			w.answered, w.moved = r.now(), r.now()
			continue
		}
		if at.phase == running {
			r.meter.set(int64(at.progress))
			if now.Sub(w.looked) >= healthTime && planned.Kind != ATASanitize {
				// ATA drives answer no SMART command while they sanitize (ACS-4 4.17).
				w.looked = now
				if err := r.look(ctx, "during"); err != nil {
					return err
				}
			}
			continue
		}
		if done, err := r.concluded(ctx, i); done || err != nil {
			return err
		}
		if at.cutOff {
			return fmt.Errorf("%s: the drive was cut off in the middle, and does not go on by itself (%s)", planned.Command, at.words)
		}
		if now.Sub(w.began) >= settleTime && !answered {
			return fmt.Errorf("%s: no answer came to the command, and the drive does not show that it arrived", planned.Command)
		}
		if now.Sub(w.began) >= settleTime && op.last.explicit {
			return &untold{fmt.Errorf("%s: the drive shows a success (%s), and nothing tells whether it is of this command: read back (--verify sampled) in a new job", planned.Command, at.words)}
		}
		if now.Sub(w.began) >= settleTime {
			return &fault{fmt.Errorf("%s: the drive completed the command and shows no success of it (%s)", planned.Command, at.all())}
		}
	}
}

// leaves says what a drive does that is waited for no more, and why it is not.
func (r *run) leaves(i int, why error) error {
	if r.operations[i].taken && r.drive.Operations[i].Kind.completesWhenDone() {
		return why
	}
	return fmt.Errorf("%w; the drive goes on erasing itself", why)
}

// pause is how long to wait before the next look: short at first, then by the drive's own estimate.
func (r *run) pause(i int, w *watch) time.Duration {
	w.polls++
	if w.polls <= 5 {
		return 50 * time.Millisecond << (w.polls - 1)
	}
	if r.now().Sub(w.began) < 10*time.Second {
		return time.Second
	}
	seconds, known := r.operations[i].estimate(r.drive.Operations[i])
	if !known {
		seconds = 0
	}
	return min(max(time.Duration(seconds)*time.Second/50, 5*time.Second), 2*time.Minute)
}

// warn says what is odd about an operation's progress. None of it ends the wait.
func (r *run) warn(i int, w *watch, at account, now time.Time) string {
	if at.phase != running || !at.hasProgress {
		return ""
	}
	was := account{progress: w.progress}
	w.progress = at.progress
	if at.progress != was.progress {
		w.moved, w.stalled = now, false
	}
	seconds, known := r.operations[i].estimate(r.drive.Operations[i])
	switch {
	case at.progress < was.progress:
		return fmt.Sprintf("progress fell from %d %% to %d %%", was.percent(), at.percent())
	case now.Sub(w.moved) >= stallTime && !w.stalled:
		w.stalled = true
		return fmt.Sprintf("no progress for %v, at %d %%", stallTime, at.percent())
	case known && seconds > 0 && now.Sub(w.began) > 2*time.Duration(seconds)*time.Second && !w.late:
		w.late = true
		return fmt.Sprintf("it takes more than twice the drive's estimate of %d s", seconds)
	}
	return ""
}
