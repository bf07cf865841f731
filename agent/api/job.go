package api

import (
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// The states of a job.
const (
	JobRunning     = "running"     // somebody is at work on it
	JobInterrupted = "interrupted" // it goes on when the agent starts again, or when it is resumed
	JobStopped     = "stopped"     // somebody cancelled it: it goes on only when it is resumed
	JobEnded       = "ended"       // every drive has its outcome
	JobUnreadable  = "unreadable"  // its files are damaged
)

// Job is one use of a plan.
type Job struct {
	ID      string     `json:"id"`
	Created string     `json:"created,omitempty"` // of its plan, RFC 3339
	Plan    string     `json:"plan_digest,omitempty"`
	State   string     `json:"state"`
	Drives  []JobDrive `json:"drives"`
	// RequestedBy asked for the plan, StartedBy for the job; empty where no agent was asked.
	RequestedBy string `json:"requested_by,omitempty"`
	StartedBy   string `json:"started_by,omitempty"`
	// Manifest accounts for every drive of the host; absent before the job's end.
	Manifest      string `json:"manifest,omitempty"`
	ManifestError string `json:"manifest_error,omitempty"`
	ExitStatus    int    `json:"exit_status"` // of all drives together
	Problem       string `json:"problem,omitempty"`
}

// JobDrive is how one drive of a job stands.
type JobDrive struct {
	ID           devices.ID         `json:"id"`
	Serial       string             `json:"serial"`
	Model        string             `json:"model"`
	Nodes        []string           `json:"nodes"`
	SizeBytes    int64              `json:"size_bytes"`
	Outcome      sanitize.Outcome   `json:"outcome"`
	Words        string             `json:"words"` // the outcome as people say it
	ExitStatus   int                `json:"exit_status"`
	Method       sanitize.Method    `json:"method,omitempty"` // achieved
	Technique    sanitize.Technique `json:"technique,omitempty"`
	BytesWritten int64              `json:"bytes_written"`
	Seconds      float64            `json:"seconds"`
	Verification *Verification      `json:"verification,omitempty"`
	Exceptions   int64              `json:"exception_bytes"`
	Attempts     int                `json:"attempts"`
	Operations   []Operation        `json:"operations,omitempty"` // what the drive did by itself
	Markers      *Markers           `json:"markers,omitempty"`
	Warnings     []string           `json:"warnings,omitempty"`
	Excludes     []string           `json:"excludes,omitempty"` // what the technique left as it was
	Reasons      []devices.Reason   `json:"reasons"`
	Certificate  *string            `json:"certificate"` // null: none could be made, or not yet
	Error        string             `json:"error,omitempty"`
	// Progress is how far it is, of a drive that is worked on.
	Progress *sanitize.Reading `json:"progress,omitempty"`
}

// Operation is a command by which a drive worked by itself.
type Operation struct {
	Technique sanitize.Technique `json:"technique"`
	Status    string             `json:"status"` // the drive's last word
	Because   string             `json:"because,omitempty"`
	Complete  bool               `json:"complete"`
	Unit      int                `json:"unit,omitempty"` // of the drive's logical units
	Seconds   int64              `json:"seconds"`
	Estimate  *int64             `json:"estimate_seconds,omitempty"`
}

// Markers is what became of the blocks that were written before an erase.
type Markers struct {
	Set        int64 `json:"set"`
	Changed    int64 `json:"changed"`
	Unchanged  int64 `json:"unchanged"`
	Unreadable int64 `json:"unreadable"`
}

// Verification is what was read back.
type Verification struct {
	Mode       sanitize.VerifyMode `json:"mode"`
	Result     string              `json:"result"`
	Samples    int64               `json:"samples"`
	Bytes      int64               `json:"bytes"`
	Mismatches int64               `json:"mismatches"`
	ReadErrors int64               `json:"read_errors"`
	Unwritten  int64               `json:"unwritten_blocks,omitempty"` // above write pointers of zones: not read
}

// JobOf is a job as it stands, with every drive of it, also those that planning refused.
func JobOf(j agent.Job) Job {
	job := Job{ID: j.ID, State: JobEnded, Drives: []JobDrive{}, Manifest: j.Manifest}
	if j.Problem != nil {
		job.State, job.Problem, job.ExitStatus = JobUnreadable, j.Problem.Error(), ExitUnproven
		return job
	}
	job.Created, job.Plan = j.Plan.Created.Format("2006-01-02T15:04:05Z"), j.Plan.Digest()
	for _, r := range j.Drives {
		job.Drives = append(job.Drives, DriveOf(r))
		if r.Finished() {
			continue
		}
		if job.State == JobEnded {
			job.State = JobInterrupted
		}
		if len(r.Reasons) > 0 && r.Reasons[0].Code == agent.ReasonRunning {
			job.State = JobRunning
		}
	}
	for _, r := range j.Plan.Refused {
		job.Drives = append(job.Drives, RefusedOf(r))
	}
	codes := make([]int, len(job.Drives))
	for i, d := range job.Drives {
		codes[i] = d.ExitStatus
	}
	job.ExitStatus = Worst(codes)
	if j.ManifestErr != nil {
		job.ManifestError, job.ExitStatus = j.ManifestErr.Error(), ExitInternal
	}
	return job
}

// RefusedOf is a drive that planning refused.
func RefusedOf(r sanitize.Refused) JobDrive {
	return JobDrive{ID: r.ID, Serial: r.Serial, Model: r.Model, Nodes: r.Nodes, Outcome: sanitize.RefusedRun, Reasons: r.Reasons, ExitStatus: RefusedExit(r), Words: "REFUSED - not touched"}
}

// DriveOf is how a drive stands.
func DriveOf(r agent.DriveResult) JobDrive {
	d := JobDrive{
		ID: r.Drive.ID, Serial: r.Drive.Serial, Model: r.Drive.Model, Nodes: r.Drive.Nodes, SizeBytes: r.Drive.SizeBytes, Outcome: r.Outcome, Technique: r.Drive.Technique,
		Seconds: r.Seconds(), Reasons: append(append([]devices.Reason{}, r.Reasons...), r.Against...), ExitStatus: driveExit(r), Words: words(r) + against(r),
	}
	if r.Err != nil {
		d.Error = r.Err.Error()
	}
	if r.Certificate != "" {
		d.Certificate = &r.Certificate
	}
	e := r.Evidence
	if e == nil {
		return d
	}
	d.BytesWritten, d.Exceptions, d.Attempts, d.Warnings = e.BytesWritten, e.ExceptionBytes, e.Attempts, e.Warnings
	v := e.Verification
	d.Verification = &Verification{v.Mode, v.Result, v.Samples, v.Bytes, v.Mismatches, v.ReadErrors, v.Unwritten}
	for _, o := range e.Operations {
		d.Operations = append(d.Operations, Operation{o.Technique, o.Status, o.Because, o.Complete, o.Unit, o.ElapsedSeconds, o.EstimateSeconds})
	}
	if m := e.Markers; m != nil {
		d.Markers = &Markers{m.Set, m.Changed, max(m.Unchanged, m.UnchangedEver), m.Unreadable}
	}
	if r.Outcome == sanitize.Sanitized || r.Outcome == sanitize.Exceptions {
		for _, x := range e.Drive.Excludes {
			d.Excludes = append(d.Excludes, x.Message)
		}
		d.Method = e.Drive.Method
	}
	return d
}

// unreadable says whether a drive has no end that is known because its journal cannot be read now.
func unreadable(r agent.DriveResult) bool {
	return r.Outcome == sanitize.Interrupted && len(r.Reasons) > 0 && r.Reasons[0].Code == agent.ReasonUnreadable
}

// against is what people said of the certificate later.
func against(r agent.DriveResult) string {
	said := ""
	for _, reason := range r.Against {
		said += ", certificate " + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(reason.Code, "validation_"), "_", " "))
	}
	return said
}

