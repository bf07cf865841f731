package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// CertificateError: the drive came to an end and no certificate could be made of it. The evidence
// is kept; `certificate reissue` makes one when the cause is gone.
type CertificateError struct {
	Job, Serial string
	Err         error
}

func (e *CertificateError) Error() string {
	return fmt.Sprintf("certificate of %s in job %s: %v", e.Serial, e.Job, e.Err)
}
func (e *CertificateError) Unwrap() error { return e.Err }

// issuer opens the host's key and the log; keys are made on first use.
func (a *Agent) issuer() (attest.Issuer, error) {
	key, err := a.keys.Open()
	if err != nil {
		return attest.Issuer{}, err
	}
	logKey, err := a.logKey()
	if err != nil {
		return attest.Issuer{}, err
	}
	return attest.Issuer{Key: key, Run: a.attestRun(), Log: a.heldLog(logKey), Now: a.now}, nil
}

// heldLog is the log of a key, which is held open: it knows what it has written.
func (a *Agent) heldLog(key *attest.LogKey) *attest.Log {
	a.holding.Lock()
	defer a.holding.Unlock()
	if a.held == nil || a.held.Origin() != key.Origin {
		a.held = attest.OpenLog(filepath.Join(a.dir, logDir), key, a.now)
		a.held.Mark(a.logMark())
	}
	return a.held
}

// settleLog leaves the log at rest. What it has is on disk without that, too.
func (a *Agent) settleLog() {
	a.holding.Lock()
	log := a.held
	a.holding.Unlock()
	if log == nil {
		return
	}
	if err := log.Settle(); err != nil {
		a.log.Warn("log was not settled", "err", err)
	}
}

// roomPerDrive is what journal, log and certificate of one drive can need: most of it are notes of
// an operation that a drive carries out for days, a kilobyte a minute.
const roomPerDrive = 4 << 20

// probes counts the files by which it was tried whether the state can be written.
var probes atomic.Int64

// ready makes sure, before anything is touched, that what will be done can be noted and signed.
func (a *Agent) ready(drives int) error {
	if err := a.Room(drives); err != nil {
		return err
	}
	// Several jobs and processes may look at once: each has a name of its own.
	probe := filepath.Join(a.dir, fmt.Sprintf(".probe-%d-%d", os.Getpid(), probes.Add(1)))
	if err := errors.Join(durable.WriteFile(probe, nil, 0o600), os.Remove(probe)); err != nil {
		return fmt.Errorf("state directory %s: %w", a.dir, err)
	}
	is, err := a.issuer()
	if err != nil {
		return err
	}
	return a.logGoesOn(is.Log)
}

// logEntries is how many entries the log has.
func (a *Agent) logEntries() (*int64, error) {
	is, err := a.issuer()
	if err != nil {
		return nil, err
	}
	size, err := is.Log.Size()
	return &size, err
}

// Room makes sure that the evidence of so many drives can be kept; it is ErrNoRoom where it cannot.
func (a *Agent) Room(drives int) error {
	free, err := durable.Free(a.dir)
	if err != nil {
		return err
	}
	if want := int64(drives) * roomPerDrive; free < want {
		need := "1 drive needs"
		if drives != 1 {
			need = fmt.Sprintf("%d drives need", drives)
		}
		return fmt.Errorf("state directory %s has room for %d bytes, and %s %d: %w", a.dir, free, need, want, ErrNoRoom)
	}
	return nil
}

// ErrNoRoom: the state directory is too full to keep the evidence. Make room, or choose another.
var ErrNoRoom = errors.New("no room for the evidence")

// ensureIntent signs and logs the intent, and notes it in the journal, unless that was done.
func (a *Agent) ensureIntent(j *journal.Journal, records []journal.Record, job string, p sanitize.Plan, d sanitize.DrivePlan) ([]journal.Record, error) {
	if sanitize.HasIntent(records) {
		return records, nil
	}
	is, err := a.issuer()
	if err != nil {
		return nil, err
	}
	policy, err := policyRef(p.Policy)
	if err != nil {
		return nil, err
	}
	drive, err := device(d)
	if err != nil {
		return nil, err
	}
	at, err := is.Intent(attest.Intent{
		Agent: a.attestAgent(), Device: drive, Scope: string(d.Scope), Simulated: a.Simulated(),
		Job: job, PlanSHA256: p.Digest(), Policy: policy,
		Method: string(d.Method), Technique: string(d.Technique), Scheme: d.Scheme, Verification: string(d.Verification),
		Disposition: string(p.Request.Disposition), Category: string(p.Request.Category),
	})
	if err != nil {
		return nil, err
	}
	record, err := sanitize.RecordIntent(j, at.Index, at.Leaf)
	if err != nil {
		return nil, err
	}
	return append(slices.Clone(records), record), nil
}

