package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// Observer follows a run. Its functions may be nil; they are called from several goroutines, one
// per drive.
type Observer struct {
	// Planned is called before anything else, once for each job, with the drives that are to be worked on.
	Planned func(drives []sanitize.DrivePlan)
	Begun   func(d sanitize.DrivePlan, m *sanitize.Meter)
	Ended   func(r DriveResult)
	// Recorded gets every record of a drive's work, after it is on disk. Those before the work and after it are in the journal.
	Recorded func(d sanitize.DrivePlan, r journal.Record)
}

// ErrJobBusy: another process runs this job. Wait for it, or stop it.
var ErrJobBusy = errors.New("the job is being run by another process")

// RefusedError: no drive of the plan can be worked on now. Nothing was touched and the plan is
// not used up.
type RefusedError struct {
	Drives      []DriveResult
	Manifest    string // accounts for them
	ManifestErr error  // why none could be made
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("no drive of the plan can be sanitized now (%d refused)", len(e.Drives))
}

// ApprovalError: the plan is not begun before more people have approved it. Nothing was touched and the
// plan is not used up.
type ApprovalError struct{ Needed, Have int }

func (e *ApprovalError) Error() string {
	return fmt.Sprintf("by the rules of its policy the plan needs the approval of %d, and has that of %d", e.Needed, e.Have)
}

// Start carries a plan out, all its drives at once. Who starts it, and the approvals that permit it, are kept with the job: the
// caller has made sure that these are of different people, none of them who asked, for the plan of this digest. It is an
// *ApprovalError when they are too few. A plan that was run before is not run again: what its job has not finished is resumed,
// what it has is only reported. The results have every drive of the plan. The error says why nothing could be begun; why a drive
// did not get to its end is in its result. When ctx ends the drives stop resumably.
func (a *Agent) Start(ctx context.Context, p sanitize.Plan, by Started, o Observer) (Job, error) {
	job := jobName(p)
	if a.WasRun(p) {
		return a.Resume(ctx, job, o) // it was approved when it began
	}
	if needed := p.ApprovalsNeeded(); len(by.Approvals) < needed {
		return Job{}, &ApprovalError{needed, len(by.Approvals)}
	}
	if err := errors.Join(p.Usable(a.owner.ID, a.Simulated(), a.now()), a.halted()); err != nil {
		return Job{}, err
	}
	refusals, err := a.precheck(ctx, p)
	if all := (*RefusedError)(nil); errors.As(err, &all) {
		all.Manifest, all.ManifestErr = a.Refused(ctx, p, all.Drives)
	}
	if err != nil {
		return Job{}, err
	}
	for _, d := range p.Drives {
		if _, wanted := d.PINWanted(); wanted && refusals[d.ID] == nil {
			if _, err := a.pinOf(job, d); err != nil {
				return Job{}, err
			}
		}
	}
	if err := a.ready(len(p.Drives)); err != nil {
		return Job{}, err
	}
	if by.LogEntries, err = a.logEntries(); err != nil {
		return Job{}, err
	}
	made, err := a.createJob(p, by)
	if err != nil {
		return Job{}, a.notBegun(job, made, fmt.Errorf("begin job %s: %w", job, err))
	}
	a.log.Info("job began", "job", job, "drives", len(p.Drives))
	done, err := a.carryOn(ctx, job, p, refusals, o, nil)
	if err != nil && done.ID == "" {
		err = a.notBegun(job, made, err)
	}
	return done, err
}

// notBegun is why a job was not begun. Where it is there all the same, whoever is told so must not find its drives erased later: it is
// noted as stopped, so that nobody but a person goes on with it.
func (a *Agent) notBegun(job string, made bool, err error) error {
	if !made {
		return err
	}
	if unnoted := a.Stop(job, Stopped{By: "agent", At: a.now()}); unnoted != nil {
		return fmt.Errorf("%w; the job is there all the same, and an agent may go on with it, since that it was stopped could not be noted (%w): give it up by expunge jobs abandon %s", err, unnoted, job)
	}
	return fmt.Errorf("%w; the job is there all the same, stopped: unless another process runs it now, it begins only by expunge jobs resume %s", err, job)
}

// WasRun says whether the plan is used up: running it again only resumes or reports. One of which that cannot be told is taken for used
// up: only where there is nothing of its job is it certain that no drive was touched for it.
func (a *Agent) WasRun(p sanitize.Plan) bool {
	_, err := os.Lstat(a.jobDir(jobName(p)))
	return !errors.Is(err, fs.ErrNotExist)
}

