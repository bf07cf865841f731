package sanitize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/strict"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// BundleSchema names the form of an evidence bundle.
const BundleSchema = "expunge/evidence/v1"

// Bundle is the evidence of one drive's job in one file of lines: what it is, the plan, and the journal as it is.
// The SHA-256 of the second line without its newline is the plan's digest, that of the last line, with it, the
// journal's. Keys and passwords are in neither.
type Bundle struct {
	Header  BundleHeader
	Plan    Plan
	Journal journal.Parsed
}

// BundleHeader is the first line.
type BundleHeader struct {
	Schema string     `json:"schema"`
	Agent  string     `json:"agent"` // version of the program that made the plan
	Job    string     `json:"job"`
	Drive  devices.ID `json:"drive"`
}

// maxBundle bounds a bundle. A journal grows by a kilobyte a minute at most.
const maxBundle = 256 << 20

// BundleError: the bytes are not an evidence bundle, or not one that was made so.
type BundleError struct{ Err error }

func (e *BundleError) Error() string { return "not an evidence bundle: " + e.Err.Error() }
func (e *BundleError) Unwrap() error { return e.Err }

// MakeBundle makes the evidence bundle of a drive from the plan of its job and the bytes of its journal. The same
// evidence makes the same bytes. A torn tail is no part of it.
func MakeBundle(p Plan, job string, id devices.ID, journalBytes []byte) ([]byte, error) {
	parsed, err := journal.Parse("of "+job, journalBytes)
	if err != nil {
		return nil, err
	}
	header, err := json.Marshal(BundleHeader{BundleSchema, p.Agent, job, id})
	if err != nil {
		return nil, fmt.Errorf("encode evidence bundle: %w", err)
	}
	plan, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("encode evidence bundle: %w", err)
	}
	made := bytes.Join([][]byte{header, plan, journalBytes[:parsed.Size]}, []byte("\n"))
	if _, err := ParseBundle(made); err != nil {
		return nil, err
	}
	return made, nil
}

// ParseBundle checks an evidence bundle: its lines are in the one form that they have, the journal's chain is whole,
// and header, plan and journal speak of one job on one drive. The error is a *BundleError. What the journal proves is
// Fold's to say.
func ParseBundle(data []byte) (Bundle, error) {
	b, err := parseBundle(data)
	if err != nil {
		return Bundle{}, &BundleError{err}
	}
	return b, nil
}

func parseBundle(data []byte) (b Bundle, err error) {
	if len(data) > maxBundle {
		return b, fmt.Errorf("%d bytes, at most %d", len(data), maxBundle)
	}
	header, rest, _ := bytes.Cut(data, []byte("\n"))
	plan, lines, found := bytes.Cut(rest, []byte("\n"))
	if !found || len(lines) == 0 {
		return b, errors.New("it has no plan, or no journal")
	}
	if err := strict.Decode(header, &b.Header); err != nil {
		return b, fmt.Errorf("first line: %w", err)
	}
	again, err := json.Marshal(b.Header)
	if err != nil || !bytes.Equal(again, header) || b.Header.Schema != BundleSchema {
		return b, fmt.Errorf("the first line is not one of %s", BundleSchema)
	}
	if err := strict.Decode(plan, &b.Plan); err != nil {
		return b, fmt.Errorf("plan: %w", err)
	}
	if b.Journal, err = journal.Parse("of the bundle", lines); err != nil {
		return b, err
	}
	if b.Journal.Size != int64(len(lines)) || len(b.Journal.Records) == 0 {
		return b, errors.New("its last line is cut off")
	}
	return b, b.fits(plan)
}

// fits says whether the parts speak of one job on one drive.
func (b Bundle) fits(plan []byte) error {
	var opened openedRecord
	if first := b.Journal.Records[0]; first.Kind != kindOpened {
		return errors.New("the journal does not begin with a plan")
	} else if err := first.Decode(&opened); err != nil {
		return err
	}
	sum := sha256.Sum256(plan)
	h, digest := b.Header, hex.EncodeToString(sum[:])
	switch {
	case opened.PlanDigest != digest:
		return errors.New("the journal is of another plan")
	case h.Agent != b.Plan.Agent || h.Job != opened.Job || h.Drive != opened.Drive.ID:
		return errors.New("the first line speaks of another job or drive than plan and journal")
	}
	for _, d := range b.Plan.Drives {
		if d.ID != h.Drive {
			continue
		}
		planned, errPlanned := json.Marshal(d)
		noted, errNoted := json.Marshal(opened.Drive)
		if err := errors.Join(errPlanned, errNoted); err != nil {
			return err
		}
		if !bytes.Equal(planned, noted) {
			return errors.New("the journal has another plan for the drive than the plan")
		}
		return nil
	}
	return errors.New("the plan does not have the drive")
}
