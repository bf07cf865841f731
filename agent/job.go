package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// Job is one use of a plan.
type Job struct {
	ID      string
	Plan    sanitize.Plan
	Drives  []DriveResult
	Problem error // the job cannot be read: its files are damaged
	// Manifest is the path of what accounts for all drives of the host; empty before the job's end. ManifestErr is why none
	// could be made at it: certificate reissue makes one when the cause is gone.
	Manifest    string
	ManifestErr error
}

// DriveResult is how one drive of a job stands.
type DriveResult struct {
	Job     string
	Drive   sanitize.DrivePlan
	Outcome sanitize.Outcome
	Reasons []devices.Reason // why it is not sanitized
	// Evidence is what the journal proves; nil when the drive was refused before it had one.
	Evidence    *sanitize.Evidence
	Certificate string // path; empty when there is none (yet)
	// Against is why the certificate does not stand as it was signed: it was withdrawn, or a validator decided otherwise.
	Against []devices.Reason
	// Err is why the drive could not be worked on or certified now.
	Err error
	// Before: it had come to this end before the run, or the giving up, that tells of it.
	Before bool
}

// Finished says whether the outcome is final.
func (r DriveResult) Finished() bool { return r.Outcome != sanitize.Interrupted }

// Unreadable says whether the journal could not be read, which says nothing of the drive. It may be read again later: until then nothing is
// begun, gone on with or signed.
func (r DriveResult) Unreadable() bool {
	var unreadable *UnreadableJournalError
	return errors.As(r.Err, &unreadable)
}

// UnreadableJournalError: a journal cannot be read now, so that nobody can tell what became of the drive. One that was read and is damaged
// is a *journal.CorruptError.
type UnreadableJournalError struct {
	Job, Serial string
	Err         error
}

func (e *UnreadableJournalError) Error() string {
	return fmt.Sprintf("job %s, drive %s: what became of it cannot be told now: %v", e.Job, e.Serial, e.Err)
}
func (e *UnreadableJournalError) Unwrap() error { return e.Err }

// uncertified says whether the drive has come to an end that a certificate is due for.
func (r DriveResult) uncertified() bool {
	return r.Evidence != nil && r.Finished() && r.Evidence.IntentLeaf != "" && r.Certificate == "" && r.Err == nil
}

// Seconds is the time from the first to the last step on the drive, pauses included.
func (r DriveResult) Seconds() float64 {
	if r.Evidence == nil || r.Evidence.Started.IsZero() {
		return 0
	}
	return r.Evidence.Finished.Sub(r.Evidence.Started).Round(time.Millisecond).Seconds()
}

// result reads how a drive of a job stands from its files.
func (a *Agent) result(job string, d sanitize.DrivePlan) DriveResult {
	r := DriveResult{Job: job, Drive: d, Outcome: sanitize.Interrupted}
	parsed, err := journal.Read(a.driveFile(job, d.ID, journalFile))
	if errors.Is(err, fs.ErrNotExist) {
		r.Reasons = []devices.Reason{{Code: "not_begun", Message: "the agent or the host stopped before the drive was touched", Hint: a.resumeHere(job)}}
		return r
	}
	if err == nil && len(parsed.Records) == 0 {
		r.Reasons = []devices.Reason{{Code: "not_begun", Message: "the journal is empty", Hint: a.resumeHere(job)}}
		return r
	}
	if corrupt := (*journal.CorruptError)(nil); err != nil && !errors.As(err, &corrupt) {
		return a.unreadable(r, err)
	}
	var e sanitize.Evidence
	if err == nil {
		e, err = sanitize.Fold(parsed)
	}
	if err == nil && (e.Job != job || e.Drive.ID != d.ID) {
		err = fmt.Errorf("the journal is that of job %s and drive %s", e.Job, e.Drive.ID)
	}
	if err != nil {
		r.Outcome, r.Err = sanitize.Unknown, fmt.Errorf("job %s, drive %s: %w", job, d.Serial, err)
		r.Reasons = []devices.Reason{{Code: "journal_damaged", Message: r.Err.Error(),
			Hint: "the drive may hold data: keep the files as they are, and sanitize the drive in a new job"}}
		return r
	}
	r.Evidence, r.Outcome = &e, e.Outcome
	if e.Reason != "" {
		reason := devices.Reason{Code: string(e.Outcome), Message: e.Reason}
		if e.Outcome == sanitize.Interrupted {
			reason.Hint = a.resumeHere(job)
			if e.Needs == "power_cycle" {
				reason.Code = ReasonPowerCycle
				reason.Hint = "take power from the drive and give it back (pull it and put it back, or switch the host off and on), then " + resumeHint(job)
			}
		}
		r.Reasons = []devices.Reason{reason}
	}
	return a.withCertificate(r)
}

// unreadable is the result of a drive whose journal cannot be read now. It has no end that is known, so that no other job takes the drive for
// free, but for one that was certified.
func (a *Agent) unreadable(r DriveResult, err error) DriveResult {
	r.Err = &UnreadableJournalError{r.Job, r.Drive.Serial, err}
	reason := devices.Reason{Code: ReasonUnreadable, Message: r.Err.Error(), Hint: "have it read again, or keep the job's directory elsewhere and sanitize the drive in a new job"}
	if _, err := os.Stat(a.driveFile(r.Job, r.Drive.ID, certificateFile)); err == nil {
		r.Outcome, reason.Hint = sanitize.Unknown, "have it read again; the certificate stands as it was issued: check it with expunge verify"
	}
	r.Reasons = []devices.Reason{reason}
	return r
}