// precheck looks at every drive again before the plan is used up. It maps those that must not be
// touched to the reason, and is a *RefusedError when that is all of them.
func (a *Agent) precheck(ctx context.Context, p sanitize.Plan) (map[devices.ID]*sanitize.Refusal, error) {
	policy, err := p.Policy.Resolve()
	if err != nil {
		return nil, err
	}
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return nil, err
	}
	unfinished, err := a.unfinished()
	if err != nil {
		return nil, err
	}
	refusals := map[devices.ID]*sanitize.Refusal{}
	var all RefusedError
	for _, d := range p.Drives {
		refusal, err := a.recheck(ctx, d, listed, p, policy, unfinished)
		if err != nil {
			return nil, err
		}
		if refusal != nil {
			refusals[d.ID] = refusal
			all.Drives = append(all.Drives, DriveResult{Drive: d, Outcome: sanitize.RefusedRun, Reasons: refusal.Reasons})
		}
	}
	if len(refusals) == len(p.Drives) {
		return nil, &all
	}
	return refusals, nil
}

func (a *Agent) recheck(ctx context.Context, d sanitize.DrivePlan, listed []devices.Drive, p sanitize.Plan, policy sanitize.Policy, unfinished map[devices.ID]string) (*sanitize.Refusal, error) {
	if job := unfinished[d.ID]; job != "" {
		return a.unfinishedRefusal(job), nil
	}
	if err := AttestGiven(d.Given).Check(); err != nil { // a plan that was made by hand
		return &sanitize.Refusal{Reasons: []devices.Reason{{Code: "given", Message: "what is given of it cannot be signed: " + err.Error(), Hint: "make a new plan"}}}, nil
	}
	now, err := findDrive(listed, d)
	if err != nil {
		return openRefusal(devices.Drive{Serial: d.Serial}, err), nil
	}
	table := ""
	judged, err := a.judge(ctx, now, p.Request, policy, asked(p))
	if err != nil {
		return nil, err
	}
	err = d.Holds(now, "", p.Request, policy, judged)
	if err == nil {
		if now, table, err = a.inspect(ctx, now); err == nil {
			err = d.Holds(now, table, p.Request, policy, judged)
		}
	}
	var refusal *sanitize.Refusal
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &refusal):
		return refusal, nil
	case errors.Is(err, sanitize.ErrPlanChanged):
		return &sanitize.Refusal{Reasons: []devices.Reason{{Code: "changed", Message: err.Error(), Hint: "look at the drive, then make a new plan"}}}, nil
	}
	return nil, err
}

// asked is how many drives were asked for when the plan was made.
func asked(p sanitize.Plan) int { return len(p.Drives) + len(p.Refused) }

