package sanitize

// NVMe Sanitize: the drive erases itself, everything in its subsystem, and goes on whatever becomes
// of the host. A completed command says that the operation began; only log page 81h says how it
// went (NVMe base 2.0, 5.24 and 8.21). It goes wrong in ways that this file answers: the log's
// progress is FFFFh after a success and after a failure (SOS decides), the log shows an older
// success (it must be tied to our command), the host dies (the operation is found again and waited
// for), the progress stands still or falls (said, and waited for).

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// ErrForeignOperation: the drive is sanitizing itself by a command that this job did not send. It
// is left alone; resume the job when the drive has ended.
var ErrForeignOperation = errors.New("the drive is sanitizing itself by a command that this job did not send")

// How long is waited for what.
const (
	settleTime = 10 * time.Second // for the log to show an operation whose command was completed
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
	if err := r.reidentify(ctx, planned.Command); err != nil {
		return err
	}
	status, err := r.status(ctx, i, op.sends > 0)
	if err != nil {
		return fmt.Errorf("%s: what the drive is doing is not known: %w", r.drive.Serial, err)
	}
	running := status.Status() == nvme.SanitizeInProgress
	switch {
	case running && (op.sends == 0 || status.SCDW10 != planned.CDW10):
		return fmt.Errorf("%w (%s): it is left alone", ErrForeignOperation, nvme.Action(status.SCDW10&7))
	case op.sends > 0 && !running:
		if done, err := r.concluded(ctx, i); done || err != nil {
			return err
		}
	}
	answered := true
	if !running {
		if answered, err = r.send(ctx, i); err != nil {
			return err
		}
	}
	return r.await(ctx, i, answered)
}

// status reads the drive's account and notes it. Before a command is sent it is the state to
// compare with; afterwards it belongs to what was sent.
func (r *run) status(ctx context.Context, i int, after bool) (nvme.SanitizeStatus, error) {
	status, page, err := devices.ReadSanitizeStatus(ctx, r.handle.Transport())
	record := driveStatusRecord{Operation: i + 1, When: whenBefore, Page: page, Error: text(err)}
	if after {
		record.When = whenAfter
	}
	return status, errors.Join(err, r.append(kindDriveStatus, record))
}

// concluded says whether the operation has ended by the latest status. false means that it was
// never begun, as far as anybody can tell.
func (r *run) concluded(ctx context.Context, i int) (bool, error) {
	op, planned := &r.operations[i], r.drive.Operations[i]
	if r.failedByUs(i) {
		return true, r.failure(i)
	}
	if op.last != nil && explicit(*op.last, planned) {
		if _, ok := r.ours(i); !ok && r.markers != nil {
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
	return true, r.append(kindEnded, endedRecord{i + 1, because})
}

func (r *run) failure(i int) error {
	what := "restricted: the drive takes nothing but another sanitize now; make a new plan for it"
	if r.operations[i].last.Unrestricted() {
		what = "unrestricted: the drive can be used again, with its data: expunge recover " + r.drive.Serial
	}
	return &fault{fmt.Errorf("%s: the drive reports that its sanitize failed (%s)", r.drive.Operations[i].Command, what)}
}

// send notes the intent on disk and sends the command, once. answered is false when its fate is
// unknown: the drive's log tells then.
func (r *run) send(ctx context.Context, i int) (answered bool, err error) {
	op, planned := &r.operations[i], r.drive.Operations[i]
	if !op.fresh {
		if status, err := r.status(ctx, i, false); err != nil {
			return false, fmt.Errorf("%s: what the drive is doing is not known: %w", r.drive.Serial, err)
		} else if status.Status() == nvme.SanitizeInProgress {
			return false, fmt.Errorf("%w (%s): it is left alone", ErrForeignOperation, nvme.Action(status.SCDW10&7))
		}
	}
	command, err := commandOf(planned)
	if err != nil {
		return false, &fault{err}
	}
	if err := r.append(kindBegun, begunRecord{i + 1, planned.Command, planned.CDW10}); err != nil {
		return false, err
	}
	// Once sent it goes on: giving up now would only lose its answer.
	done, err := r.handle.Transport().NVMe(context.WithoutCancel(ctx), command)
	if err == nil {
		err = done.Err()
	}
	if noted := r.append(kindSent, sentRecord{i + 1, text(err)}); noted != nil {
		return false, noted
	}
	var refused *nvme.StatusError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &refused):
		return false, &fault{fmt.Errorf("%s: the drive refused the command, and nothing was begun: %w", planned.Command, err)}
	case devices.IsGone(err), errors.Is(err, devices.ErrNoDoor):
		return false, fmt.Errorf("%s: %w", planned.Command, err)
	}
	return false, nil
}

