package sanitize

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices/tcg"
)

// Method is a level of sanitization in the sense of NIST SP 800-88r2, 3.1.
type Method string

// The methods. Destroy is recorded, never carried out: a host cannot do it.
const (
	Clear   Method = "clear"
	Purge   Method = "purge"
	Destroy Method = "destroy"
)

// rank orders methods by strength.
func (m Method) rank() int { return slices.Index([]Method{Clear, Purge, Destroy}, m) }

// VerifyMode says how an erase is proven.
type VerifyMode string

// The modes. Status reads nothing back: the words of the outcome say so.
const (
	VerifyStatus  VerifyMode = "status"
	VerifySampled VerifyMode = "sampled"
	VerifyFull    VerifyMode = "full"
)

// Disposition is what shall become of the drive.
type Disposition string

// The dispositions: used again under the owner's control, or leaving it.
const (
	Reuse        Disposition = "reuse"
	Decommission Disposition = "decommission"
)

// Category is the confidentiality of the information (FIPS 199 impact).
type Category string

// The categories.
const (
	Low      Category = "low"
	Moderate Category = "moderate"
	High     Category = "high"
)

// FailureMode is what a drive allows after its own sanitize failed (NVMe base 2.0, 8.21: AUSE).
type FailureMode string

// The failure modes. After a restricted failure nothing but another sanitize is accepted, so that
// nobody uses what was not erased; after an unrestricted one the drive can be used, with its data.
const (
	Restricted   FailureMode = "restricted"
	Unrestricted FailureMode = "unrestricted"
)

// Request is what a person asks for. Empty fields are chosen by policy.
type Request struct {
	Method    Method    `json:"method,omitempty"`
	Technique Technique `json:"technique,omitempty"`
	Pattern   string    `json:"pattern,omitempty"` // zero, one, random or hex digits; host overwrite only
	// BlockSize is the logical block length that a format shall give the drive; 0 leaves it.
	BlockSize   int         `json:"block_size,omitempty"`
	Scheme      string      `json:"scheme,omitempty"` // a named list of passes, instead of Pattern
	Verify      VerifyMode  `json:"verify,omitempty"`
	Disposition Disposition `json:"disposition,omitempty"`
	Category    Category    `json:"category,omitempty"`
	Policy      string      `json:"policy,omitempty"`
	// PolicyFile is what a site's policy says; a plan has it in its reference to the policy.
	PolicyFile  *PolicyFile `json:"policy_file,omitempty"`
	AllowFabric bool        `json:"allow_fabric,omitempty"`
	FailureMode FailureMode `json:"failure_mode,omitempty"`
	// TCG is by which of its commands a self-encrypting drive destroys its keys; "" chooses one that needs
	// nothing but what the drive tells.
	TCG tcg.Way `json:"tcg,omitempty"`
	// TCGPIN: a PIN is given when the plan is run. It is not here.
	TCGPIN bool `json:"tcg_pin,omitempty"`
	// AcceptVolatile: it was accepted that the state is kept in memory, so that a loss of power takes the evidence with it.
	AcceptVolatile bool `json:"accept_volatile,omitempty"`
	// Given is what people say of the drives; a plan has it with each of them.
	Given *GivenRequest `json:"given,omitempty"`
	// Requester is who asked, such as "uid:1000", and Groups what they belong to. A service says so of whoever is
	// connected, whatever they say themselves; "" is a command line on the host.
	Requester string   `json:"requested_by,omitempty"`
	Groups    []string `json:"requester_groups,omitempty"` // names of the groups that whoever asked belongs to
}

// RequestError is a request that no drive could fulfil because it is not one. Nothing was looked
// at, nothing touched.
type RequestError struct{ Field, Value, Why string }

func (e *RequestError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Field, e.Why)
	}
	return fmt.Sprintf("%s %q: %s", e.Field, e.Value, e.Why)
}