// findDrive finds the planned drive among those that are there, whatever node it has now.
func findDrive(listed []devices.Drive, want sanitize.DrivePlan) (devices.Drive, error) {
	var found []devices.Drive
	for _, d := range listed {
		if d.ID == want.ID {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 0:
		return devices.Drive{}, fmt.Errorf("%s %s: %w", want.Model, want.Serial, devices.ErrNotFound)
	case 1:
		return found[0], nil
	}
	return devices.Drive{}, fmt.Errorf("%s %s: %w", want.Model, want.Serial, devices.ErrAmbiguous)
}

// Resume goes on with a job where it stopped, also one that somebody cancelled. Drives that have come to an end are only reported.
func (a *Agent) Resume(ctx context.Context, job string, o Observer) (Job, error) {
	if _, err := a.loadPlan(job); err != nil {
		return Job{}, err
	}
	if err := a.Unstop(job); err != nil {
		return Job{}, err
	}
	return a.GoOn(ctx, job, o)
}

// GoOn is Resume for those who know that nobody cancelled the job.
func (a *Agent) GoOn(ctx context.Context, job string, o Observer) (Job, error) {
	return a.GoOnWithBegun(ctx, job, nil, o)
}

// GoOnWithBegun is GoOn for the drives that were begun on: a reason, unless it is nil, is why the others are not touched any more.
func (a *Agent) GoOnWithBegun(ctx context.Context, job string, others *sanitize.Refusal, o Observer) (Job, error) {
	p, err := a.loadPlan(job)
	if err != nil {
		return Job{}, err
	}
	if p.Host != a.owner.ID || p.Simulated != a.Simulated() {
		return Job{}, sanitize.ErrPlanForeign
	}
	if err := a.halted(); err != nil {
		return Job{}, err
	}
	left := 0 // drives that something is still to be noted of
	refusals := map[devices.ID]*sanitize.Refusal{}
	for _, d := range p.Drives {
		r := a.result(job, d)
		if !r.Finished() || r.uncertified() {
			left++
		}
		if others != nil {
			refusals[d.ID] = others
		} else if r.Logged() == 0 {
			since, err := a.begunSince(job, p, r)
			if err != nil {
				return Job{}, err
			}
			if since != "" {
				refusals[d.ID] = &sanitize.Refusal{Reasons: []devices.Reason{{Code: "changed", Message: "job " + since + ", which was planned later, was begun on the drive", Hint: "make a new plan"}}}
			}
		}
	}
	if err := a.ready(left); err != nil {
		return Job{}, err
	}
	return a.carryOn(ctx, job, p, refusals, o, nil)
}

// carryOn works on every drive of a job that has not come to an end, or on those that only names. One with a refusal ends with that,
// unless it was begun on: half an erase helps nobody.
func (a *Agent) carryOn(ctx context.Context, job string, p sanitize.Plan, refusals map[devices.ID]*sanitize.Refusal, o Observer, only func(devices.ID) bool) (done Job, err error) {
	lock, err := a.lockJob(job)
	if err != nil {
		return Job{}, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	results := make([]DriveResult, len(p.Drives))
	if o.Planned != nil {
		o.Planned(slices.DeleteFunc(slices.Clone(p.Drives), func(d sanitize.DrivePlan) bool { return only != nil && !only(d.ID) }))
	}
	var wait sync.WaitGroup
	for i, d := range p.Drives {
		if only != nil && !only(d.ID) {
			results[i] = a.result(job, d)
			continue
		}
		wait.Go(func() {
			results[i] = a.carryOnDrive(ctx, job, p, d, refusals[d.ID], o)
			if o.Ended != nil {
				o.Ended(results[i])
			}
		})
	}
	wait.Wait()
	done = Job{ID: job, Plan: p, Drives: results}
	a.account(context.WithoutCancel(ctx), &done)
	a.settleLog()
	return done, nil
}

func (a *Agent) lockJob(job string) (*durable.Lock, error) {
	name := filepath.Join(a.jobDir(job), lockFile)
	lock, err := durable.TryLock(name)
	for n := 0; n < 20 && errors.Is(err, durable.ErrLocked); n++ {
		// Whoever watches the job holds it for a moment each second.
		time.Sleep(5 * time.Millisecond)
		lock, err = durable.TryLock(name)
	}
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("job %s: %w", job, ErrJobBusy)
	}
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", job, err)
	}
	return lock, nil
}

// carryOnDrive brings one drive of a job as far as it goes now, and has it certified when it has
// come to an end.
func (a *Agent) carryOnDrive(ctx context.Context, job string, p sanitize.Plan, d sanitize.DrivePlan, refusal *sanitize.Refusal, o Observer) DriveResult {
	log := a.log.With("job", job, "drive", string(d.ID), "serial", d.Serial)
	r := a.result(job, d)
	// Of a journal that cannot be read nobody knows whether its end was told of: it is told again.
	if r.Before = r.Finished() && r.Err == nil; !r.Finished() && !r.Unreadable() {
		problem := a.ours(job, p, r)
		if problem == nil {
			problem = a.work(ctx, job, p, d, refusal, o)
		}
		r = a.result(job, d)
		r.Err = errors.Join(r.Err, problem)
		r.stoppedFor(problem, "make room in "+a.dir+", then "+resumeHint(job))
		if problem != nil {
			log.Warn("drive stopped", "err", problem)
		}
	}
	if r.Outcome != sanitize.Unknown || r.Err == nil {
		a.certifyResult(&r)
	}
	log.Info("drive ended", "outcome", string(r.Outcome))
	return r
}

// ErrBegunSince: another job was begun on the drive after this one was. What the drive holds now may be somebody's new data: it is left alone.
var ErrBegunSince = errors.New("another job was begun on the drive since this one was")

// ours says whether a drive that this job has begun on is still its to erase. One that it has not begun on is compared with its plan.
func (a *Agent) ours(job string, p sanitize.Plan, r DriveResult) error {
	if r.Logged() == 0 {
		return nil
	}
	since, err := a.begunSince(job, p, r)
	if err == nil && since != "" {
		err = fmt.Errorf("%w: job %s; give this one up by expunge jobs abandon %s, and make a new plan if the drive shall be erased all the same", ErrBegunSince, since, job)
	}
	return err
}