// certifyResult has a drive's end signed, when it has come to one that touched the log.
func (a *Agent) certifyResult(r *DriveResult) {
	if r.Evidence == nil || !r.Finished() || r.Evidence.IntentLeaf == "" || r.Certificate != "" {
		return // nothing is due, or it is there
	}
	if unread := (*CertificateError)(nil); errors.As(r.Err, &unread) {
		return // it may be there, and would be written over
	}
	name, err := a.certify(*r.Evidence)
	if err != nil {
		r.Err = errors.Join(r.Err, &CertificateError{r.Job, r.Drive.Serial, err})
		return
	}
	r.Certificate = name
}

// certify turns evidence, and nothing else, into a certificate.
func (a *Agent) certify(e sanitize.Evidence) (string, error) {
	is, err := a.issuer()
	if err != nil {
		return "", err
	}
	result, err := a.resultOf(e)
	if err != nil {
		return "", err
	}
	bundle, err := is.Result(result)
	if err != nil {
		return "", err
	}
	name := a.driveFile(e.Job, e.Drive.ID, certificateFile)
	if err = durable.WriteFile(name, bundle, 0o644); err == nil && a.certified != nil {
		a.certified(string(e.Outcome))
	}
	return name, err
}

func (a *Agent) attestAgent() attest.Agent { return attest.Agent{Name: "expunge", Version: a.version} }

func policyRef(p sanitize.PolicyRef) (attest.Policy, error) {
	known, err := p.Resolve()
	if err != nil {
		return attest.Policy{}, err
	}
	return attest.Policy{Name: p.Name, SHA256: p.SHA256, Standard: known.Standard}, nil
}

// device is the drive as a statement has it, which must come to the id that it was planned under.
func device(d sanitize.DrivePlan) (attest.Device, error) {
	var zones *attest.Zones
	if z := d.Zones; z.Count > 0 {
		zones = &attest.Zones{Count: z.Count, SizeBytes: z.SizeBytes, CapacityBytes: z.CapacityBytes}
	}
	to := attest.Device{
		Model: d.Model, Serial: d.Serial, WWN: d.WWN, Firmware: d.Firmware,
		Protocol: string(d.Protocol), Media: string(d.Media), Identity: string(d.Identity),
		SizeBytes: d.SizeBytes, LogicalBlockBytes: int64(d.LogicalBlock), PowerOnHours: d.PowerOnHours,
		Fabric: d.Fabric, Nodes: slices.Clone(d.Nodes), Namespaces: namespaces(d), LogicalUnits: units(d), Zones: zones,
	}
	if to.DriveID() != string(d.ID) {
		return attest.Device{}, fmt.Errorf("drive %s: its id is not the one of its model, serial and WWN", d.ID)
	}
	return to, nil
}

func units(d sanitize.DrivePlan) []attest.LogicalUnit {
	var list []attest.LogicalUnit
	for _, u := range d.Units {
		list = append(list, attest.LogicalUnit{LUN: int64(u.LUN), SizeBytes: u.SizeBytes})
	}
	return list
}

func namespaces(d sanitize.DrivePlan) []attest.Namespace {
	var list []attest.Namespace
	for _, n := range d.Namespaces {
		ns := attest.Namespace{NSID: int64(n.NSID), Attached: n.Attached, SizeBytes: n.SizeBytes}
		if z := n.Zones; z.Count > 0 {
			ns.Zones = &attest.Zones{Count: z.Count, SizeBytes: z.SizeBytes, CapacityBytes: z.CapacityBytes}
		}
		list = append(list, ns)
	}
	return list
}

func messages(reasons []devices.Reason) []string {
	list := make([]string, len(reasons))
	for i, r := range reasons {
		list[i] = attest.CleanASCII(r.Message)
	}
	return list
}

// resultOf words evidence as a statement of this agent, and pins the bundle that shows it.
func (a *Agent) resultOf(e sanitize.Evidence) (attest.Result, error) {
	r, err := wordsOf(e)
	if err != nil {
		return r, err
	}
	r.Agent = a.attestAgent()
	return r, a.pinBundle(&r)
}

