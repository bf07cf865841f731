package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
	"github.com/expunge-dev/expunge/sanitize"
)

// Started says who started a job, when, and by which approvals. The zero value is somebody at the host, of whom nothing is kept.
type Started struct {
	Schema    string            `json:"schema"`
	By        string            `json:"by"`
	At        time.Time         `json:"at"`
	Approvals []attest.Envelope `json:"approvals"`
	// Boot is the moment by a clock that nobody sets; nil when it is not known.
	Boot *Boot `json:"boot,omitempty"`
	// Audit is how far the audit file of an agent was when it had recorded the start; nil where none is kept.
	Audit *AuditMark `json:"audit,omitempty"`
	// LogEntries is how many entries the log had: what was begun on a drive since is behind them, whatever clocks say. nil where it is not kept.
	LogEntries *int64 `json:"log_entries,omitempty"`
}

// Boot is a moment of a host: which start of its kernel, and how long after.
type Boot struct {
	ID        string `json:"id"`
	UpSeconds int64  `json:"up_seconds"`
}

// AuditMark pins the beginning of an audit file: so many records, the last of which has this hash.
type AuditMark struct {
	Records int64  `json:"records"`
	SHA256  string `json:"sha256"`
}

const startedSchema = "expunge/started/v1"

func (s Started) encode() ([]byte, error) {
	s.Schema = startedSchema
	if s.Approvals == nil {
		s.Approvals = []attest.Envelope{}
	}
	data, err := json.MarshalIndent(s, "", "  ")
	return append(data, '\n'), err
}

// StartedBy reads who started a job; the zero value when that was not kept.
func (a *Agent) StartedBy(job string) (Started, error) {
	var s Started
	err := readKept(filepath.Join(a.jobDir(job), startedFile), &s)
	if err == nil && s.By != "" && s.Schema != startedSchema {
		err = fmt.Errorf("schema %q", s.Schema)
	}
	if err != nil {
		return Started{}, fmt.Errorf("who started job %s: %w", job, err)
	}
	return s, nil
}

// Stopped says who cancelled a job, and when.
type Stopped struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Stop notes that a job was cancelled: no agent goes on with it by itself.
func (a *Agent) Stop(job string, s Stopped) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = durable.WriteFile(filepath.Join(a.jobDir(job), stoppedFile), append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("stop job %s: %w", job, err)
	}
	return nil
}

// StoppedBy reads who cancelled a job; the zero value when nobody did. One whose note is damaged is stopped.
func (a *Agent) StoppedBy(job string) (Stopped, error) {
	var s Stopped
	if err := readKept(filepath.Join(a.jobDir(job), stoppedFile), &s); err != nil {
		return Stopped{By: "unknown"}, fmt.Errorf("who stopped job %s: %w", job, err)
	}
	return s, nil
}

// Unstop takes the note away: the job may go on.
func (a *Agent) Unstop(job string) error {
	err := os.Remove(filepath.Join(a.jobDir(job), stoppedFile))
	if err == nil {
		err = durable.SyncDir(a.jobDir(job))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("go on with job %s: %w", job, err)
	}
	return nil
}

func readKept(name string, v any) error {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return strict.Decode(data, v)
}

// JobOf is the name of the one job that a plan can have.
func JobOf(p sanitize.Plan) string { return jobName(p) }

// Pending lists the jobs that have something left to do: a drive without an end, or an end without its certificate. Where only a journal that
// cannot be read might tell, there is nothing to go on with.
func (a *Agent) Pending() ([]string, error) {
	names, err := a.jobNames()
	if err != nil {
		return nil, err
	}
	var pending []string
	for _, job := range names {
		p, err := a.loadPlan(job)
		if err != nil {
			a.log.Error("a job cannot be read", "job", job, "err", err)
			continue
		}
		for _, d := range p.Drives {
			if _, err := os.Stat(a.driveFile(job, d.ID, certificateFile)); err == nil {
				continue
			}
			if r := a.result(job, d); !r.Finished() && !r.Unreadable() || r.uncertified() {
				pending = append(pending, job)
				break
			}
		}
	}
	return pending, nil
}

// JobNames lists the jobs of this state, in the order of their names.
func (a *Agent) JobNames() ([]string, error) { return a.jobNames() }

// PlanOf reads the plan of a job. The error is ErrNoJob when there is none of that name.
func (a *Agent) PlanOf(job string) (sanitize.Plan, error) { return a.loadPlan(job) }

// KeptOf are the files of a job that say what was done, by whose order, and how it is shown: plan, request, who started it, manifest,
// and of each drive journal and certificate. Not all need be there. The secrets of a job are not among them.
func (a *Agent) KeptOf(job string, p sanitize.Plan) []string {
	var list []string
	for _, name := range []string{planFile, requestFile, startedFile, manifestFile} {
		list = append(list, filepath.Join(a.jobDir(job), name))
	}
	for _, d := range p.Drives {
		list = append(list, a.driveFile(job, d.ID, journalFile), a.driveFile(job, d.ID, certificateFile))
	}
	return list
}

// KeptBeside are the directories of the state that have what a job's certificates are audited by: the log, and records of no job.
func (a *Agent) KeptBeside() []string {
	return []string{filepath.Join(a.dir, logDir), filepath.Join(a.dir, recordsDir)}
}

// ID is that of the host or rack whose state this is.
func (a *Agent) ID() string { return a.owner.ID }

// ManifestOf is the file of a job's manifest; "" when there is none.
func (a *Agent) ManifestOf(job string) string {
	name := filepath.Join(a.jobDir(job), manifestFile)
	if _, err := os.Stat(name); err != nil {
		return ""
	}
	return name
}

// Version is that of the program.
func (a *Agent) Version() string { return a.version }

// JournalOf is the file of a job's drive in which everything that happened is recorded.
func (a *Agent) JournalOf(job string, d sanitize.DrivePlan) string {
	return a.driveFile(job, d.ID, journalFile)
}

// Dir is the state directory.
func (a *Agent) Dir() string { return a.dir }

// Volatile says whether what is kept in the state is lost with the host's power, and the drives are not.
func (a *Agent) Volatile() bool { return a.volatile() }
