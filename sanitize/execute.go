package sanitize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// ErrInterrupted: the work stopped before its end and can be resumed; until then the drive holds
// data. It wraps the cause.
var ErrInterrupted = errors.New("interrupted")

// Execution is one attempt to carry out the plan of one drive.
type Execution struct {
	Handle  *devices.Handle
	Journal *journal.Journal
	Records []journal.Record // what is in Journal already; the first is by Begin
	Secrets string           // file for keys and passwords, made when needed
	// Volatile: the secrets are lost with the host's power, so that no drive may be locked by them.
	Volatile bool
	PIN      func() (string, error) // gives the PIN that the plan wants; nil has none but that in Secrets
	Agent    string                 // version, for the journal
	Meter    *Meter                 // may be nil
	Budget   *overwrite.Budget      // shared by drives that are worked on at once; may be nil
	Now      func() time.Time       // nil is time.Now
	// Wait waits for what a drive does by itself; nil waits as long as it is told to.
	Wait func(ctx context.Context, d time.Duration) error

	// Observe receives every record after it is on disk. It may be nil.
	Observe func(journal.Record)
}

// Begin opens the journal of a drive's job: its first record is the plan.
func Begin(j *journal.Journal, job string, p Plan, d DrivePlan) error {
	_, err := j.Append(kindOpened, openedRecord{
		Job: job, PlanDigest: p.Digest(), Policy: p.Policy, Request: p.Request, Simulated: p.Simulated, Drive: d,
	})
	return err
}

// RecordIntent notes that the signed intent is in the log. Execute refuses to begin without it.
func RecordIntent(j *journal.Journal, index int64, leaf string) (journal.Record, error) {
	return j.Append(kindIntent, intentRecord{index, leaf})
}

// HasIntent says whether that was done.
func HasIntent(records []journal.Record) bool { return has(records, kindIntent) }

// Abandon ends a job for good without finishing it: the drive holds data.
func Abandon(j *journal.Journal, why string) error {
	_, err := j.Append(kindFinished, finishedRecord{statusAbandoned, why})
	return err
}

// Refuse ends a job before anything destructive was done on its drive.
func Refuse(j *journal.Journal, why string) error {
	_, err := j.Append(kindFinished, finishedRecord{statusRefused, why})
	return err
}

// Touched says whether a destructive step was begun, as far as the records tell.
func Touched(records []journal.Record) bool {
	return has(records, kindPassBegun) || has(records, kindMarkersBegun) || has(records, kindRestoreBegun) || Activated(records) || Sent(records)
}

// Sent says whether a command by which the drive works by itself may have reached it: it may be
// at work, by this job's order.
func Sent(records []journal.Record) bool { return has(records, kindBegun) || has(records, kindArmed) }

// Activated says whether the job may have activated the Locking SP of a self-encrypting drive.
func Activated(records []journal.Record) bool { return has(records, kindActivating) }

// Changed says whether the job has ordered the drive to change by itself: to erase itself, to take a
// password, to show more blocks.
func Changed(records []journal.Record) bool { return Sent(records) || has(records, kindRestoreBegun) }

func has(records []journal.Record, kind string) bool {
	return slices.ContainsFunc(records, func(r journal.Record) bool { return r.Kind == kind })
}

// recorder appends to the journal and keeps the state in step with it.
type recorder struct {
	*state
	journal *journal.Journal
	observe func(journal.Record)
}

func (r *recorder) append(kind string, data any) error {
	record, err := r.journal.Append(kind, data)
	if err != nil {
		return err
	}
	if err := r.state.apply(record); err != nil {
		return err
	}
	if r.observe != nil {
		r.observe(record)
	}
	return nil
}

// run is an Execution under way.
type run struct {
	recorder
	drive     DrivePlan
	handle    *devices.Handle
	secrets   *secrets
	volatile  bool
	pin       func() (string, error)
	meter     *Meter
	budget    *overwrite.Budget
	now       func() time.Time
	wait      func(ctx context.Context, d time.Duration) error
	resets    int64         // that the drive has told of
	looked    time.Time     // when the drive was last asked for its condition
	heat      temperatures  // what counts of what it said
	lookSlows time.Duration // at least, between two looks
	thermal   thermal
	tuners    [2]*overwrite.Tuner // of writes and of reads
	sending   bool                // an operation, or what activates it, is being sent
}