// wordsOf words evidence as a statement. Every number is the evidence's own.
func wordsOf(e sanitize.Evidence) (attest.Result, error) {
	policy, err := policyRef(e.Policy)
	if err != nil {
		return attest.Result{}, err
	}
	drive, err := device(e.Drive)
	if err != nil {
		return attest.Result{}, err
	}
	v := e.Verification
	r := attest.Result{
		Device: drive, Scope: string(e.Drive.Scope), Simulated: e.Simulated,
		Outcome: attest.Outcome{
			Status: string(e.Outcome), Reason: short(attest.CleanASCII(e.Reason)), Exceptions: []attest.Exception{},
			ExceptionsOmitted: int64(e.ExceptionsOmitted), ExceptionBytes: e.ExceptionBytes,
		},
		Sanitization: attest.Sanitization{
			Method: string(e.Drive.Method), Technique: string(e.Drive.Technique), Scheme: e.Drive.Scheme, Passes: []attest.Pass{},
			Started: utc(e.Started), Finished: utc(e.Finished), BytesWritten: e.BytesWritten,
			Attempts: int64(e.Attempts), Interruptions: int64(e.Interruptions), Excludes: messages(e.Drive.Excludes),
			Operations: operations(e.Operations), BlocksBarred: e.Drive.BlocksBarred, CommandsOmitted: int64(e.CommandsOmitted),
		},
		Verification: attest.Verification{
			Mode: string(v.Mode), Result: v.Result, Samples: v.Samples, Bytes: v.Bytes, CoveragePPM: v.Coverage,
			Seed: v.Seed, PRNG: v.PRNG, Expected: v.Expected, Mismatches: v.Mismatches, ReadErrors: v.ReadErrors,
			ZeroBlocks: v.Zeros, OneBlocks: v.Ones, UnwrittenBlocks: v.Unwritten,
		},
		Health: health(e.Health),
		Policy: policy, Disposition: string(e.Request.Disposition), Category: string(e.Request.Category), Given: AttestGiven(e.Drive.Given),
		Evidence: attest.Evidence{JournalSHA256: e.JournalSHA256, JournalRecords: e.JournalRecords, PlanSHA256: e.PlanDigest},
		History:  attest.History{Job: e.Job, IntentIndex: e.IntentIndex, IntentLeaf: e.IntentLeaf},
	}
	for _, h := range e.HiddenAreas {
		r.HiddenAreas = append(r.HiddenAreas, attest.HiddenArea{Kind: h.Kind, State: string(h.State), Bytes: h.Bytes})
	}
	for _, c := range e.Commands {
		r.Sanitization.Commands = append(r.Sanitization.Commands, attest.Command{
			Time: utc(c.Time), Unit: int64(c.Unit), Name: c.Name, Bytes: c.Bytes, Status: short(attest.CleanASCII(c.Status)), Sense: c.Sense, ElapsedMs: c.ElapsedMs,
		})
	}
	for _, x := range e.Reshaped {
		r.Sanitization.Reshaped = append(r.Sanitization.Reshaped, attest.Reshape{
			Why: x.Why, FromBytes: x.From, ToBytes: x.To, FromLogicalBlockBytes: int64(x.FromBlock), ToLogicalBlockBytes: int64(x.ToBlock),
		})
	}
	if len(e.Drive.RestsOn) > 0 {
		r.Sanitization.RestsOn = messages(e.Drive.RestsOn)
	}
	for _, w := range e.Warnings {
		r.Sanitization.Warnings = append(r.Sanitization.Warnings, short(attest.CleanASCII(w)))
	}
	if m := e.Markers; m != nil {
		r.Verification.Markers = &attest.Markers{
			Set: m.Set, Changed: m.Changed, Unchanged: max(m.Unchanged, m.UnchangedEver), Unreadable: m.Unreadable, Seed: m.Seed, PRNG: m.PRNG,
		}
	}
	if e.Outcome == sanitize.Sanitized || e.Outcome == sanitize.Exceptions {
		r.Outcome.Method = string(e.Drive.Method)
	}
	for _, x := range e.Exceptions {
		r.Outcome.Exceptions = append(r.Outcome.Exceptions, attest.Exception{Kind: x.Kind, Offset: x.Extent.Offset, Length: x.Extent.Length})
	}
	for _, p := range e.Passes {
		r.Sanitization.Passes = append(r.Sanitization.Passes, attest.Pass{
			Pass: int64(p.Pass), Pattern: p.Pattern, KeySHA256: p.KeySHA256, Bytes: p.Bytes, Complete: p.Complete,
		})
	}
	return r, nil
}

