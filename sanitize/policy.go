package sanitize

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
)

// Policy says which method is required, and under which standard's name it is certified.
type Policy struct {
	Name     string `json:"name"`
	Standard string `json:"standard"`
	// Verify is the verification used when none is asked for.
	Verify VerifyMode `json:"verify"`
	// Reaches is what techniques reach at most, by media; "" stands for media that are not named.
	Reaches map[Technique]map[devices.Media]Method `json:"reaches"`
	// Required is the weakest method for a category and disposition.
	Required map[Category]map[Disposition]Method `json:"required"`
}

// DefaultPolicy is used when a request names none.
const DefaultPolicy = "nist-800-88r2"

// Policies lists the built-in policies. SP 800-88r2 leaves the decision table to the organization
// (4.3); both use the outcomes of r1's figure 4-1, in which media that are not used again are
// destroyed. Here "decommission" means leaving the owner's control while the drive stays usable,
// so it asks for purge, and for destroy where the figure allows nothing less.
func Policies() []Policy {
	required := map[Category]map[Disposition]Method{
		Low:      {Reuse: Clear, Decommission: Purge},
		Moderate: {Reuse: Clear, Decommission: Purge},
		High:     {Reuse: Purge, Decommission: Destroy},
	}
	return []Policy{
		{DefaultPolicy, "NIST SP 800-88r2, IEEE 2883-2022", VerifySampled, map[Technique]map[devices.Media]Method{
			CryptoThenBlock:       {"": Purge},
			CryptographicErase:    {"": Purge},
			BlockErase:            {"": Purge},
			DriveOverwrite:        {"": Purge},
			EnhancedSecurityErase: {devices.MediaMagnetic: Purge, "": Clear}, // on flash readings of the standard differ
			SecurityErase:         {"": Clear},
			Format:                {"": Clear},
			HostOverwrite:         {"": Clear},
		}, required},
		{"nist-800-88r1", "NIST SP 800-88r1", VerifySampled, map[Technique]map[devices.Media]Method{
			CryptoThenBlock:       {"": Purge},
			CryptographicErase:    {"": Purge},
			BlockErase:            {devices.MediaFlash: Purge, "": Clear}, // appendix A, tables
			DriveOverwrite:        {devices.MediaMagnetic: Purge, "": Clear},
			EnhancedSecurityErase: {devices.MediaMagnetic: Purge, "": Clear},
			SecurityErase:         {"": Clear},
			Format:                {"": Clear},
			HostOverwrite:         {"": Clear},
		}, required},
	}
}

// reaches is the method that a technique reaches at most on a kind of media; "" for one that the
// policy does not know, which reaches nothing.
func (p Policy) reaches(t Technique, media devices.Media) Method {
	by := p.Reaches[t]
	if m, named := by[media]; named {
		return m
	}
	return by[""]
}

// PolicyByName finds a policy; the empty name is the default. The error is a *RequestError.
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
	return Policy{}, &RequestError{"policy", name, "not one of " + list(names)}
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
	required, known := p.Required[r.Category][r.Disposition]
	switch {
	case !known && r.Method == "":
		return Clear, nil
	case !known:
		return r.Method, nil
	case required == Destroy:
		return "", refuse("destroy_required",
			fmt.Sprintf("policy %s asks to destroy media of category %s for %s", p.Name, r.Category, r.Disposition),
			"a host cannot destroy a drive; record its physical destruction instead")
	case r.Method == "":
		return required, nil
	case r.Method.rank() < required.rank():
		return "", refuse("policy",
			fmt.Sprintf("policy %s asks for %s, not %s, for category %s and %s", p.Name, required, r.Method, r.Category, r.Disposition),
			fmt.Sprintf("ask for --method %s", required))
	}
	return r.Method, nil
}