// fault is an end for good that the drive or the host reported.
type fault struct{ err error }

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// untold is an end for good of which nobody can tell what it is.
type untold struct{ err error }

func (u *untold) Error() string { return u.err.Error() }
func (u *untold) Unwrap() error { return u.err }

// Execute carries the plan out, or goes on where an earlier attempt stopped. It returns nil when
// the journal has an end; what that end proves is Fold's to say. Otherwise the error wraps
// ErrInterrupted and its cause, and the same call can be made again. When ctx ends, what is in
// flight is waited for and noted first.
func Execute(ctx context.Context, e Execution) error {
	r, err := e.start()
	if err != nil || r.finished != nil {
		return err
	}
	if err := r.append(kindAttempt, attemptRecord{r.attempts + 1, e.Agent}); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return r.conclude(r.carryOut(ctx))
}

// start takes up the work where the journal has it.
func (e Execution) start() (*run, error) {
	past, err := resume(e.Records)
	if err != nil {
		return nil, err
	}
	switch {
	case past.opened == nil:
		return nil, errors.New("the journal has no plan")
	case past.intent == nil && past.finished == nil:
		return nil, errors.New("no intent is in the log: nothing may be sent to the drive")
	}
	keys, err := openSecrets(e.Secrets)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	r := &run{
		recorder: recorder{past, e.Journal, e.Observe},
		drive:    past.opened.Drive, handle: e.Handle, secrets: keys, volatile: e.Volatile, pin: e.PIN, meter: e.Meter, budget: e.Budget, now: e.Now, wait: e.Wait,
	}
	if e.Handle != nil {
		r.resets = e.Handle.Resets()
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.wait == nil {
		r.wait = Wait
	}
	if r.meter == nil {
		r.meter = &Meter{}
	}
	if e.Handle != nil {
		r.watch()
	}
	return r, nil
}

// conclude writes the record that ends the attempt.
func (r *run) conclude(err error) error {
	var failure *fault
	var unknown *untold
	end := finishedRecord{Status: statusCompleted}
	switch {
	case err == nil:
	case (errors.Is(err, ErrPlanChanged) || errors.Is(err, ErrWrongPIN)) && !r.touched():
		end = finishedRecord{statusRefused, err.Error()}
	case errors.As(err, &failure):
		end = finishedRecord{statusFailed, err.Error()}
	case errors.As(err, &unknown):
		end = finishedRecord{statusUntold, err.Error()}
	default:
		// The journal itself may be what failed; the cause goes first.
		stop := stoppedRecord{Reason: err.Error()}
		if errors.Is(err, devices.ErrPowerCycle) {
			stop.Needs = needsPowerCycle
		}
		return errors.Join(fmt.Errorf("%w: %w", ErrInterrupted, err), r.append(kindStopped, stop))
	}
	if err := r.secrets.forgetPINs(); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	if err := r.append(kindFinished, end); err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	return nil
}

// Wait waits so long, or until ctx ends.
func Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *run) carryOut(ctx context.Context) error {
	if !r.touched() && !r.drive.BlocksBarred {
		table, err := r.handle.PartitionTable(ctx)
		if err != nil {
			return fmt.Errorf("read partition table: %w", err)
		}
		if table != r.drive.PartitionTable {
			return fmt.Errorf("%s %s: its partition table changed: %w", r.drive.Model, r.drive.Serial, ErrPlanChanged)
		}
		if err := r.handle.ComparePaths(ctx, nil); errors.Is(err, devices.ErrPathsDiffer) {
			return fmt.Errorf("%w: %w", err, ErrPlanChanged)
		} else if err != nil {
			return fmt.Errorf("compare the drive's paths: %w", err)
		}
	}
	if !r.touched() {
		if err := r.look(ctx, "before"); err != nil {
			return err
		}
		if err := r.identify(ctx, "before"); err != nil {
			return err
		}
	}
	if err := r.restore(ctx); err != nil {
		return err
	}
	var err error
	switch {
	case r.drive.Technique == HostOverwrite:
		err = r.overwriteAll(ctx)
	case len(r.drive.Operations) > 0:
		err = r.operateAll(ctx)
	default:
		return &fault{fmt.Errorf("technique %q is not known to this program", r.drive.Technique)}
	}
	if err != nil {
		return err
	}
	if err := r.comparePaths(ctx, overwrite.Set{}); err != nil {
		return err
	}
	if err := r.look(ctx, "after"); err != nil {
		return err
	}
	return r.identify(ctx, "after")
}