// begunSince is a job that was begun on a drive after this one was, by the log, or, where that does not tell, was planned later and begun on
// it; "" where there is none, or this one is at its end. While the state says that this one is not, no other job is begun: but its files may
// have been damaged, or away, and put back.
func (a *Agent) begunSince(job string, p sanitize.Plan, r DriveResult) (string, error) {
	if r.Finished() {
		return "", nil
	}
	names, err := a.jobNames()
	if err != nil {
		return "", err
	}
	logged := r.Logged()
	known := logged > 0
	if by, err := a.StartedBy(job); err == nil && !known && by.LogEntries != nil {
		logged, known = *by.LogEntries, true
	}
	for _, other := range names {
		if _, err := os.Lstat(a.driveFile(other, r.Drive.ID, journalFile)); other == job || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		q, err := a.loadPlan(other)
		if err != nil {
			return other, nil // what cannot be told counts
		}
		at := slices.IndexFunc(q.Drives, func(d sanitize.DrivePlan) bool { return d.ID == r.Drive.ID })
		if at < 0 {
			continue
		}
		then, after := a.result(other, q.Drives[at]), q.Created.After(p.Created)
		if then.Logged() > 0 && known {
			after = then.Logged() > logged
		}
		if begun := then.Logged() > 0 || then.Err != nil; begun && after { // what cannot be told counts
			return other, nil
		}
	}
	return "", nil
}

// work opens journal and drive and executes. Its error says why there is no end yet.
func (a *Agent) work(ctx context.Context, job string, p sanitize.Plan, d sanitize.DrivePlan, refusal *sanitize.Refusal, o Observer) (err error) {
	j, records, err := a.openJournal(job, p, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if refusal != nil && !sanitize.HasIntent(records) {
		return sanitize.Refuse(j, refusal.Error())
	}
	if !sanitize.HasIntent(records) && a.now().After(p.Expires) {
		// The job was cut off before this drive: what was approved then is not any more.
		return sanitize.Refuse(j, "the plan expired before the drive was touched: make a new one")
	}
	handle, err := a.openDrive(ctx, d, p, sanitize.Touched(records), sanitize.Changed(records))
	if err != nil && !sanitize.HasIntent(records) && context.Cause(ctx) == nil {
		// Nothing was begun on it, so there is nothing to resume.
		return sanitize.Refuse(j, openRefusal(devices.Drive{Serial: d.Serial}, err).Error())
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, handle.Close()) }()
	if records, err = a.ensureIntent(j, records, job, p, d); err != nil {
		return err
	}
	meter := &sanitize.Meter{}
	if o.Begun != nil {
		o.Begun(d, meter)
	}
	return sanitize.Execute(ctx, sanitize.Execution{
		Handle: handle, Journal: j, Records: records,
		Secrets: a.driveFile(job, d.ID, secretsFile), Volatile: a.volatile(), PIN: func() (string, error) { return a.pinOf(job, d) }, Agent: a.version, Meter: meter, Budget: a.budget, Observe: a.observe(d, o),
		Now: a.now, Wait: a.wait,
	})
}

// openDrive takes the drive for as long as the work lasts. touched says that the job has begun on it,
// so that not everything is as it was when it was planned; changed, that it was ordered to change by
// itself: it may still be at that, have failed at it, be locked or larger, and is opened all the same.
func (a *Agent) openDrive(ctx context.Context, d sanitize.DrivePlan, p sanitize.Plan, touched, changed bool) (*devices.Handle, error) {
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return nil, err
	}
	want, err := findDrive(listed, d)
	if err != nil {
		return nil, err
	}
	policy, err := p.Policy.Resolve()
	if err != nil {
		return nil, err
	}
	if touched {
		err = d.Continues(want, p.Request.AllowFabric)
	} else {
		// The partition table is compared by Execute.
		var judged sanitize.Rulings
		if judged, err = a.judge(ctx, want, p.Request, policy, asked(p)); err == nil {
			err = d.Holds(want, "", p.Request, policy, judged)
		}
	}
	if err != nil {
		return nil, err
	}
	return a.host.Open(ctx, want, devices.OpenOptions{AllowFabric: p.Request.AllowFabric, Ours: changed, Keys: d.Technique == sanitize.TCGRevert})
}

