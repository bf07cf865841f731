package sanitize

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/strict"
)

// PlanSchema names the form of a plan.
const PlanSchema = "expunge/plan/v1"

// PlanLifetime is how long a plan may be used.
const PlanLifetime = 24 * time.Hour

// Plan says what will be done to which drives. It is made without touching them, and carried out
// once. Every drive that was asked for is in it, planned or refused.
type Plan struct {
	Schema    string      `json:"schema"`
	ID        string      `json:"id"` // random: two plans never share a digest
	Created   time.Time   `json:"created"`
	Expires   time.Time   `json:"expires"`
	Agent     string      `json:"agent"` // version of the program that made it
	Host      string      `json:"host"`  // identity of the state it belongs to
	Simulated bool        `json:"simulated"`
	Policy    PolicyRef   `json:"policy"`
	Request   Request     `json:"request"`
	Drives    []DrivePlan `json:"drives"`
	Refused   []Refused   `json:"refused"`
}

// PolicyRef pins a policy. File is what a site's policy says; nil of one that is built in.
type PolicyRef struct {
	Name   string      `json:"name"`
	SHA256 string      `json:"sha256"`
	File   *PolicyFile `json:"file,omitempty"`
}

// Refused is a drive that was asked for and is not in the plan.
type Refused struct {
	ID      devices.ID       `json:"id"`
	Serial  string           `json:"serial"`
	Model   string           `json:"model"`
	Nodes   []string         `json:"nodes"`
	Cannot  bool             `json:"cannot"` // no technique does it, as against a rule that forbids it
	Reasons []devices.Reason `json:"reasons"`
}

// What is wrong with a plan. Nothing was touched.
var (
	ErrPlanEdited  = errors.New("the plan is not the one its digest was made of: it was edited or damaged; make a new one")
	ErrPlanExpired = errors.New("the plan has expired: make a new one")
	ErrPlanForeign = errors.New("the plan was made for another host or rack: make a new one here")
	ErrPlanEmpty   = errors.New("the plan has no drive that can be sanitized: it says why each was refused")
	ErrPlanChanged = errors.New("the drive is not as it was when the plan was made: make a new plan")
)

// PlanFormatError: the bytes are not a plan.
type PlanFormatError struct{ Err error }

func (e *PlanFormatError) Error() string { return "not a plan: " + e.Err.Error() }
func (e *PlanFormatError) Unwrap() error { return e.Err }

// Digest is the hex SHA-256 of the plan's JSON: what a person confirms.
func (p Plan) Digest() string {
	data, err := json.Marshal(p)
	if err != nil {
		// Strings, numbers and UTC times always marshal; a digest of nothing matches nothing.
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// planFile is how a plan is kept: with its digest, so that an edit shows.
type planFile struct {
	Digest string `json:"digest"`
	Plan   Plan   `json:"plan"`
}

// MarshalPlan makes the content of a plan file.
func MarshalPlan(p Plan) ([]byte, error) {
	data, err := json.MarshalIndent(planFile{p.Digest(), p}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode plan: %w", err)
	}
	return append(data, '\n'), nil
}

// maxPlan bounds a plan file; a hundred drives fill a tenth of it.
const maxPlan = 8 << 20

// ParsePlan reads a plan file. The error is a *PlanFormatError, or ErrPlanEdited.
func ParsePlan(data []byte) (Plan, error) {
	if len(data) > maxPlan {
		return Plan{}, &PlanFormatError{fmt.Errorf("%d bytes, at most %d", len(data), maxPlan)}
	}
	var f planFile
	if err := strict.Decode(data, &f); err != nil {
		return Plan{}, &PlanFormatError{err}
	}
	if f.Plan.Schema != PlanSchema {
		return Plan{}, &PlanFormatError{fmt.Errorf("schema %q, want %q", f.Plan.Schema, PlanSchema)}
	}
	if f.Digest == "" || f.Digest != f.Plan.Digest() {
		return Plan{}, ErrPlanEdited
	}
	return f.Plan, f.Plan.checkDrives()
}

// checkDrives makes sure that each drive is there once and that its id is one: it names files.
func (p Plan) checkDrives() error {
	seen := map[devices.ID]bool{}
	for _, d := range p.Drives {
		if id, err := hex.DecodeString(string(d.ID)); err != nil || len(id) != sha256.Size || hex.EncodeToString(id) != string(d.ID) {
			return &PlanFormatError{fmt.Errorf("drive id %q is not one", d.ID)}
		}
		if seen[d.ID] {
			return &PlanFormatError{fmt.Errorf("drive %s %s is in it twice", d.Model, d.Serial)}
		}
		seen[d.ID] = true
	}
	return nil
}

// minPrefix is how much of a digest a person must give: 48 bits.
const minPrefix = 12

// Confirms says whether what a person typed is the plan's digest or a long enough beginning of it.
func (p Plan) Confirms(typed string) bool {
	typed = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(typed)), "sha256:")
	return len(typed) >= minPrefix && strings.HasPrefix(p.Digest(), typed)
}