// commandOf makes the command of a planned operation. What does not come out as it was planned is
// not sent.
func commandOf(o Operation) (*nvme.Command, error) {
	d := o.CDW10
	s := nvme.Sanitize{SANACT: nvme.Action(d & 7), AUSE: d&(1<<3) != 0, NDAS: d&(1<<9) != 0, PREQ: d&(1<<11) != 0}
	c, err := s.Command()
	if err == nil && (c.CDW10 != d || s.SANACT != nvme.BlockErase && s.SANACT != nvme.CryptoErase) {
		err = fmt.Errorf("operation %q: CDW10 %#x is none that is sent", o.Command, d)
	}
	return c, err
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
			return fmt.Errorf("%w; the drive goes on erasing itself", err)
		}
		status, page, err := devices.ReadSanitizeStatus(ctx, r.handle.Transport())
		now := r.now()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return fmt.Errorf("%w; the drive goes on erasing itself", cause)
			}
			if devices.IsGone(err) {
				return fmt.Errorf("%s: %w", planned.Command, err)
			}
			if now.Sub(w.answered) >= silentTime {
				return fmt.Errorf("%s: the drive has not told for %v how it stands: %w", planned.Command, silentTime, err)
			}
			if err := r.append(kindDriveStatus, driveStatusRecord{Operation: i + 1, When: whenAfter, Page: page, Error: err.Error()}); err != nil {
				return err
			}
			continue
		}
		w.answered = now
		warning := r.warn(i, &w, status, now)
		running := status.Status() == nvme.SanitizeInProgress
		if running && status.SCDW10 != planned.CDW10 {
			return fmt.Errorf("%w (%s): it is left alone", ErrForeignOperation, nvme.Action(status.SCDW10&7))
		}
		if !running || !op.seen || warning != "" || now.Sub(w.noted) >= noteTime {
			w.noted = now
			if err := r.append(kindDriveStatus, driveStatusRecord{Operation: i + 1, When: whenAfter, Page: page, Warning: warning}); err != nil {
				return err
			}
		}
		if running {
			r.meter.set(int64(status.SPROG))
			if now.Sub(w.looked) >= healthTime {
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
		if now.Sub(w.began) >= settleTime && !answered {
			return fmt.Errorf("%s: no answer came to the command, and the drive's log does not show that it arrived", planned.Command)
		}
		if now.Sub(w.began) >= settleTime {
			return &fault{fmt.Errorf("%s: the drive completed the command and its log shows no success of it (%s, CDW10 %#x, global data erased: %v)",
				planned.Command, status.Status(), status.SCDW10, status.GlobalDataErased())}
		}
	}
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
func (r *run) warn(i int, w *watch, status nvme.SanitizeStatus, now time.Time) string {
	if status.Status() != nvme.SanitizeInProgress {
		return ""
	}
	percent := func(p uint16) int { return int(p) * 100 / 65536 }
	was := w.progress
	w.progress = status.SPROG
	if status.SPROG != was {
		w.moved, w.stalled = now, false
	}
	seconds, known := r.operations[i].estimate(r.drive.Operations[i])
	switch {
	case status.SPROG < was:
		return fmt.Sprintf("progress fell from %d %% to %d %%", percent(was), percent(status.SPROG))
	case now.Sub(w.moved) >= stallTime && !w.stalled:
		w.stalled = true
		return fmt.Sprintf("no progress for %v, at %d %%", stallTime, percent(status.SPROG))
	case known && seconds > 0 && now.Sub(w.began) > 2*time.Duration(seconds)*time.Second && !w.late:
		w.late = true
		return fmt.Sprintf("it takes more than twice the drive's estimate of %d s", seconds)
	}
	return ""
}