// withCertificate adds the certificate, if there is one that verifies. It must be of this very
// journal: one that was cut or replaced after it was certified proves nothing any more.
func (a *Agent) withCertificate(r DriveResult) DriveResult {
	file := a.driveFile(r.Job, r.Drive.ID, certificateFile)
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return r // it can be reissued
	}
	if err != nil { // it may be there, with what people said of it since
		r.Err = &CertificateError{r.Job, r.Drive.Serial, err}
		return r
	}
	report := attest.Verify(data, attest.Trust{})
	if report.Result == nil {
		return r // damaged: as if it were not there
	}
	e := report.Result.Evidence
	if e.JournalSHA256 != r.Evidence.JournalSHA256 || e.JournalRecords != r.Evidence.JournalRecords {
		r.Outcome = sanitize.Unknown
		r.Err = fmt.Errorf("job %s, drive %s: the journal has %d records, and %s certifies one of %d: it was cut or replaced",
			r.Job, r.Drive.Serial, r.Evidence.JournalRecords, file, e.JournalRecords)
		r.Reasons = []devices.Reason{{Code: "journal_damaged", Message: r.Err.Error(), Hint: "the certificate stands as it was issued: check it with expunge verify; keep the files"}}
		return r
	}
	r.Certificate = file
	for _, reason := range report.Standing() {
		r.Against = append(r.Against, devices.Reason{Code: reason.Code, Message: reason.Message, Hint: reason.Hint})
	}
	return r
}

// ReasonPowerCycle is the code of a drive that goes on only after its power was taken away and given
// back.
const ReasonPowerCycle = "power_cycle_needed"

// ReasonRunning is the code of a drive that has no end because another process works on it.
const ReasonRunning = "running"

// ReasonUnfinished is the code of a drive that has a job that is not at its end on it.
const ReasonUnfinished = "unfinished_job"

func resumeHint(job string) string { return "run: expunge jobs resume " + job }

// ReasonUnreadable is the code of a drive, or a job, of which nothing can be told because its files cannot be read.
const ReasonUnreadable = "unreadable_job"

// ReasonNoRoom is the code of a drive that stopped because nothing more could be noted of it.
const ReasonNoRoom = "no_room"

// resumeHere is resumeHint where the state may be full: why a job stopped then, its journal could not take.
func (a *Agent) resumeHere(job string) string {
	if errors.Is(a.Room(1), ErrNoRoom) {
		return "the state directory " + a.dir + " is full: make room there, then " + resumeHint(job)
	}
	return resumeHint(job)
}

// stoppedFor puts why a drive stopped now before what its files say, where they could not take it.
func (r *DriveResult) stoppedFor(err error, hint string) {
	if r.Outcome != sanitize.Interrupted || !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return
	}
	r.Reasons = []devices.Reason{{Code: ReasonNoRoom, Message: "no room is left in the state directory: what is done could not be noted any more, so nothing more is done", Hint: hint}}
}

// Jobs lists all jobs of this state, oldest first. One that cannot be read is listed with its
// Problem.
func (a *Agent) Jobs() ([]Job, error) {
	names, err := a.jobNames()
	if err != nil {
		return nil, err
	}
	jobs := make([]Job, 0, len(names))
	for _, name := range names {
		jobs = append(jobs, a.job(name))
	}
	sortJobs(jobs)
	return jobs, nil
}

// Job reads one job. The error is ErrNoJob when there is none of that name.
func (a *Agent) Job(name string) (Job, error) {
	j := a.job(name)
	return j, j.Problem
}

func (a *Agent) job(name string) Job {
	// Whether somebody is at work is asked before the journals are read: the other way round, one whose end came between the two
	// would be told as interrupted.
	attended, err := a.Attended(name)
	j := Job{ID: name}
	j.Plan, j.Problem = a.loadPlan(name)
	for _, d := range j.Plan.Drives {
		r := a.result(name, d)
		if !r.Finished() && err == nil && attended {
			r.Reasons = []devices.Reason{{Code: ReasonRunning, Message: "another process is at work on it", Hint: "run: expunge watch " + name}}
		}
		j.Drives = append(j.Drives, r)
	}
	return j
}

// UnreadableJobError: nothing can be planned or begun while a job cannot be read, since its drives are not known.
type UnreadableJobError struct {
	Job string
	Err error
}

func (e *UnreadableJobError) Error() string {
	return fmt.Sprintf("job %s cannot be read, so no drive can be told to be free of it: %v", e.Job, e.Err)
}

// unfinished maps drives to the job that has not come to an end on them. A job that cannot be
// read stands for every drive it might have: planning is refused until it is looked at.
func (a *Agent) unfinished() (map[devices.ID]string, error) {
	names, err := a.jobNames()
	if err != nil {
		return nil, err
	}
	found := map[devices.ID]string{}
	for _, job := range names {
		p, err := a.loadPlan(job)
		if err != nil {
			return nil, &UnreadableJobError{job, err}
		}
		for _, d := range p.Drives {
			// What was certified has ended: its journal need not be read again.
			if _, err := os.Stat(a.driveFile(job, d.ID, certificateFile)); err == nil {
				continue
			}
			if !a.result(job, d).Finished() {
				found[d.ID] = job
			}
		}
	}
	return found, nil
}
