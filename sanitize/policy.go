package sanitize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/rules"
)

// Policy says which techniques reach which method, in which order they are taken, what must be read
// back, and under which standard's name it is certified. It is data: the table, and what is demanded.
type Policy struct {
	Name     string `json:"name"`
	Standard string `json:"standard"`
	// Media are the kinds of media that it covers; none are all.
	Media []devices.Media `json:"media,omitempty"`
	Rows  []Row           `json:"rows"` // the first that fits a drive decides
	// Rules are a site's conditions, which can only tighten; all are judged.
	Rules []rules.Rule `json:"rules,omitempty"`
	// Verify is the verification used when none is asked for, AtLeast the weakest that may be.
	Verify  map[Method]VerifyMode `json:"verify"`
	AtLeast map[Method]VerifyMode `json:"at_least,omitempty"`
	// CryptoDemanded: a cryptographic erase alone reaches purge only on models whose conditions
	// (SP 800-88r2, 3.2) are acknowledged.
	CryptoDemanded bool              `json:"crypto_demanded,omitempty"`
	Acknowledged   []Acknowledgement `json:"acknowledged,omitempty"`
	Accept         []string          `json:"accept,omitempty"` // readings of the standard, by name
	// Required is the weakest method for a category and disposition.
	Required map[Category]map[Disposition]Method `json:"required"`

	file *PolicyFile // that it was made of; nil of one that is built in
	set  *rules.Set  // of Rules
}

// Row is a line of a policy's table: for drives of a kind, what reaches which method, in the order
// in which it is taken. What is in neither list is not used.
type Row struct {
	Media      devices.Media    `json:"media,omitempty"`       // "" is any
	Bus        devices.Protocol `json:"bus,omitempty"`         // "" is any
	BelowBytes int64            `json:"below_bytes,omitempty"` // only drives that are smaller
	Purge      []Technique      `json:"purge"`
	Clear      []Technique      `json:"clear"`
	Forbid     []Technique      `json:"forbid,omitempty"`
	Demand     []Technique      `json:"demand,omitempty"` // and nothing else
	// Scheme names the passes of a host overwrite; "" leaves them to the request.
	Scheme string `json:"scheme,omitempty"`
	// Beside is what the standard asks for beside a host overwrite, which is not done here.
	Beside []devices.Reason `json:"beside,omitempty"`
}

// fits says whether the row is about such drives.
func (r Row) fits(media devices.Media, bus devices.Protocol, size int64) bool {
	return (r.Media == "" || r.Media == media) && (r.Bus == "" || r.Bus == bus) && (r.BelowBytes == 0 || size < r.BelowBytes)
}

// level is the strongest method that the technique reaches; "" for one that is not used.
func (r Row) level(t Technique) Method {
	switch {
	case slices.Contains(r.Purge, t):
		return Purge
	case slices.Contains(r.Clear, t):
		return Clear
	}
	return ""
}

// order is the list of a method.
func (r Row) order(m Method) []Technique {
	if m == Purge {
		return r.Purge
	}
	return r.Clear
}

// forbids says whether the technique, or a step of it, is forbidden.
func (r Row) forbids(t Technique) bool {
	return slices.Contains(r.Forbid, t) || slices.ContainsFunc(t.Steps(), func(s Technique) bool { return slices.Contains(r.Forbid, s) })
}

// on is the policy as it stands for one drive: a table of one row.
func (p Policy) on(d devices.Drive) Policy {
	row := Row{}
	if at := slices.IndexFunc(p.Rows, func(r Row) bool { return r.fits(MediaOf(d), d.Protocol, d.SizeBytes) }); at >= 0 {
		row = p.Rows[at]
		row.Media = "" // whatever the host takes it for
	}
	if _, acknowledged := p.acknowledged(d.Model); p.CryptoDemanded && !acknowledged {
		row.Purge = slices.DeleteFunc(slices.Clone(row.Purge), func(t Technique) bool { return t.restsOnCrypto(d.Protocol) })
	}
	if d.Protocol == devices.ProtocolNVMe && d.Unallocated > 0 {
		row.Purge = slices.DeleteFunc(slices.Clone(row.Purge), Technique.formats) // which do not reach capacity of no namespace
	}
	p.Rows = []Row{row}
	return p
}

// MediaOf is the media that a policy goes by: what the drive says, and not what the host takes it
// for. A kernel calls every USB stick magnetic. What is an eMMC, a card or a UFS device is flash.
func MediaOf(d devices.Drive) devices.Media {
	if d.Protocol == devices.ProtocolMMC || d.Protocol == devices.ProtocolUFS {
		return devices.MediaFlash
	}
	if d.Identity != devices.IdentityDrive {
		return devices.MediaUnknown
	}
	return d.Media
}