// comparePaths makes sure that what was done through one node shows in all of them, at some of what was
// just written at least. Where it does not they are several drives, and only one was worked on.
func (r *run) comparePaths(ctx context.Context, written overwrite.Set) error {
	var offsets [][]int64
	for _, s := range r.drive.spaces() {
		var at []int64
		for _, e := range written.Extents() {
			if len(at) < 16 && e.Offset >= s.base && e.Offset < s.base+s.size {
				at = append(at, e.Offset-s.base)
			}
		}
		offsets = append(offsets, at)
	}
	err := r.handle.ComparePaths(ctx, offsets)
	if errors.Is(err, devices.ErrPathsDiffer) {
		return &fault{fmt.Errorf("what was done through one node does not show in another: %w", err)}
	}
	if err != nil {
		return fmt.Errorf("compare the drive's paths: %w", err)
	}
	return nil
}

func (r *run) overwriteAll(ctx context.Context) error {
	for pass := 1; pass <= len(r.drive.Passes); pass++ {
		if err := r.overwrite(ctx, pass); err != nil {
			return err
		}
	}
	if r.drive.Verification == VerifyStatus {
		return nil
	}
	return r.verifyOverwrite(ctx)
}

// operateAll has the drive erase itself: markers first, then each operation, then a look at what
// is left.
func (r *run) operateAll(ctx context.Context) error {
	if !r.touched() && r.drive.Operations[0].byTCG() {
		if err := r.authenticate(ctx); err != nil {
			return err
		}
	}
	if err := r.mark(ctx); err != nil {
		return err
	}
	if r.drive.judgesZones() && !r.drive.BlocksBarred && !r.sent() {
		if err := r.tellZones(ctx, 0, 0); err != nil {
			return err
		}
	}
	for i, o := range r.drive.Operations {
		if err := r.operate(ctx, i); err != nil {
			return err
		}
		// Each operation is looked at by itself where what it left can be read: NVMe drives may
		// deallocate what they erased, and then show zeros.
		if last := i == len(r.operations)-1; (last || o.noDeallocate() || o.Kind != NVMeSanitize) && !r.operated(i+1) {
			if err := r.readMarkers(ctx, i+1); err != nil {
				return err
			}
		}
	}
	if err := r.reformatted(ctx); err != nil {
		return err
	}
	if r.drive.Verification == VerifyStatus || r.audited() {
		return nil
	}
	return r.verifyErase(ctx)
}

// operated says whether a later operation was sent, so that the markers tell nothing of this one.
func (r *run) operated(i int) bool { return i < len(r.operations) && r.operations[i].sends > 0 }

// look asks the drive for its condition. A drive that cannot be asked, or does not say, is not
// failed for that: the journal has that it did not.
func (r *run) look(ctx context.Context, when string) error {
	h, err := r.handle.Health(ctx)
	r.looked = r.now()
	r.heat.take(h)
	if errors.Is(err, devices.ErrNoDoor) {
		return nil
	}
	if devices.IsGone(err) {
		return err
	}
	return r.takeHealth(when, h, err)
}

// reidentify makes sure, before a step, that the open drive is the planned one.
func (r *run) reidentify(ctx context.Context, before string) error {
	if err := r.handle.Reidentify(ctx); err != nil {
		return fmt.Errorf("identify the drive before %s: %w", before, err)
	}
	d := r.handle.Drive() // as it is now, by Reidentify
	if err := r.drive.formatsAs(d); err != nil {
		return fmt.Errorf("before %s: %w", before, err)
	}
	g, err := r.handle.Geometry(ctx)
	if err != nil {
		return fmt.Errorf("size of the drive before %s: %w", before, err)
	}
	formatted := r.drive.Reformat != 0 && r.sent() && g.LogicalBlock == r.drive.Reformat
	if (g.SizeBytes != r.drive.nodeBytes() || g.LogicalBlock != r.drive.LogicalBlock) && !formatted {
		return fmt.Errorf("before %s the drive has %d bytes in blocks of %d, not %d in blocks of %d: %w",
			before, g.SizeBytes, g.LogicalBlock, r.drive.nodeBytes(), r.drive.LogicalBlock, devices.ErrChanged)
	}
	return r.append(kindReidentified, reidentifiedRecord{d.ID, d.Nodes[0], g.SizeBytes, before})
}