// openJournal opens the journal of a job's drive, or begins it.
func (a *Agent) openJournal(job string, p sanitize.Plan, d sanitize.DrivePlan) (*journal.Journal, []journal.Record, error) {
	name := a.driveFile(job, d.ID, journalFile)
	j, records, err := journal.Open(name, a.now)
	if errors.Is(err, fs.ErrNotExist) {
		j, err = journal.Create(name, a.now)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(records) > 0 {
		return j, records, nil
	}
	if err := sanitize.Begin(j, job, p, d); err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	return a.reopen(j, name)
}

// reopen reads back what was just written: work begins only from what is on disk.
func (a *Agent) reopen(j *journal.Journal, name string) (*journal.Journal, []journal.Record, error) {
	if err := j.Close(); err != nil {
		return nil, nil, err
	}
	return journal.Open(name, a.now)
}

// Abandon ends a job for good: its unfinished drives are recorded as failed, and certified so.
func (a *Agent) Abandon(ctx context.Context, job, why string) (given Job, err error) {
	p, err := a.loadPlan(job)
	if err != nil {
		return Job{}, err
	}
	lock, err := a.lockJob(job)
	if err != nil {
		return Job{}, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	j := Job{ID: job, Plan: p}
	for _, d := range p.Drives {
		r := a.result(job, d)
		if r.Unreadable() {
			return Job{}, fmt.Errorf("no drive was given up: %w", r.Err)
		}
		r.Before = r.Finished() && r.Err == nil
		j.Drives = append(j.Drives, r)
	}
	for i, d := range p.Drives {
		r := &j.Drives[i]
		if !r.Finished() {
			problem := a.abandonDrive(ctx, job, p, d, why)
			*r = a.result(job, d)
			r.Err = errors.Join(r.Err, problem)
		}
		a.certifyResult(r)
	}
	a.account(context.WithoutCancel(ctx), &j)
	a.settleLog()
	return j, nil
}

func (a *Agent) abandonDrive(ctx context.Context, job string, p sanitize.Plan, d sanitize.DrivePlan, why string) error {
	j, records, err := a.openJournal(job, p, d)
	if err != nil {
		return err
	}
	if !sanitize.Touched(records) {
		return errors.Join(sanitize.Refuse(j, "abandoned before it was touched: "+why), j.Close())
	}
	records, err = a.ensureIntent(j, records, job, p, d)
	if err == nil && sanitize.Armed(records) {
		why, err = a.unlock(ctx, j, records, job, p, d, why)
	}
	if sanitize.Activated(records) {
		why += "; its Locking SP was activated by this job, with the PIN that the drive tells (MSID), and locks nothing"
	}
	if err == nil {
		err = sanitize.ForgetPINs(a.driveFile(job, d.ID, secretsFile))
	}
	if err == nil {
		err = sanitize.Abandon(j, why)
	}
	return errors.Join(err, j.Close())
}

// unlock takes the job's password off a drive before the job is given up, so that it does not stay
// locked. Of a drive that is not there any more it is said where the password is kept.
func (a *Agent) unlock(ctx context.Context, j *journal.Journal, records []journal.Record, job string, p sanitize.Plan, d sanitize.DrivePlan, why string) (string, error) {
	secrets := a.driveFile(job, d.ID, secretsFile)
	handle, err := a.openDrive(ctx, d, p, true, true)
	if errors.Is(err, devices.ErrNotFound) {
		return why + "; it is not attached, and may be locked by the password that is kept with this job", nil
	}
	if err != nil {
		return "", fmt.Errorf("the job's password must come off the drive before the job is given up: %w", err)
	}
	err = sanitize.Release(ctx, sanitize.Execution{Handle: handle, Journal: j, Records: records, Secrets: secrets, Observe: a.testOnlyObserve, Now: a.now, Wait: a.wait})
	if errors.Is(err, sanitize.ErrPasswordLost) {
		// Nobody can take it off any more but whoever has a copy.
		why, err = why+"; its password is lost, and it stays locked unless somebody has a copy of the secrets", nil
	}
	return why, errors.Join(err, handle.Close())
}

// observe passes records on.
func (a *Agent) observe(d sanitize.DrivePlan, o Observer) func(journal.Record) {
	if a.testOnlyObserve == nil && o.Recorded == nil {
		return nil
	}
	return func(r journal.Record) {
		if a.testOnlyObserve != nil {
			a.testOnlyObserve(r)
		}
		if o.Recorded != nil {
			o.Recorded(d, r)
		}
	}
}