// Usable checks what a plan binds apart from its drives.
func (p Plan) Usable(host string, simulated bool, now time.Time) error {
	policy, err := p.Policy.Resolve()
	switch {
	case p.Host != host || p.Simulated != simulated:
		return ErrPlanForeign
	case err != nil || policy.Digest() != p.Policy.SHA256:
		return fmt.Errorf("policy %s is not the one the plan was made under: %w", p.Policy.Name, ErrPlanChanged)
	case now.After(p.Expires) || now.Add(time.Hour).Before(p.Created) || p.Expires.Sub(p.Created) > PlanLifetime:
		// A clock that ran backwards must not make a plan immortal.
		return ErrPlanExpired
	case len(p.Drives) == 0:
		return ErrPlanEmpty
	}
	return p.checkDrives()
}

// Holds checks that the drive is still what was planned for and that planning would decide the
// same again: a plan made by hand cannot claim more than Choose does. The partition table is
// compared only when one is given: after the first write it is gone. judged is what the policy's rules come to now.
func (dp DrivePlan) Holds(d devices.Drive, partitionTable string, r Request, p Policy, judged Rulings) error {
	if partitionTable == "" {
		partitionTable = dp.PartitionTable
	}
	now, err := decide(d, partitionTable, r, p, judged, dp.Method)
	if err != nil {
		return err
	}
	if now.Approvals > dp.Approvals {
		return refuse("approval_required", fmt.Sprintf("by its rules policy %s asks for %d approvals by now, and the plan says %d", p.Name, now.Approvals, dp.Approvals), "make a new plan")
	}
	was := dp
	now.Approvals = was.Approvals // never fewer than were planned
	// Nodes change between boots, notes with what is on the drive, hours with time; people say what they say.
	was.Nodes, now.Nodes, was.Notes, now.Notes, was.Given = nil, nil, nil, nil, nil
	was.Operations, now.Operations = withoutEstimates(was.Operations), withoutEstimates(now.Operations)
	if was.PowerOnHours == nil || now.PowerOnHours == nil {
		was.PowerOnHours, now.PowerOnHours = nil, nil
	}
	if was.PowerOnHours != nil && now.PowerOnHours != nil && *now.PowerOnHours >= *was.PowerOnHours &&
		*now.PowerOnHours-*was.PowerOnHours <= int64(PlanLifetime/time.Hour)+1 {
		now.PowerOnHours = was.PowerOnHours
	}
	if was.Areas == nil { // a plan of a program that did not ask
		now.Areas = nil
	}
	a, errA := json.Marshal(was)
	b, errB := json.Marshal(now)
	if err := errors.Join(errA, errB); err != nil {
		return fmt.Errorf("compare plans: %w", err)
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%s %s: %s: %w", d.Model, d.Serial, difference(was, now), ErrPlanChanged)
	}
	return nil
}

