package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// account makes a job's manifest when the job is at its end on every drive, and all of them are certified that must be. It is never made
// again: of what cannot be read now nothing is signed, since the next look may contradict it.
func (a *Agent) account(ctx context.Context, j *Job) {
	name := filepath.Join(a.jobDir(j.ID), manifestFile)
	if data, err := os.ReadFile(name); err == nil {
		if r := attest.Verify(data, attest.Trust{}); r.Manifest != nil && r.Manifest.Job == j.ID {
			j.Manifest = name
			return
		}
	}
	var unreadable error
	for _, r := range j.Drives {
		due := r.Evidence != nil && r.Evidence.IntentLeaf != "" && r.Certificate == ""
		switch {
		case r.Unreadable():
			unreadable = errors.Join(unreadable, r.Err)
		case !r.Finished() || due:
			return // it has no end yet, or its result is not in the log: the manifest would contradict it later
		}
	}
	if unreadable != nil {
		j.ManifestErr = fmt.Errorf("manifest of job %s: %w", j.ID, unreadable)
		return
	}
	data, err := a.manifest(ctx, j.ID, j.Plan, j.Drives)
	if err == nil {
		err = durable.WriteFile(name, data, 0o644)
	}
	if err != nil {
		j.ManifestErr = fmt.Errorf("manifest of job %s: %w", j.ID, err)
		return
	}
	j.Manifest = name
}

// AccountLeft makes the manifests of jobs that came to their end in a process that ended itself before it made them.
func (a *Agent) AccountLeft(ctx context.Context) error {
	names, err := a.jobNames()
	if err != nil {
		return err
	}
	var problems error
	for _, job := range names {
		if a.ManifestOf(job) == "" {
			problems = errors.Join(problems, a.accountLeft(ctx, job))
		}
	}
	return problems
}

func (a *Agent) accountLeft(ctx context.Context, job string) (err error) {
	if attended, err := a.Attended(job); attended || err != nil {
		return err
	}
	lock, err := a.lockJob(job)
	if errors.Is(err, ErrJobBusy) {
		return nil // whoever is at work on it does that
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	j, err := a.Job(job)
	if err != nil || j.Problem != nil {
		return nil // whoever lists jobs is told
	}
	if slices.ContainsFunc(j.Drives, func(r DriveResult) bool { return r.Err != nil }) {
		return nil // what cannot be read now may be put back: nothing is signed of it meanwhile
	}
	a.account(ctx, &j)
	return j.ManifestErr
}

// ReissueManifest makes the manifest of a job again, or for the first time.
func (a *Agent) ReissueManifest(ctx context.Context, job string) (string, error) {
	j, err := a.Job(job)
	if err != nil {
		return "", err
	}
	a.account(ctx, &j)
	return j.Manifest, j.ManifestErr
}

// Refused accounts for a plan of which every drive was refused, so that no job was begun: those that were refused when it was
// made, and now.
func (a *Agent) Refused(ctx context.Context, p sanitize.Plan, now []DriveResult) (string, error) {
	if p.Host != a.owner.ID || p.Simulated != a.Simulated() {
		return "", sanitize.ErrPlanForeign
	}
	data, err := a.manifest(ctx, "", p, now)
	if err != nil {
		return "", err
	}
	name, err := a.keepRecord(data)
	return name, errors.Join(err, a.restoreRecords())
}

// manifest signs what became of every drive that was planned, and of those that the host has besides.
func (a *Agent) manifest(ctx context.Context, job string, p sanitize.Plan, results []DriveResult) ([]byte, error) {
	is, err := a.issuer()
	if err != nil {
		return nil, err
	}
	policy, err := policyRef(p.Policy)
	if err != nil {
		return nil, err
	}
	m := attest.Manifest{Job: job, PlanSHA256: p.Digest(), Policy: policy, Drives: []attest.ManifestDrive{}, NotReached: []attest.ManifestUnknown{}}
	listed, err := a.host.Drives(ctx)
	hidden, bad := a.host.NotReached()
	if err = errors.Join(err, bad); err != nil {
		m.NotListed = short(attest.CleanASCII(err.Error()))
	}
	told := map[devices.ID]bool{}
	for _, r := range results {
		d := r.Drive
		told[d.ID] = true
		m.Drives = append(m.Drives, accounted(devices.Drive{ID: d.ID, Model: d.Model, Serial: d.Serial, WWN: d.WWN, Nodes: d.Nodes}, string(r.Outcome), r.Reasons))
	}
	for _, r := range p.Refused {
		if told[r.ID] && r.ID != "" {
			continue
		}
		told[r.ID] = true
		d := devices.Drive{ID: r.ID, Model: r.Model, Serial: r.Serial, Nodes: r.Nodes}
		if at := slices.IndexFunc(listed, func(l devices.Drive) bool { return l.ID == r.ID }); at >= 0 {
			d.WWN = listed[at].WWN
		}
		m.Drives = append(m.Drives, accounted(d, string(sanitize.RefusedRun), r.Reasons))
	}
	for _, d := range listed {
		if !told[d.ID] {
			m.Drives = append(m.Drives, accounted(d, attest.NotSelected, d.Reasons))
		}
	}
	for _, n := range hidden {
		m.NotReached = append(m.NotReached, attest.ManifestUnknown{Code: n.Reason.Code, Message: attest.CleanASCII(n.Reason.Message), Name: attest.CleanASCII(n.Name)})
	}
	m.NotReached = append(m.NotReached, unattached(listed)...)
	return is.Manifest(m)
}

// accounted is a drive in a manifest.
func accounted(d devices.Drive, became string, reasons []devices.Reason) attest.ManifestDrive {
	m := attest.ManifestDrive{Became: became, ID: string(d.ID), Model: d.Model, Serial: d.Serial, WWN: d.WWN, Nodes: []string{}, Reasons: []string{}}
	if d.Serial == "" && d.WWN == "" {
		m.ID = "" // it says nothing that tells it from others
	}
	for _, n := range d.Nodes {
		m.Nodes = append(m.Nodes, attest.CleanASCII(n))
	}
	for _, r := range reasons {
		if code := attest.CleanASCII(r.Code); !slices.Contains(m.Reasons, code) {
			m.Reasons = append(m.Reasons, code)
		}
	}
	return m
}

// unattached are namespaces that no controller of the host shows.
func unattached(listed []devices.Drive) []attest.ManifestUnknown {
	var list []attest.ManifestUnknown
	for _, d := range listed {
		for _, n := range d.Namespaces {
			if !n.Attached {
				list = append(list, attest.ManifestUnknown{Code: "namespace_unattached", Name: fmt.Sprintf("namespace %d of %s", n.NSID, d.Serial),
					Message: fmt.Sprintf("%d bytes of %s %s that no controller of this host shows", n.SizeBytes, d.Model, d.Serial)})
			}
		}
	}
	return list
}
