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

// Left is a drive that somebody has to look at, and why it was left alone.
type Left struct {
	Drive  devices.Drive
	Job    string // one of this state that waits for it; "" for none
	Reason devices.Reason
}

// Recover finds the drives that erase themselves, or did while nobody watched. Those that a job of
// this state ordered to are waited for, proven and certified; nothing new is begun on a drive that
// was never ordered to. Others are only reported. It is what to call when a host comes up.
func (a *Agent) Recover(ctx context.Context, o Observer) ([]Job, []Left, error) {
	last, err := a.LastHalt() // first: one that is said from now on stops this
	if err != nil {
		return nil, nil, err
	}
	names, err := a.jobNames()
	if err = errors.Join(err, a.halted()); err != nil {
		return nil, nil, err
	}
	if err := a.restoreRecords(); err != nil {
		a.log.Error("records were not made again; an audit says which are missing", "err", err)
	}
	if err := a.AccountLeft(ctx); err != nil {
		a.log.Error("not every job that has ended is accounted for", "err", err)
	}
	there, err := a.host.Drives(ctx)
	if err != nil {
		return nil, nil, err
	}
	working, done := a.untilHalted(ctx, last)
	defer done()
	var jobs []Job
	var left []Left
	waiting := map[devices.ID]bool{}
	type order struct {
		plan    sanitize.Plan
		ordered map[devices.ID]bool
	}
	orders := map[string]order{}
	for _, name := range names {
		p, err := a.loadPlan(name)
		if err != nil {
			left = append(left, Left{Job: name, Reason: devices.Reason{Code: ReasonUnreadable, Message: err.Error(), Hint: "keep its files as they are"}})
			continue
		}
		ordered := map[devices.ID]bool{}
		for _, d := range p.Drives {
			r := a.result(name, d)
			if r.Finished() {
				if r.uncertified() {
					ordered[d.ID] = true // carrying it on has it certified
				}
				continue
			}
			waiting[d.ID] = true
			if r.Unreadable() {
				left = append(left, Left{Drive: devices.Drive{ID: d.ID, Serial: d.Serial, Model: d.Model}, Job: name, Reason: r.Reasons[0]})
				continue
			}
			switch sent, err := a.sent(name, d); {
			case err != nil:
				return nil, nil, err
			case sent:
				ordered[d.ID] = true
			default:
				left = append(left, Left{Drive: devices.Drive{ID: d.ID, Serial: d.Serial, Model: d.Model}, Job: name, Reason: a.leftFor(name, r, there)})
			}
		}
		if len(ordered) > 0 {
			orders[name] = order{p, ordered}
		}
	}
	// All at once: a drive that takes days holds up no other.
	var mu sync.Mutex
	var wait sync.WaitGroup
	var failed error
	for name, x := range orders {
		wait.Go(func() {
			job, err := a.carryOn(working, name, x.plan, nil, o, func(id devices.ID) bool { return x.ordered[id] })
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrJobBusy):
				left = append(left, Left{Job: name, Reason: busyReason(name)})
			case err != nil:
				failed = errors.Join(failed, err)
			default:
				jobs = append(jobs, job)
			}
		})
	}
	wait.Wait()
	sortJobs(jobs)
	if failed != nil {
		return jobs, left, failed
	}
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return jobs, left, err
	}
	for _, d := range listed {
		if reason, is := unattended(d); is && !waiting[d.ID] {
			left = append(left, Left{Drive: d, Reason: reason})
		}
	}
	return jobs, left, nil
}

func busyReason(job string) devices.Reason {
	return devices.Reason{Code: "busy", Message: "job " + job + " is being run by another process", Hint: "run: expunge watch " + job}
}

// leftFor is why a drive of a job that has nothing to wait for is left as it is.
// there are the drives of the host.
func (a *Agent) leftFor(job string, r DriveResult, there []devices.Drive) devices.Reason {
	if attended, err := a.Attended(job); err == nil && attended {
		return busyReason(job)
	}
	if _, err := findDrive(there, r.Drive); errors.Is(err, devices.ErrNotFound) {
		return devices.Reason{Code: "not_attached", Message: "its job is interrupted, and it is not attached", Hint: "put it back, then " + a.resumeHere(job)}
	}
	if by, err := a.StoppedBy(job); err == nil && by.By != "" {
		return devices.Reason{Code: "interrupted", Message: "its job was stopped by " + by.By + " at " + by.At.UTC().Format(time.RFC3339), Hint: a.resumeHere(job)}
	}
	if len(r.Reasons) > 0 {
		return r.Reasons[0]
	}
	return devices.Reason{Code: "interrupted", Message: "its job was interrupted while the host was at work", Hint: a.resumeHere(job)}
}

