package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// EvidenceBundle is the evidence of a job's drive in one file: its plan and its whole journal, and nothing of its
// secrets. It is the same each time.
func (a *Agent) EvidenceBundle(job string, id devices.ID) ([]byte, error) {
	p, err := a.loadPlan(job)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(a.driveFile(job, id, journalFile))
	if err != nil {
		return nil, fmt.Errorf("evidence of job %s: %w", job, err)
	}
	return sanitize.MakeBundle(p, job, id, data)
}

// pinBundle puts digest and length of the evidence bundle into a result. The journal must be the one that the
// result was derived from.
func (a *Agent) pinBundle(r *attest.Result) error {
	bundle, err := a.EvidenceBundle(r.History.Job, devices.ID(r.Device.DriveID()))
	if err != nil {
		return err
	}
	b, err := sanitize.ParseBundle(bundle)
	if err != nil {
		return err
	}
	if b.Journal.Head != r.Evidence.JournalSHA256 {
		return errors.New("the journal has changed since it was judged")
	}
	r.Evidence.BundleSHA256, r.Evidence.BundleBytes = digestOf(bundle), int64(len(bundle))
	return nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// The codes of an EvidenceError.
const (
	EvidenceMismatch    = "evidence_mismatch"    // the bundle is not the one that the certificate pins
	EvidenceContradicts = "evidence_contradicts" // it is, and proves something else than is certified
)

// EvidenceError: a certificate and an evidence bundle do not belong together.
type EvidenceError struct {
	Code string
	Err  error
}

func (e *EvidenceError) Error() string { return e.Err.Error() }
func (e *EvidenceError) Unwrap() error { return e.Err }

// CheckEvidence says whether an evidence bundle is the one that a result pins, byte for byte, and whether what its
// journal proves is what the result says. It is a pure function: whoever has both files gets the same answer. The
// error is an *EvidenceError.
func CheckEvidence(r attest.Result, bundle []byte) error {
	mismatch := func(format string, args ...any) error {
		return &EvidenceError{EvidenceMismatch, fmt.Errorf(format, args...)}
	}
	pinned := r.Evidence
	switch {
	case pinned.BundleSHA256 == "":
		return mismatch("the certificate pins no evidence bundle")
	case int64(len(bundle)) != pinned.BundleBytes:
		return mismatch("the evidence bundle has %d bytes, and the certificate pins one of %d", len(bundle), pinned.BundleBytes)
	case digestOf(bundle) != pinned.BundleSHA256:
		return mismatch("the evidence bundle is not the one that the certificate pins")
	}
	b, err := sanitize.ParseBundle(bundle)
	if err != nil {
		return mismatch("%w", err)
	}
	e, err := sanitize.Fold(b.Journal)
	if err != nil {
		return &EvidenceError{EvidenceContradicts, fmt.Errorf("the journal proves nothing: %w", err)}
	}
	again, err := wordsOf(e)
	if err != nil {
		return &EvidenceError{EvidenceContradicts, err}
	}
	if what := differs(r, again); what != "" {
		return &EvidenceError{EvidenceContradicts, fmt.Errorf("the certificate's %s is not what the journal proves", what)}
	}
	return nil
}

// differs names the first part of a result that does not say what another says; "" when there is none. Sentences for
// people, which are worded by the version of the program, are left out of it, and so is who signs, and when.
func differs(r, again attest.Result) string {
	plain := func(o attest.Outcome) attest.Outcome { o.Reason = ""; return o }
	worked := func(s attest.Sanitization) attest.Sanitization {
		s.Excludes, s.RestsOn, s.Warnings = nil, nil, nil
		return s
	}
	r.Evidence.BundleSHA256, r.Evidence.BundleBytes = "", 0
	for _, part := range []struct {
		name      string
		was, made any
	}{
		{"drive", r.Device, again.Device}, {"scope", r.Scope, again.Scope}, {"word on simulation", r.Simulated, again.Simulated},
		{"outcome", plain(r.Outcome), plain(again.Outcome)}, {"account of the work", worked(r.Sanitization), worked(again.Sanitization)},
		{"verification", r.Verification, again.Verification}, {"list of hidden areas", r.HiddenAreas, again.HiddenAreas}, {"health", r.Health, again.Health},
		{"policy", r.Policy.SHA256, again.Policy.SHA256}, {"disposition or category", r.Disposition + r.Category, again.Disposition + again.Category},
		{"account of what was given", r.Given, again.Given}, {"evidence", r.Evidence, again.Evidence}, {"history", r.History, again.History},
	} {
		was, errWas := json.Marshal(part.was)
		made, errMade := json.Marshal(part.made)
		if errors.Join(errWas, errMade) != nil || !bytes.Equal(was, made) {
			return part.name
		}
	}
	return ""
}