// words are the outcome as people say it.
func words(r agent.DriveResult) string {
	how := "verified"
	if r.Drive.Verification == sanitize.VerifyStatus {
		how = "status only"
	}
	if (r.Outcome == sanitize.Sanitized || r.Outcome == sanitize.Exceptions) && r.Certificate == "" {
		return "NOT CERTIFIED - no certificate says what was done"
	}
	achieved := map[sanitize.Method]string{sanitize.Clear: "CLEARED", sanitize.Purge: "PURGED"}[r.Drive.Method]
	switch r.Outcome {
	case sanitize.Sanitized:
		return achieved + " " + how
	case sanitize.Exceptions:
		return fmt.Sprintf("%s %s, but for %d bytes", achieved, how, r.Evidence.ExceptionBytes)
	case sanitize.RefusedRun:
		return "REFUSED - not touched"
	case sanitize.Interrupted:
		if len(r.Reasons) > 0 && r.Reasons[0].Code == agent.ReasonPowerCycle {
			return "POWER CYCLE NEEDED - holds data, resumable"
		}
		if len(r.Reasons) > 0 && r.Reasons[0].Code == agent.ReasonRunning {
			return "RUNNING - holds data until it has ended"
		}
		if unreadable(r) {
			return "UNREADABLE - treat as holding data"
		}
		return "INTERRUPTED - holds data, resumable"
	case sanitize.Unproven:
		return "UNPROVEN - holds data"
	case sanitize.Unknown:
		return "UNKNOWN - treat as holding data"
	}
	return "FAILED - holds data"
}