func operations(list []sanitize.OperationEvidence) []attest.Operation {
	var to []attest.Operation
	for _, o := range list {
		to = append(to, attest.Operation{
			Technique: string(o.Technique), Kind: string(o.Kind), Command: o.Command, Code: fmt.Sprintf("0x%08x", o.Code), Unit: int64(o.Unit), Commands: int64(o.Sends),
			Started: utc(o.Started), Finished: utc(o.Finished), Complete: o.Complete, Because: o.Because, Status: o.Status,
			StatusPage: attest.PackPage(o.StatusPage), StatusPageBefore: attest.PackPage(o.Before), EstimateSeconds: o.EstimateSeconds, ElapsedSeconds: o.ElapsedSeconds, Timing: o.Timing,
		})
	}
	return to
}

// health is nil for drives that were not asked.
func health(h sanitize.HealthEvidence) *attest.Health {
	if h.Samples == 0 {
		return nil
	}
	condition := func(c *devices.Health) *attest.Condition {
		if c == nil {
			return nil
		}
		return &attest.Condition{
			TemperatureC: c.TemperatureC, PowerOnHours: c.PowerOnHours, PowerCycles: c.PowerCycles, StartStopCycles: c.StartStops, DataUnitsWritten: c.DataWritten, CriticalWarning: c.Critical, SparePercent: c.SparePercent, UsedPercent: c.UsedPercent,
			MediaErrors: c.MediaErrors, Reallocated: c.Reallocated, Pending: c.Pending, Uncorrectable: c.Uncorrectable,
		}
	}
	return &attest.Health{Before: condition(h.Before), After: condition(h.After), MaxTemperatureC: h.MaxTemperatureC, Samples: int64(h.Samples), Slowed: int64(h.Slowed), Paused: int64(h.Paused)}
}

// short bounds a reason: the journal has all of it.
func short(s string) string {
	const most = 1000
	if len(s) <= most {
		return s
	}
	return s[:most] + " ... (the journal has the rest)"
}

func utc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// Reissue makes the certificate of a job's drive again: from the log when the result is in it,
// from the journal when it is not yet.
func (a *Agent) Reissue(job string, id devices.ID) (string, error) {
	p, err := a.loadPlan(job)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(p.Drives, func(d sanitize.DrivePlan) bool { return d.ID == id })
	if at < 0 {
		return "", fmt.Errorf("drive %s is not in job %s: %w", id, job, devices.ErrNotFound)
	}
	is, err := a.issuer()
	if err != nil {
		return "", err
	}
	defer a.settleLog()
	bundle, err := is.Reissue(job, string(id))
	if err == nil {
		name := a.driveFile(job, id, certificateFile)
		return name, durable.WriteFile(name, bundle, 0o644)
	}
	if !errors.Is(err, attest.ErrNotLogged) {
		return "", err
	}
	r := a.result(job, p.Drives[at])
	switch {
	case r.Err != nil:
		return "", r.Err
	case !r.Finished():
		return "", fmt.Errorf("job %s has not come to an end on %s; %s", job, r.Drive.Serial, resumeHint(job))
	case r.Evidence == nil || r.Evidence.IntentLeaf == "":
		return "", fmt.Errorf("job %s never touched %s: there is nothing to certify", job, r.Drive.Serial)
	}
	return a.certify(*r.Evidence)
}

// Certificate is one that this state issued.
type Certificate struct {
	Job    string
	Drive  sanitize.DrivePlan
	File   string
	Issued time.Time // of the file
}

// Certificates lists those issued, oldest first.
func (a *Agent) Certificates() ([]Certificate, error) {
	jobs, err := a.Jobs()
	if err != nil {
		return nil, err
	}
	var list []Certificate
	for _, j := range jobs {
		of, err := a.certificatesOf(j.ID, j.Plan)
		if err != nil {
			return nil, err
		}
		list = append(list, of...)
	}
	return list, nil
}

func (a *Agent) certificatesOf(job string, p sanitize.Plan) ([]Certificate, error) {
	var list []Certificate
	for _, d := range p.Drives {
		file := a.driveFile(job, d.ID, certificateFile)
		info, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list certificates: %w", err)
		}
		list = append(list, Certificate{job, d, file, info.ModTime()})
	}
	return list, nil
}

func isPermission(err error) bool { return errors.Is(err, fs.ErrPermission) }

func sortJobs(jobs []Job) {
	slices.SortStableFunc(jobs, func(a, b Job) int { return a.Plan.Created.Compare(b.Plan.Created) })
}

// CheckLog says whether the log is what was written.
func (a *Agent) CheckLog() error {
	is, err := a.issuer()
	if err != nil {
		return err
	}
	return is.Log.Check()
}
