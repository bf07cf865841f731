package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// SummaryReport is what a summary, read from a printed form, is worth. What it says is from verified
// bytes. It is not the certificate: it says what that holds, and the hash by which to know it.
type SummaryReport struct {
	Code                               int
	Reasons                            []Reason
	Trust                              string // "trusted", "self" or "untrusted"
	Simulated                          bool
	Serial, Model, Outcome, By, Signed string
	Result                             string // hex SHA-256 of what was signed as the result
	Origin                             string // of the log that signed it
}

// maxSummary bounds what a code can hold.
const maxSummary = 4096

// ResemblesSummary says whether a text begins as a summary does. It proves nothing: VerifySummary does.
func ResemblesSummary(data []byte) bool {
	return strings.HasPrefix(string(data[:min(len(data), len(summaryHead))]), summaryHead)
}

// VerifySummary says what a summary is worth to somebody who trusts these keys of logs.
func VerifySummary(data []byte, trust Trust) SummaryReport {
	r, err := verifySummary(data, trust)
	if err != nil {
		return SummaryReport{Code: CodeInvalid, Trust: "untrusted", Reasons: []Reason{{"invalid", err.Error(), "read the code again; ask the issuer for the certificate itself"}}}
	}
	return r
}

func verifySummary(data []byte, trust Trust) (SummaryReport, error) {
	// A reader of codes may leave the last newline out, and nothing else.
	text := strings.TrimSuffix(string(data), "\n") + "\n"
	body, signature, found := strings.Cut(text, "\n\n")
	lines := strings.Split(body, "\n")
	if len(data) > maxSummary || !found || len(lines) != 7 {
		return SummaryReport{}, errors.New("the summary is cut off, or none")
	}
	r := SummaryReport{Simulated: lines[0] == summaryHead+" SIMULATED"}
	if !r.Simulated && lines[0] != summaryHead {
		return SummaryReport{}, errors.New("the summary is of a version that is not known to this verifier")
	}
	for i, field := range []struct {
		word string
		to   *string
	}{{"serial", &r.Serial}, {"model", &r.Model}, {"outcome", &r.Outcome}, {"by", &r.By}, {"signed", &r.Signed}, {"result", &r.Result}} {
		value, ok := strings.CutPrefix(lines[i+1], field.word+" ")
		if *field.to = value; !ok || !isASCII(value) {
			return SummaryReport{}, fmt.Errorf("the summary does not say its %s", field.word)
		}
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(signature, "— "), " ")
	id, ok := strings.CutPrefix(name, origin(""))
	if r.Origin = name; !ok || !isHash(id) || !isHash(r.Result) || !isTime(r.Signed) {
		return SummaryReport{}, errors.New("the summary is not signed by a log, or not in its one form")
	}
	key, known := trust.keys[id]
	if !known || key.Alg != Ed25519 || trust.roles[id] != "" && trust.roles[id] != RoleLog {
		r.Trust, r.Code = "untrusted", CodePolicy
		r.Reasons = []Reason{{"untrusted_key", "signed by the log " + name + ", whose key is not among the trusted ones: nothing in it is checked",
			"get the log's public key from the issuer and pass it with --trust; the certificate itself says more"}}
		r.Serial, r.Model, r.Outcome, r.By, r.Signed, r.Result, r.Simulated = "", "", "", "", "", "", false
		return r, nil
	}
	v, err := noteVerifier(key)
	if err != nil {
		return SummaryReport{}, err
	}
	n, err := note.Open([]byte(text), note.VerifierList(v))
	if err != nil {
		return SummaryReport{}, fmt.Errorf("the summary: %w", err)
	}
	if len(n.Sigs) != 1 || len(n.UnverifiedSigs) > 0 || !oneForm(n, []byte(text)) {
		return SummaryReport{}, errors.New("the summary is not in its one form")
	}
	r.judge(trust)
	return r, nil
}

// judge decides about an authentic summary.
func (r *SummaryReport) judge(trust Trust) {
	if r.Trust = "trusted"; trust.Self {
		r.Trust = "self"
	}
	if r.Simulated {
		r.Code = CodePolicy
		r.Reasons = append(r.Reasons, Reason{"simulated", "SIMULATED: made on a virtual drive, it says nothing about any real one", "--allow-simulated accepts it"})
	}
	if trust.root != nil && trust.root.bounds() {
		r.Code = CodePolicy
		r.Reasons = append(r.Reasons, Reason{"summary_only", "the trust root revokes keys, or bounds their use, and a summary does not say by which key its result was signed", "verify the certificate itself"})
	}
	if !r.sanitized() {
		r.Reasons = append(r.Reasons, Reason{"not_sanitized", "it says: " + r.Outcome, "treat the drive as holding data"})
		if r.Code == CodeOK {
			r.Code = CodeOutcome
		}
	}
}

// sanitized says whether the words are those of a drive on which nothing is left.
func (r *SummaryReport) sanitized() bool {
	for _, achieved := range []string{"CLEARED", "PURGED"} {
		if r.Outcome == achieved+" verified" || r.Outcome == achieved+" status only" {
			return true
		}
	}
	return false
}

// AllowSimulated takes the objection to a simulation back.
func (r SummaryReport) AllowSimulated() SummaryReport {
	if r.Code != CodePolicy || !r.Simulated || r.Trust == "untrusted" {
		return r
	}
	r.Code = CodeOK
	r.Reasons = slices.DeleteFunc(slices.Clone(r.Reasons), func(reason Reason) bool { return reason.Code == "simulated" })
	switch {
	case slices.ContainsFunc(r.Reasons, func(reason Reason) bool { return reason.Code == "summary_only" }):
		r.Code = CodePolicy
	case !r.sanitized():
		r.Code = CodeOutcome
	}
	return r
}