// unattended says what a drive is in the middle of that no job of this state knows.
func unattended(d devices.Drive) (devices.Reason, bool) {
	switch {
	case d.Security != nil && d.Security.Locked:
		return devices.Reason{Code: devices.ReasonLocked, Message: "it is locked by an ATA password that no job of this state set",
			Hint: fmt.Sprintf("with its password: expunge recover %s --password-file FILE", d.Serial)}, true
	case d.FormatFailed:
		return devices.Reason{Code: "format_failed", Message: "its latest format failed or was cut off: its medium cannot be used", Hint: "expunge plan " + d.Serial + " --technique format"}, true
	case slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == devices.ReasonSanitizing }) &&
		(d.Sanitize == nil || d.Sanitize.State != devices.SanitizeRunning):
		word := "formatting"
		if d.Protocol == devices.ProtocolATA {
			word = "sanitizing" // and its registers, which would say more, are lost
		}
		return devices.Reason{Code: devices.ReasonSanitizing, Message: "it is " + word + " itself, by no order of this state: it is left alone",
			Hint: "ask whoever ordered it; when it has ended, make a plan for the drive"}, true
	case d.Sanitize == nil:
		return devices.Reason{}, false
	}
	switch d.Sanitize.State {
	case devices.SanitizeRunning:
		if d.Sanitize.Waiting {
			return devices.Reason{Code: devices.ReasonSanitizing, Message: "a sanitize of it, by no order of this state, is done, and it waits in media verification to be read",
				Hint: "ask whoever ordered it; a loss of power ends it, then make a plan for the drive"}, true
		}
		return devices.Reason{Code: devices.ReasonSanitizing, Message: "it is sanitizing itself, by no order of this state: it is left alone",
			Hint: "ask whoever ordered it; when it has ended, make a plan for the drive"}, true
	case devices.SanitizeFailed:
		if d.Sanitize.Unrestricted {
			return devices.Reason{Code: "sanitize_failed", Message: "its latest sanitize failed, unrestricted: it holds data",
				Hint: fmt.Sprintf("expunge plan %s; or use it with its data: expunge recover %s --exit-failure-mode", d.Serial, d.Serial)}, true
		}
		if d.Protocol != devices.ProtocolNVMe {
			return devices.Reason{Code: "sanitize_failed", Message: "its latest sanitize failed: it holds data and takes nothing but another sanitize",
				Hint: fmt.Sprintf("expunge plan %s; or, if that sanitize was unrestricted, use it with its data: expunge recover %s --exit-failure-mode", d.Serial, d.Serial)}, true
		}
		return devices.Reason{Code: "sanitize_failed", Message: "its latest sanitize failed, restricted: it holds data and takes nothing but another sanitize",
			Hint: "expunge plan " + d.Serial + " --method purge"}, true
	}
	return devices.Reason{}, false
}

// sent says whether a job has ordered a drive to erase itself.
func (a *Agent) sent(job string, d sanitize.DrivePlan) (bool, error) {
	parsed, err := journal.Read(a.driveFile(job, d.ID, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return sanitize.Sent(parsed.Records), err
}

// ByThemselves are the drives of a job that may be erasing themselves by its order, as their journals have it, whether anybody is at
// work on it or not. With an error it has those that could be told.
func (a *Agent) ByThemselves(job string) (map[devices.ID]bool, error) {
	p, err := a.loadPlan(job)
	if err != nil {
		return nil, err
	}
	found := map[devices.ID]bool{}
	for _, d := range p.Drives {
		if _, err := os.Stat(a.driveFile(job, d.ID, certificateFile)); err == nil {
			continue // it has ended
		}
		parsed, unread := journal.Read(a.driveFile(job, d.ID, journalFile))
		if errors.Is(unread, fs.ErrNotExist) {
			continue
		}
		goesOn := false
		if unread == nil {
			goesOn, unread = sanitize.GoesOn(parsed.Records)
		}
		if unread != nil {
			err = errors.Join(err, fmt.Errorf("job %s, drive %s: %w", job, d.Serial, unread))
		}
		if goesOn {
			found[d.ID] = true
		}
	}
	return found, err
}

// ErrNotFailed: the drive is in no failure mode that could be left.
var ErrNotFailed = errors.New("the drive is not in a failure mode that can be left")

// ExitFailureMode lets a drive whose unrestricted sanitize failed be used again, with whatever
// data it holds. Nothing is certified of it.
func (a *Agent) ExitFailureMode(ctx context.Context, name string) (left devices.Drive, err error) {
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return devices.Drive{}, err
	}
	selected, err := a.host.Select(listed, []string{name})
	if err != nil {
		return devices.Drive{}, err
	}
	d := selected[0]
	unfinished, err := a.unfinished()
	if err != nil {
		return d, err
	}
	switch s := d.Sanitize; {
	case unfinished[d.ID] != "":
		return d, a.unfinishedRefusal(unfinished[d.ID])
	case s == nil || s.State != devices.SanitizeFailed:
		return d, fmt.Errorf("%s %s: %w", d.Model, d.Serial, ErrNotFailed)
	case d.Protocol == devices.ProtocolNVMe && !s.Unrestricted:
		return d, fmt.Errorf("%s %s: its sanitize failed in restricted mode, which only a successful sanitize ends: %w", d.Model, d.Serial, ErrNotFailed)
	}
	handle, err := a.host.Open(ctx, d, devices.OpenOptions{})
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, handle.Close()) }()
	if err := handle.ExitFailureMode(ctx); err != nil {
		return d, fmt.Errorf("exit failure mode of %s: %w", d.Serial, err)
	}
	if _, err := handle.PartitionTable(ctx); err != nil {
		return d, fmt.Errorf("%s was told to leave its failure mode, and cannot be read all the same: %w", d.Serial, err)
	}
	a.log.Info("a drive left its failure mode, with its data", "drive", string(d.ID), "serial", d.Serial)
	return d, nil
}

