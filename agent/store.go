package agent

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
	"github.com/expunge-dev/expunge/sanitize"
)

// The files of a state directory.
const (
	ownerFile       = "owner.json"       // whose state this is
	jobsDir         = "jobs"             // one directory per job
	keysDir         = "keys"             // the signing key
	logDir          = "log"              // the local Merkle log
	planFile        = "plan.json"        // in a job: what was confirmed
	requestFile     = "request.json"     // in a job: what was asked for
	startedFile     = "started.json"     // in a job: who started it, and what permitted that
	stoppedFile     = "stopped.json"     // in a job: somebody cancelled it; it goes on only when it is resumed
	lockFile        = "lock"             // in a job: held by the process that runs it
	journalFile     = "journal"          // in a job's drive: everything that happened
	secretsFile     = "secrets"          // in a job's drive: keys of overwrite streams
	intentFile      = "intent.json"      // in a job's drive: the logged intent
	certificateFile = "certificate.json" // in a job's drive: the whole bundle
	manifestFile    = "manifest.json"    // in a job: what became of every drive of the host
	recordsDir      = "records"          // records of no job: destructions, and plans of which every drive was refused
)

// Owner is the host or rack that a state directory belongs to.
type Owner struct {
	Kind string `json:"kind"` // "host" or "rack"
	ID   string `json:"id"`   // of the rack; a host's is drawn when its state is made
}

type ownerRecord struct {
	Schema string `json:"schema"`
	Owner
}

const ownerSchema = "expunge/owner/v1"

// OwnerError: the state directory belongs to another. Nothing in it was touched.
type OwnerError struct {
	Dir       string
	Have, Ask Owner
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("state directory %s belongs to %s, not to %s", e.Dir, e.Have.words(), e.Ask.words())
}

func (o Owner) words() string {
	if o.Kind == "host" {
		return "the host"
	}
	return o.Kind + " " + o.ID
}

// claimState makes the state directory on first use, and later checks whose it is.
func claimState(dir string, ask Owner) (Owner, error) {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return Owner{}, fmt.Errorf("state directory %s: %w", dir, err)
	}
	name := filepath.Join(dir, ownerFile)
	have, err := readOwner(name)
	if errors.Is(err, fs.ErrNotExist) {
		if have, err = newOwner(dir, name, ask); err != nil {
			return Owner{}, fmt.Errorf("state directory %s: %w", dir, err)
		}
	}
	if err != nil {
		return Owner{}, err
	}
	if have.Kind != ask.Kind || ask.ID != "" && have.ID != ask.ID {
		return Owner{}, &OwnerError{dir, have, ask}
	}
	for _, sub := range []string{jobsDir, keysDir, logDir} {
		if err := durable.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return Owner{}, fmt.Errorf("state directory %s: %w", dir, err)
		}
	}
	return have, nil
}

func newOwner(dir, name string, ask Owner) (Owner, error) {
	// A directory with other things in it is somebody else's, whatever its name.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Owner{}, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			return Owner{}, fmt.Errorf("%s is in it, but no %s: it is not a state directory", e.Name(), ownerFile)
		}
	}
	if ask.ID == "" {
		id := make([]byte, 16)
		rand.Read(id)
		ask.ID = hex.EncodeToString(id)
	}
	data, err := json.Marshal(ownerRecord{ownerSchema, ask})
	if err != nil {
		return Owner{}, err
	}
	if err := durable.CreateFile(name, append(data, '\n'), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return Owner{}, err
	}
	return readOwner(name) // another process may have been first
}

func readOwner(name string) (Owner, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return Owner{}, fmt.Errorf("read owner of the state: %w", err)
	}
	var o ownerRecord
	if err := strict.Decode(data, &o); err != nil || o.Schema != ownerSchema || o.ID == "" {
		return Owner{}, fmt.Errorf("read owner of the state: %s is damaged or of another version", name)
	}
	return o.Owner, nil
}

// jobName is the name of the one job that a plan can have.
func jobName(p sanitize.Plan) string { return "j-" + p.Digest()[:12] }

// jobID is what the name of a job looks like. Nothing else is looked for.
var jobID = regexp.MustCompile(`^j-[0-9a-f]{12}$`)

func (a *Agent) jobDir(job string) string { return filepath.Join(a.dir, jobsDir, job) }

func (a *Agent) driveFile(job string, id devices.ID, name string) string {
	return filepath.Join(a.jobDir(job), string(id), name)
}

// createJob uses the plan up. It reports false when the job is there already; with an error, whether it is there all the same.
func (a *Agent) createJob(p sanitize.Plan, by Started) (made bool, err error) {
	plan, err := sanitize.MarshalPlan(p)
	if err != nil {
		return false, err
	}
	request, err := json.MarshalIndent(p.Request, "", "  ")
	if err != nil {
		return false, fmt.Errorf("encode request: %w", err)
	}
	dir := a.jobDir(jobName(p))
	// The directory appears complete or not at all: a job without its plan could not be resumed.
	draft := filepath.Join(filepath.Dir(dir), fmt.Sprintf(".%s.%d", jobName(p), os.Getpid()))
	if err := os.RemoveAll(draft); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(draft)) }() // gone when the rename succeeded
	if err := durable.Mkdir(draft, 0o700); err != nil {
		return false, err
	}
	files := map[string][]byte{planFile: plan, requestFile: append(request, '\n'), lockFile: nil} // the lock, too: a job that is there can be run
	if by.By != "" {
		if files[startedFile], err = by.encode(); err != nil {
			return false, err
		}
	}
	for name, data := range files {
		if err := durable.WriteFile(filepath.Join(draft, name), data, 0o600); err != nil {
			return false, err
		}
	}
	for _, d := range p.Drives {
		if err := durable.Mkdir(filepath.Join(draft, string(d.ID)), 0o700); err != nil {
			return false, err
		}
	}
	if err := os.Rename(draft, dir); err != nil {
		if _, found := os.Stat(dir); found == nil {
			return false, nil
		}
		return false, err
	}
	return true, durable.SyncDir(filepath.Dir(dir))
}

// ErrNoJob: there is no such job in this state. `jobs` lists those that are.
var ErrNoJob error = noJobError{}

// noJobError is also fs.ErrNotExist, without its words.
type noJobError struct{}

func (noJobError) Error() string { return "no such job" }
func (noJobError) Unwrap() error { return fs.ErrNotExist }

// loadPlan reads the plan of a job.
func (a *Agent) loadPlan(job string) (sanitize.Plan, error) {
	if !jobID.MatchString(job) {
		return sanitize.Plan{}, fmt.Errorf("%q: %w", job, ErrNoJob)
	}
	data, err := os.ReadFile(filepath.Join(a.jobDir(job), planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return sanitize.Plan{}, fmt.Errorf("%q: %w", job, ErrNoJob)
	}
	if err != nil {
		return sanitize.Plan{}, fmt.Errorf("read plan of job %s: %w", job, err)
	}
	p, err := sanitize.ParsePlan(data)
	if err != nil {
		return sanitize.Plan{}, fmt.Errorf("plan of job %s: %w", job, err)
	}
	if jobName(p) != job {
		return sanitize.Plan{}, fmt.Errorf("plan of job %s: it is another job's: %w", job, sanitize.ErrPlanEdited)
	}
	return p, nil
}

// jobNames lists the jobs, in the order of their names.
func (a *Agent) jobNames() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(a.dir, jobsDir))
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "j-") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
