package attest

import (
	"errors"
	"fmt"
	"slices"
)

// ManifestType is the predicate type of a manifest.
const ManifestType = "https://github.com/expunge-dev/expunge/manifest/v1"

// NotSelected is what became of a drive that was there and was not asked for.
const NotSelected = "not selected"

// Manifest is the predicate that accounts for every drive of a host at the end of a job: nobody takes the certificates of a
// few for all that there was.
type Manifest struct {
	Agent      Agent             `json:"agent"`
	Drives     []ManifestDrive   `json:"drives"`
	Job        string            `json:"job,omitempty"`       // absent: every drive was refused, and no job was begun
	NotListed  string            `json:"notListed,omitempty"` // why the host could not be looked at: there may be more drives
	NotReached []ManifestUnknown `json:"notReached"`
	PlanSHA256 string            `json:"planSHA256"`
	Policy     Policy            `json:"policy"`
	Simulated  bool              `json:"simulated"`
	Time       Time              `json:"time"`
}

// ManifestDrive is one drive, and what became of it.
type ManifestDrive struct {
	Became  string    `json:"became"`       // an outcome, or NotSelected
	ID      string    `json:"id,omitempty"` // drive-id/v1; absent where the drive says neither serial nor WWN
	Model   string    `json:"model"`
	Serial  string    `json:"serial"`
	WWN     string    `json:"wwn,omitempty"`
	Nodes   []string  `json:"nodes"`   // at the time
	Reasons []string  `json:"reasons"` // codes
	Result  *ResultAt `json:"result,omitempty"`
}

// ManifestUnknown is what the host knows to be there and cannot reach: members behind a RAID controller, memory without a
// namespace.
type ManifestUnknown struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Name    string `json:"name"`
}

const maxManifest = 1000 // drives: more would not fit into MaxSize

func (m Manifest) check() error {
	if len(m.Drives) > maxManifest || len(m.NotReached) > maxManifest {
		return fmt.Errorf("more than %d drives", maxManifest)
	}
	ids := map[string]bool{}
	for _, d := range m.Drives {
		if err := d.check(m.Job); err != nil {
			return fmt.Errorf("drive %s: %w", d.Serial, err)
		}
		if ids[d.ID] && d.ID != "" && d.Became != NotSelected {
			return fmt.Errorf("drive %s is there twice", d.Serial)
		}
		ids[d.ID] = true
	}
	for _, n := range m.NotReached {
		if n.Name == "" || n.Code == "" || !isASCII(n.Name, n.Code, n.Message) {
			return errors.New("what is not reached is not told")
		}
	}
	return checkRules(append(spoken(m.Agent, m.Time),
		rule{m.Drives != nil && m.NotReached != nil, "a list is missing"},
		rule{isASCII(m.Job, m.NotListed), "words are not printable ASCII"},
		rule{isHash(m.PlanSHA256), "the plan's digest is not one"},
		rule{m.Policy.Name != "" && isHash(m.Policy.SHA256), "the policy is missing"},
		rule{slices.ContainsFunc(m.Drives, func(d ManifestDrive) bool { return d.Became != NotSelected }), "no drive was selected"},
	))
}

func (d ManifestDrive) check(job string) error {
	id := ""
	if d.Serial != "" || d.WWN != "" {
		id = Name(d.Model, d.Serial, d.WWN).ID
	}
	selected := d.Became != NotSelected
	if d.Result != nil {
		if err := d.Result.check(); err != nil {
			return err
		}
	}
	return checkRules([]rule{
		{isASCII(append(append([]string{d.Model, d.Serial, d.WWN}, d.Nodes...), d.Reasons...)...), "its words are not printable ASCII"},
		// Of a drive that was refused and has gone its WWN may not be known any more.
		{d.ID == id || d.Became == "refused" && d.Result == nil && isHash(d.ID), "its id is not the one of its model, serial and WWN"},
		{slices.Contains(outcomes, d.Became) && d.Became != "interrupted" || !selected, "what became of it is unknown"},
		{d.Nodes != nil && d.Reasons != nil, "a list is missing"},
		{selected || d.Result == nil, "it was not selected, and has a result"},
		{d.Became == "refused" || d.Became == "unknown" || !selected || d.Result != nil, "it was worked on, and has no result"},
		{d.Became != "refused" || len(d.Reasons) > 0, "it was refused for no reason"},
		{d.Result == nil || d.Result.Status == d.Became && d.Result.Job == job && job != "", "its result is another one"},
	})
}

func (m Manifest) subjects() []Subject { return []Subject{{"plan/v1", Digest{m.PlanSHA256}}} }

// notSanitized are the drives that were selected and are not sanitized.
func (m Manifest) notSanitized() []ManifestDrive {
	return slices.DeleteFunc(slices.Clone(m.Drives), func(d ManifestDrive) bool { return d.Became == NotSelected || d.Became == "sanitized" })
}

// Manifest signs and logs a manifest and returns its record. Of a job there is one: asked again, it returns the one in the log.
func (is Issuer) Manifest(m Manifest) ([]byte, error) {
	m.Agent, m.Simulated, m.Time = is.Run.Agent, is.Run.Simulated, is.time()
	var record []byte
	err := is.Log.update(func(t *tree) error {
		if m.Job != "" {
			l, index, err := t.find(m.Job, func(l leaf) bool { return l.Kind == kindManifest && l.Job == m.Job })
			if err != nil {
				return err
			}
			if index >= 0 {
				record, err = is.record(t, l, index)
				return err
			}
		}
		for i, d := range m.Drives {
			if d.Became == NotSelected || m.Job == "" || d.ID == "" {
				continue
			}
			at, _, err := is.resultAt(t, m.Job, d.ID)
			switch {
			case errors.Is(err, ErrNotLogged):
			case err != nil:
				return err
			default:
				m.Drives[i].Result = &at
			}
		}
		var err error
		record, err = addRecord(is, t, ManifestType, m, leaf{Kind: kindManifest, Job: m.Job})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make manifest: %w", err)
	}
	return record, nil
}