// ErrNoPassword: the drive has no ATA password that could be taken off.
var ErrNoPassword = errors.New("the drive has no ATA password")

// TakePasswordOff takes an ATA password off a drive that its owner knows, so that the drive can be
// sanitized. A drive of an unfinished job has the job's password: the job takes that off.
func (a *Agent) TakePasswordOff(ctx context.Context, name string, password [32]byte, master bool) (d devices.Drive, err error) {
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return devices.Drive{}, err
	}
	selected, err := a.host.Select(listed, []string{name})
	if err != nil {
		return devices.Drive{}, err
	}
	d = selected[0]
	unfinished, err := a.unfinished()
	switch {
	case err != nil:
		return d, err
	case unfinished[d.ID] != "":
		return d, a.unfinishedRefusal(unfinished[d.ID])
	case d.Security == nil || !d.Security.Enabled:
		return d, fmt.Errorf("%s %s: %w", d.Model, d.Serial, ErrNoPassword)
	}
	handle, err := a.host.Open(ctx, d, devices.OpenOptions{Ours: true})
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, handle.Close()) }()
	if err := handle.TakePasswordOff(ctx, password, master); err != nil {
		return d, fmt.Errorf("take the password off %s: %w", d.Serial, err)
	}
	a.log.Info("an ATA password was taken off", "drive", string(d.ID), "serial", d.Serial)
	return d, nil
}

// Look says how a job stands that another process runs, or that its drives go on with by themselves, and whether that is so. meters
// are those of the drives that are worked on, as of the look before: they are set, added and taken away. It changes nothing else.
func (a *Agent) Look(ctx context.Context, job string, meters map[devices.ID]*sanitize.Meter) (j Job, goesOn bool, err error) {
	attended, err := a.Attended(job)
	if err != nil {
		return Job{}, false, err
	}
	sanitizing, err := a.sanitizing(ctx)
	if err != nil {
		return Job{}, false, err
	}
	if j, err = a.Job(job); err != nil {
		return j, false, err
	}
	for _, r := range j.Drives {
		id := r.Drive.ID
		percent, byItself := sanitizing[id]
		if r.Finished() || !attended && !byItself {
			delete(meters, id)
			continue
		}
		if !byItself {
			percent = -1
		}
		goesOn = true
		if meters[id] == nil {
			meters[id] = &sanitize.Meter{}
		}
		parsed, err := journal.Read(a.driveFile(job, id, journalFile))
		if err == nil {
			err = sanitize.Follow(meters[id], parsed.Records, percent)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return j, false, err
		}
	}
	return j, goesOn || attended, nil
}

// Attended says whether a process is at work on a job.
func (a *Agent) Attended(job string) (bool, error) {
	if !jobID.MatchString(job) {
		return false, fmt.Errorf("%q: %w", job, ErrNoJob)
	}
	attended, err := durable.Locked(filepath.Join(a.jobDir(job), lockFile))
	if err != nil {
		return false, fmt.Errorf("job %s: %w", job, err)
	}
	return attended, nil
}

// sanitizing maps drives that erase themselves to how far they are, in percent.
func (a *Agent) sanitizing(ctx context.Context) (map[devices.ID]int, error) {
	listed, err := a.host.Drives(ctx)
	if err != nil {
		return nil, err
	}
	found := map[devices.ID]int{}
	for _, d := range listed {
		if d.Sanitize != nil && d.Sanitize.State == devices.SanitizeRunning {
			found[d.ID] = d.Sanitize.Percent
		}
	}
	return found, nil
}