// restsOnCrypto says whether the technique is nothing but a cryptographic erase, or may be: a user
// data erase by an NVMe format may be done by a change of the key (NVMe base 2.0, 5.14).
func (t Technique) restsOnCrypto(bus devices.Protocol) bool {
	return t == CryptographicErase || t == CryptographicFormat || t == TCGRevert || t == Format && bus == devices.ProtocolNVMe
}

// reaches is the method that a technique reaches at most on a kind of media; "" for one that the
// policy does not use, which reaches nothing.
func (p Policy) reaches(t Technique, media devices.Media) Method {
	for _, r := range p.Rows {
		if r.Media == "" || r.Media == media {
			return r.level(t)
		}
	}
	return ""
}

// PolicyByName finds a built-in policy; the empty name is the default. The error is a *RequestError.
func PolicyByName(name string) (Policy, error) {
	if name == "" {
		name = DefaultPolicy
	}
	var names []string
	for _, p := range Policies() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Policy{}, &RequestError{"policy", name, "not one of " + list(names) + ", and no file (with a slash in its name, or .yaml at its end)"}
}

// PolicyFor is the policy that a request names or brings with it. The error is a *RequestError.
func PolicyFor(r Request) (Policy, error) {
	p, err := PolicyRef{Name: r.Policy, File: r.PolicyFile}.Resolve()
	if err != nil && r.PolicyFile != nil {
		return p, &RequestError{"policy", r.Policy, err.Error()}
	}
	return p, err
}

// Ref pins the policy in a plan, with all that is in it where a later reader could not find it.
func (p Policy) Ref() PolicyRef { return PolicyRef{Name: p.Name, SHA256: p.Digest(), File: p.file} }

// Resolve finds the policy again. Whether it is still the one that was pinned, the digest says.
func (r PolicyRef) Resolve() (Policy, error) {
	if r.File == nil {
		return PolicyByName(r.Name)
	}
	p, err := r.File.compile()
	if err == nil && p.Name != r.Name {
		err = fmt.Errorf("its file is that of %q", p.Name)
	}
	if err != nil {
		return Policy{}, fmt.Errorf("policy %s: %w", r.Name, err)
	}
	return p, nil
}

// Digest is the hex SHA-256 of the policy's JSON: what a plan and a certificate were made under.
func (p Policy) Digest() string {
	data, err := json.Marshal(p)
	if err != nil {
		// A Policy holds strings and maps of strings, which always marshal.
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// method decides what is to be reached: what was asked, if it is enough; else what the policy
// requires for the category and disposition; Clear when neither says anything.
func (p Policy) method(r Request) (Method, error) {
	if r.Method == "" && (r.Category == "") != (r.Disposition == "") {
		return "", &RequestError{"category and disposition", "", "give both, so that policy can choose the method, or give a method"}
	}
	m, required := r.Method, p.Required[r.Category][r.Disposition]
	switch {
	case required == Destroy:
		return "", refuse("destroy_required",
			fmt.Sprintf("policy %s asks to destroy media of category %s for %s", p.Name, r.Category, r.Disposition),
			"a host cannot destroy a drive; record its physical destruction instead")
	case m != "" && m.rank() < required.rank():
		return "", refuse("policy",
			fmt.Sprintf("policy %s asks for %s, not %s, for category %s and %s", p.Name, required, m, r.Category, r.Disposition),
			fmt.Sprintf("ask for --method %s", required))
	case m == "" && required != "":
		m = required
	case m == "":
		m = Clear
	}
	if !slices.ContainsFunc(p.Rows, func(row Row) bool { return len(row.order(m)) > 0 }) {
		return "", refuse("policy", fmt.Sprintf("policy %s has no technique that reaches %s", p.Name, m),
			"ask for another method, plan under another policy, or destroy the drive; expunge policy show "+p.Name+" shows what there is")
	}
	return m, nil
}

// verification is what was asked for, or what the policy uses, and never less than it demands.
func (p Policy) verification(m Method, asked VerifyMode) (VerifyMode, error) {
	if asked == "" {
		return p.Verify[m], nil
	}
	if least := p.AtLeast[m]; asked.rank() < least.rank() {
		return "", refuse("policy", fmt.Sprintf("policy %s demands verification %s for %s, not %s", p.Name, least, m, asked), fmt.Sprintf("ask for --verify %s", least))
	}
	return asked, nil
}

// rank orders modes by how much they read back.
func (v VerifyMode) rank() int {
	return slices.Index([]VerifyMode{VerifyStatus, VerifySampled, VerifyFull}, v)
}

// acknowledged finds who has looked at the conditions of cryptographic erase on a model.
func (p Policy) acknowledged(model string) (Acknowledgement, bool) {
	at := slices.IndexFunc(p.Acknowledged, func(a Acknowledgement) bool {
		beginning, open := strings.CutSuffix(a.Model, "*")
		return a.Model == model || open && strings.HasPrefix(model, beginning)
	})
	if at < 0 {
		return Acknowledgement{}, false
	}
	return p.Acknowledged[at], true
}