// Normal checks the request and spells it in one way. The error is a *RequestError.
func (r Request) Normal() (Request, error) {
	r.Method = Method(strings.ToLower(string(r.Method)))
	if err := oneOf("method", r.Method, Clear, Purge); err != nil {
		if r.Method == Destroy {
			return r, &RequestError{"method", "destroy", "a host cannot destroy a drive: shred, melt or disintegrate it"}
		}
		return r, err
	}
	if err := oneOf("verify", r.Verify, VerifyStatus, VerifySampled, VerifyFull); err != nil {
		return r, err
	}
	if err := oneOf("disposition", r.Disposition, Reuse, Decommission); err != nil {
		return r, err
	}
	if err := oneOf("category", r.Category, Low, Moderate, High); err != nil {
		return r, err
	}
	if err := oneOf("failure mode", r.FailureMode, Restricted, Unrestricted); err != nil {
		return r, err
	}
	if r.FailureMode == Restricted {
		r.FailureMode = "" // spelled in one way
	}
	if err := r.checkRequester(); err != nil {
		return r, err
	}
	if r.Technique != "" {
		technique, err := techniqueByName(string(r.Technique))
		if err != nil {
			return r, err
		}
		r.Technique = technique
	}
	r.TCG = tcg.Way(strings.ReplaceAll(strings.ToLower(string(r.TCG)), "-", "_"))
	if err := oneOf("tcg", r.TCG, tcgWays[1:]...); err != nil {
		return r, err
	}
	switch {
	case r.TCG == "" && !r.TCGPIN:
	case r.Technique == "":
		r.Technique = TCGRevert
	case r.Technique != TCGRevert:
		return r, &RequestError{"tcg", string(r.TCG), "it belongs to --technique tcg-revert"}
	}
	if r.TCG == tcg.WayPSIDRevert {
		r.TCGPIN = true
	}
	if r.FailureMode != "" && r.Technique != "" && !r.Technique.hasFailureMode() {
		return r, &RequestError{"failure mode", string(r.FailureMode), "it belongs to the sanitize commands of drives"}
	}
	switch {
	case r.BlockSize != 0 && !slices.Contains(blockSizes, r.BlockSize):
		return r, &RequestError{"block size", fmt.Sprint(r.BlockSize), "drives are formatted to 512 or 4096 bytes"}
	case r.BlockSize != 0 && r.Technique == "":
		r.Technique = Format
	case r.BlockSize != 0 && r.Technique != Format:
		return r, &RequestError{"block size", fmt.Sprint(r.BlockSize), "only a format gives another: --technique format"}
	}
	return r.normalPasses()
}

func (r Request) normalPasses() (Request, error) {
	if r.Pattern != "" && r.Scheme != "" {
		return r, &RequestError{"pattern", r.Pattern, "a scheme has its own patterns: give one of the two"}
	}
	if r.Scheme != "" {
		s, err := SchemeByName(r.Scheme)
		if err != nil {
			return r, err
		}
		r.Scheme = s.Name
	}
	if r.Pattern != "" {
		p, err := normalPattern(r.Pattern)
		if err != nil {
			return r, err
		}
		r.Pattern = p
	}
	if (r.Pattern != "" || r.Scheme != "") && r.Technique != "" && r.Technique != HostOverwrite {
		return r, &RequestError{"technique", string(r.Technique), "patterns and schemes belong to host overwrite"}
	}
	return r, nil
}

// normalPattern spells a pattern as zero, one, random or lower-case hex.
func normalPattern(s string) (string, error) {
	low := strings.ToLower(s)
	switch low {
	case "random", "zero", "one":
		return low, nil
	}
	unit, err := hex.DecodeString(strings.TrimPrefix(low, "0x"))
	if err != nil || len(unit) == 0 || len(unit) > 64 {
		return "", &RequestError{"pattern", s, "not zero, one, random or 1 to 64 bytes as pairs of hex digits"}
	}
	return hex.EncodeToString(unit), nil
}

// oneOf accepts the empty value: policy chooses.
func oneOf[T ~string](field string, v T, known ...T) error {
	if v == "" || slices.Contains(known, v) {
		return nil
	}
	return &RequestError{field, string(v), "not one of " + list(known)}
}

func list[T ~string](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}