// Continues checks that a drive which the job has begun to change is the planned one, and that
// nothing but what the job itself brought about speaks against it: it may be erasing itself, be locked
// by the job's password, or have the size that the job gave it.
func (dp DrivePlan) Continues(d devices.Drive, allowFabric bool) error {
	var reasons []devices.Reason
	for _, r := range d.Reasons {
		switch r.Code {
		case devices.ReasonSanitizing, devices.ReasonLocked, devices.ReasonCountExpired:
			continue
		case devices.ReasonTCGLocked, devices.ReasonShadowMBR:
			if dp.Technique == TCGRevert {
				continue
			}
		case "fabric":
			if allowFabric {
				continue
			}
		}
		reasons = append(reasons, r)
	}
	if len(reasons) > 0 {
		return &Refusal{Reasons: reasons}
	}
	sameUnits := slices.EqualFunc(dp.Units, d.Units, func(a Unit, b devices.LogicalUnit) bool {
		return a == Unit{b.LUN, b.SizeBytes, b.LogicalBlock}
	})
	sameNamespaces := slices.EqualFunc(dp.Namespaces, d.Namespaces, sameNamespace)
	sameSize := d.SizeBytes == dp.nodeBytes() && d.LogicalBlock == dp.LogicalBlock || dp.Reformat != 0 && d.LogicalBlock == dp.Reformat ||
		slices.ContainsFunc(dp.Restore, func(a devices.HiddenArea) bool { return d.SizeBytes == a.NativeBytes })
	sameZones := d.Zones == dp.Zones || d.Zoning == devices.HostManaged && d.Zones.Count == 0 // not told while the drive erases itself
	if d.ID != dp.ID || d.Protocol != dp.Protocol || d.Firmware != dp.Firmware || d.ReadOnly || !sameUnits || !sameNamespaces || !sameSize || !sameZones {
		return fmt.Errorf("%s %s: %d bytes in blocks of %d, firmware %q: %w", d.Model, d.Serial, d.SizeBytes, d.LogicalBlock, d.Firmware, ErrPlanChanged)
	}
	return nil
}

func sameNamespace(a Namespace, b devices.Namespace) bool {
	if b.Zoned && b.Zones.Count == 0 { // not told while the drive erases itself
		a.SizeBytes, a.Zones = a.Zones.Count*a.Zones.SizeBytes, devices.Zones{}
	}
	return a == planned(b)
}

// withoutEstimates are operations as they are compared: a drive's estimate may change.
func withoutEstimates(list []Operation) []Operation {
	bare := slices.Clone(list)
	for i := range bare {
		bare[i].EstimateSeconds = nil
	}
	return bare
}

// difference names the first thing that changed, for a person.
func difference(was, now DrivePlan) string {
	switch {
	case was.ID != now.ID:
		return "identity changed"
	case was.SizeBytes != now.SizeBytes || was.LogicalBlock != now.LogicalBlock:
		return fmt.Sprintf("size was %d bytes in blocks of %d, is %d in blocks of %d", was.SizeBytes, was.LogicalBlock, now.SizeBytes, now.LogicalBlock)
	case was.Firmware != now.Firmware:
		return fmt.Sprintf("firmware was %q, is %q", was.Firmware, now.Firmware)
	case !slices.Equal(was.Namespaces, now.Namespaces):
		return fmt.Sprintf("it had %d namespaces, which are not the %d it has now", len(was.Namespaces), len(now.Namespaces))
	case was.Unallocated != now.Unallocated:
		return fmt.Sprintf("%d bytes of its capacity belonged to no namespace, %d do now", was.Unallocated, now.Unallocated)
	case was.Zones != now.Zones:
		return fmt.Sprintf("its %d zones are %d now, or not as large as they were", was.Zones.Count, now.Zones.Count)
	case !slices.Equal(was.Units, now.Units):
		return "its logical units are not those it had"
	case !slices.Equal(was.Restore, now.Restore):
		return "what is hidden from the host is otherwise than it was"
	case !slices.Equal(was.Areas, now.Areas):
		return "what it has beside its blocks is not what it had"
	case was.BlocksBarred != now.BlocksBarred:
		return "whether its blocks can be read and written is otherwise than it was"
	case was.Technique == now.Technique && !slices.Equal(was.Operations, now.Operations):
		return "its commands would be others than those planned: its formats, or what it can do, have changed"
	case was.PartitionTable != now.PartitionTable:
		return "its partition table changed"
	case was.Method != now.Method || was.Technique != now.Technique || was.Verification != now.Verification:
		return "the plan says otherwise than planning would today"
	}
	return "something the plan binds changed"
}
