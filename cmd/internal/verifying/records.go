package verifying

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/attest"
)

// Validation is what somebody decided about a certificate.
type Validation struct {
	Decision    string                `json:"decision"`
	By          attest.Person         `json:"by"`
	KeyID       string                `json:"keyid"`
	Trusted     bool                  `json:"trusted"` // the key is trusted as a validator's
	Time        string                `json:"time"`
	Reason      string                `json:"reason,omitempty"`
	Policy      *attest.JudgedBy      `json:"policy,omitempty"`
	Recommended attest.Recommendation `json:"recommendation"`
}

// Supersession is what corrects a certificate, or withdraws it.
type Supersession struct {
	Withdrawn bool          `json:"withdrawn"`
	Given     *attest.Given `json:"given,omitempty"`
	Reason    string        `json:"reason"`
	Time      string        `json:"time"`
}

// later takes over what is no part of a result.
func (i *Item) later(r attest.Report) {
	i.Cosigners, i.NotChecked = r.Cosigners, r.NotChecked
	for _, v := range r.Validations {
		i.Validations = append(i.Validations, Validation{v.Decision, v.By, v.KeyID, v.Trusted, v.Time.Claimed, v.Reason, v.Policy, v.Recommendation})
	}
	for _, s := range r.Supersessions {
		i.Supersessions = append(i.Supersessions, Supersession{s.Withdrawn, s.Given, s.Reason, s.Time.Claimed})
	}
	switch {
	case r.Manifest != nil:
		i.Record, i.Manifest, i.Time, i.Outcome = "manifest", r.Manifest, r.RecordTime, "manifest"
	case r.Destruction != nil:
		d := r.Destruction
		i.Record, i.Destruction, i.Time, i.Outcome, i.Method = "destruction", d, r.RecordTime, "destroyed", d.Method
		i.Serial, i.Model = d.Device.Serial, d.Device.Model
		i.Drive = &Drive{ID: d.Device.ID, Model: d.Device.Model, Serial: d.Device.Serial, WWN: d.Device.WWN}
	}
}

// recordWords is a record in one line.
func (i Item) recordWords() string {
	if i.Destruction != nil {
		return shown(i.Destruction.Words())
	}
	counts := map[string]int{}
	for _, d := range i.Manifest.Drives {
		counts[d.Became]++
	}
	return fmt.Sprintf("manifest: %d of %d sanitized", counts["sanitized"], len(i.Manifest.Drives)-counts[attest.NotSelected])
}

// laterText is what was said of a certificate after it was signed.
func (i Item) laterText() string {
	var b strings.Builder
	for _, v := range i.Validations {
		trust := "not trusted as a validator"
		if v.Trusted {
			trust = "trusted"
		}
		fmt.Fprintf(&b, "  validated %s: %s by %s, key %.16s…, %s\n", v.Time, v.Decision, shown(v.By.Name), v.KeyID, trust)
		if v.Reason != "" {
			fmt.Fprintf(&b, "            because: %s\n", shown(v.Reason))
		}
		if v.Recommended.Decision != v.Decision {
			fmt.Fprintf(&b, "            recommended was to %s\n", v.Recommended.Decision)
		}
	}
	for _, s := range i.Supersessions {
		what := "CORRECTED, in what people say"
		if s.Withdrawn {
			what = "WITHDRAWN"
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", what, s.Time, shown(s.Reason))
		if data, err := json.Marshal(s.Given); err == nil && s.Given != nil {
			fmt.Fprintf(&b, "            given now: %s\n", data) // its controls are escaped
		}
	}
	return b.String()
}

// recordText tells a record in full.
func (i Item) recordText() string {
	var b strings.Builder
	b.WriteString(i.head())
	if d := i.Destruction; d != nil {
		fmt.Fprintf(&b, "  drive     %s %s, %s\n  outcome   %s, witnessed by %s\n", d.Device.Model, d.Device.Serial, d.Media, shown(d.Words()), shown(d.Witness.Name))
		fmt.Fprintf(&b, "  method    %s by %s\n  where     %s\n  when      %s, as people say; recorded %s\n", d.Method, d.Technique, shown(d.Place), d.When, d.Time.Claimed)
		for _, line := range [][2]string{{"by", d.Equipment}, {"note", d.Note}} {
			if line[1] != "" {
				fmt.Fprintf(&b, "  %-9s %s\n", line[0], shown(line[1]))
			}
		}
		for _, p := range d.Photos {
			fmt.Fprintf(&b, "  photo     %s, %d bytes, SHA-256 %s\n", shown(p.Name), p.Bytes, p.SHA256)
		}
		for _, r := range d.Closes {
			fmt.Fprintf(&b, "  closes    %q of job %s\n", r.Status, r.Job)
		}
		b.WriteString("  what people say was not checked by the program\n")
	}
	if m := i.Manifest; m != nil {
		fmt.Fprintf(&b, "  manifest  job %s, policy %s, %s\n", dash(m.Job), m.Policy.Name, m.Time.Claimed)
		for _, d := range m.Drives {
			fmt.Fprintf(&b, "  drive     %s %s: %s", dash(d.Model), dash(d.Serial), d.Became)
			if len(d.Reasons) > 0 {
				fmt.Fprintf(&b, " (%s)", strings.Join(d.Reasons, ", "))
			}
			b.WriteString("\n")
		}
		for _, n := range m.NotReached {
			fmt.Fprintf(&b, "  not reached %s: %s\n", n.Name, n.Message)
		}
	}
	return b.String() + i.signedText()
}
