package attest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// What a verification can say, as exit codes.
const (
	CodeOK      = 0  // authentic, trusted, and the drive is sanitized
	CodeInvalid = 11 // not a certificate, or not as it was signed
	CodePolicy  = 12 // authentic, and not what was asked for: an unknown key, a simulation
	CodeOutcome = 13 // authentic and trusted; it certifies something other than "sanitized"
)

// Reason is why a certificate is not simply good.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Report is what a certificate is worth. Result is nil unless it was verified: no field is ever
// taken from bytes that were not.
type Report struct {
	Code      int
	Reasons   []Reason
	KeyID     string // of the host that vouched for the result
	Trust     string // "trusted", "self" or "untrusted"
	Simulated bool
	Result    *Result
	Intent    *Intent
	Session   *Session // of the run that signed the result
	Summary   string   // a note of the log
	LogOrigin string
	LogSize   int64
	LogIndex  int64    // of the result, or the record
	LogLeaf   [32]byte // hash of its entry

	Validations   []Validated  // of the result, in the order of the log
	Supersessions []Superseded // the same
	Cosigners     []string     // those of the Verifier's that cosigned the log's head
	NotChecked    int          // cosignatures by others

	// Of a record that is no certificate one of these is there, and Result is nil.
	Manifest    *Manifest
	Destruction *Destruction
	RecordTime  string // when the record was signed, by the host's clock

	opened *opened
	said   []signing // by hosts' keys: intent, result, and the sessions
	proofs [2]proven // of intent and result
	later  []proven  // of validations and supersessions
	record proven    // of a record
}

// IsRecord says that it is of an authentic record that is no certificate.
func (r Report) IsRecord() bool { return r.Manifest != nil || r.Destruction != nil }

// Verdict is the code as a word.
func (r Report) Verdict() string {
	switch r.Code {
	case CodeOK:
		return "valid"
	case CodePolicy:
		return "policy not met"
	case CodeOutcome:
		return "not sanitized"
	}
	return "invalid"
}

// Verify says what a certificate is worth to somebody who trusts these keys. It is a pure
// function: no clock, no network, no file, and it answers any bytes.
func Verify(data []byte, trust Trust) Report { return NewVerifier(trust).Verify(data) }

// Verify says what a certificate, or a record, is worth.
func (v *Verifier) Verify(data []byte) Report {
	r, err := v.verify(data)
	if err == nil {
		r.Cosigners, r.NotChecked, err = v.Cosigners.valid(r.opened.checkpoint)
	}
	if err != nil {
		return Report{Code: CodeInvalid, Trust: "untrusted", Reasons: []Reason{{"invalid", err.Error(), "get the file again from where it was issued; do not rely on this one"}}}
	}
	if r.Result != nil {
		r.Simulated = r.Result.Simulated
	}
	r.Trust = "trusted"
	if v.trust.Self {
		r.Trust = "self"
	}
	if against := v.trust.judgeAll(r.said); len(against) > 0 {
		r.Trust, r.Code, r.Reasons = "untrusted", CodePolicy, append(r.Reasons, against...)
	}
	if r.Simulated {
		r.Code = CodePolicy
		r.Reasons = append(r.Reasons, Reason{"simulated", "SIMULATED: made on a virtual drive, it says nothing about any real one", "--allow-simulated accepts it"})
	}
	for i, j := range r.Validations {
		if r.Validations[i].Trusted = v.trust.trustsValidator(j, r.opened.log); !r.Validations[i].Trusted {
			r.Reasons = append(r.Reasons, Reason{"untrusted_validator", fmt.Sprintf("%s decided to %s with key %s, which is not trusted as a validator's", j.By.Name, j.Decision, j.KeyID),
				"get the validator's public key, with its role, from the validator and pass it with --trust"})
		}
	}
	against := r.against()
	if r.Reasons = append(r.Reasons, against...); len(against) > 0 && r.Code == CodeOK {
		r.Code = CodeOutcome
	}
	return r
}

// against is why what is certified is not that a drive is sanitized.
func (r Report) against() []Reason {
	const holds = "treat the drive as holding data"
	var list []Reason
	if r.Result != nil {
		if status := r.Result.Outcome.Status; status != "sanitized" {
			list = append(list, Reason{status, fmt.Sprintf("it certifies %q: %s", status, r.Result.Outcome.Reason), holds})
		}
	}
	if r.Manifest != nil {
		for _, d := range r.Manifest.notSanitized() {
			list = append(list, Reason{"manifest_" + d.Became, fmt.Sprintf("%s %s was selected, and is %q", d.Model, d.Serial, d.Became), holds})
		}
		if r.Manifest.NotListed != "" {
			list = append(list, Reason{"manifest_not_listed", "not every drive of the host may be in it: " + r.Manifest.NotListed, "look at the host"})
		}
	}
	return append(list, r.Standing()...)
}

// AllowSimulated takes the objection to a simulation back.
func (r Report) AllowSimulated() Report {
	kept := []Reason{}
	cosigned := true
	for _, reason := range r.Reasons {
		if reason.Code != "simulated" {
			kept = append(kept, reason)
		}
		cosigned = cosigned && reason.Code != "cosigners_missing"
	}
	if r.Code == CodePolicy && r.Simulated && r.Trust != "untrusted" && cosigned {
		r.Code = CodeOK
		if len(r.against()) > 0 {
			r.Code = CodeOutcome
		}
	}
	r.Reasons = kept
	return r
}

// DemandCosigners objects when fewer of the Verifier's cosigners than are wanted have cosigned.
func (r Report) DemandCosigners(n int) Report {
	if r.Code == CodeInvalid || len(r.Cosigners) >= n {
		return r
	}
	r.Code = CodePolicy
	r.Reasons = append(slices.Clone(r.Reasons), Reason{"cosigners_missing", fmt.Sprintf("%d of the known cosigners have cosigned the log, and %d are wanted; %d cosignatures are by others", len(r.Cosigners), n, r.NotChecked),
		"have the issuer get the log cosigned, and reissue the certificate"})
	return r
}

func (v *Verifier) verify(data []byte) (Report, error) {
	body, ended := bytes.CutSuffix(data, []byte("\n"))
	switch {
	case len(data) == 0:
		return Report{}, errors.New("the file is empty")
	case len(data) > MaxSize:
		return Report{}, fmt.Errorf("%d bytes, at most %d", len(data), MaxSize)
	case !ended:
		return Report{}, errors.New("the last line is cut off")
	}
	// A quotation mark within a string is never bare, so that this is a member's name; the decoder decides.
	if bytes.Contains(body, []byte(`"schema":"`+RecordSchema+`"`)) {
		return v.verifyRecord(body)
	}
	var c Certificate
	if err := decodeClosed(body, &c); err != nil {
		return Report{}, fmt.Errorf("certificate: %w", err)
	}
	if c.Schema != CertificateSchema || len(c.Proofs) != len(c.Sessions)+2+len(c.Validations)+len(c.Supersessions) {
		return Report{}, fmt.Errorf("schema %q with %d proofs: not known to this verifier", c.Schema, len(c.Proofs))
	}
	o, err := v.open(c.Keys, c.Sessions, c.Checkpoint)
	if err != nil {
		return Report{}, err
	}
	intent, err := openStatement[Intent](o, c.Intent, IntentType)
	if err != nil {
		return Report{}, fmt.Errorf("intent: %w", err)
	}
	result, err := openStatement[Result](o, c.Result, SanitizationType)
	if err != nil {
		return Report{}, fmt.Errorf("result: %w", err)
	}
	signer := c.Result.Signatures[0].KeyID
	if err := agree(intent, result, signer); err != nil {
		return Report{}, err
	}
	r := Report{opened: o, LogOrigin: o.log.Origin, Summary: c.Summary, Result: &result}
	if err := r.verifyProofs(c, intent, result); err != nil {
		return Report{}, err
	}
	if err := o.summarizes(c.Summary, result, r.proofs[1].entry.Envelope); err != nil {
		return Report{}, err
	}
	if err := o.allUsed(); err != nil {
		return Report{}, err
	}
	session := o.sessions[signer]
	if session.said.Simulated != result.Simulated {
		return Report{}, errors.New("the session and the result differ in whether they are a simulation")
	}
	r.Intent, r.Result, r.Session, r.KeyID = &intent, &result, &session.said, session.host
	r.said = []signing{
		o.saying(c.Intent, r.proofs[0].index, result.Simulated, intent.Time.Claimed),
		o.saying(c.Result, r.proofs[1].index, result.Simulated, result.Time.Claimed),
	}
	for i, s := range r.Supersessions {
		r.said = append(r.said, o.saying(c.Supersessions[i], s.Index, s.Simulated, s.Time.Claimed))
	}
	r.said = append(r.said, o.sessionSayings()...)
	return r, nil
}

// agree says whether intent and result are of one piece of work.
func agree(i Intent, r Result, key string) error {
	return checkRules([]rule{
		{i.Device.DriveID() == r.Device.DriveID() && i.Device.SizeBytes == r.sizeBefore() && i.Device.Identity == r.Device.Identity, "intent and result are of different drives"},
		{i.Job == r.History.Job && i.PlanSHA256 == r.Evidence.PlanSHA256, "intent and result are of different jobs"},
		{i.Simulated == r.Simulated && i.Scope == r.Scope, "intent and result differ in scope"},
		{i.Method == r.Sanitization.Method && i.Technique == r.Sanitization.Technique && i.Scheme == r.Sanitization.Scheme, "the result is not what was intended"},
		{i.Policy == r.Policy && i.Disposition == r.Disposition && i.Category == r.Category, "intent and result are of different policies"},
		{len(r.Signers) == 1 && r.Signers[0] == key, "the signatures are not those that the result names"},
	})
}

func (r *Report) verifyProofs(c Certificate, intent Intent, result Result) error {
	o := r.opened
	last, err := o.proveSessions(c.Sessions, c.Proofs)
	if err != nil {
		return err
	}
	rest := c.Proofs[len(c.Sessions):]
	first, err := o.prove(rest[0], leaf{Kind: kindIntent, Job: intent.Job, Drive: intent.Device.DriveID()}, c.Intent)
	if err != nil {
		return fmt.Errorf("proof of the intent: %w", err)
	}
	second, err := o.prove(rest[1], leaf{Kind: kindResult, Job: intent.Job, Drive: intent.Device.DriveID()}, c.Result)
	if err != nil {
		return fmt.Errorf("proof of the result: %w", err)
	}
	if err := r.verifyLater(c, second, first, rest[2:], last); err != nil {
		return err
	}
	h := result.History
	return checkRules([]rule{
		{first.index < second.index, "the result was logged before its intent"},
		{h.IntentIndex == first.index && h.IntentLeaf == first.leaf, "the intent is not the one that the result names"},
		{last[c.Intent.Signatures[0].KeyID] < first.index && last[c.Result.Signatures[0].KeyID] < second.index, "a statement was logged before its session"},
	})
}

// verifyLater checks what was said of the result after it was logged. proofs are those of the validations and supersessions.
func (r *Report) verifyLater(c Certificate, result, intent proven, proofs []string, sessions map[string]int64) error {
	r.LogSize, r.LogIndex, r.LogLeaf, r.proofs = r.opened.checkpoint.size, result.index, result.hash(), [2]proven{intent, result}
	if err := r.verifyValidations(c, proofs); err != nil {
		return err
	}
	return r.verifySupersessions(c, proofs[len(c.Validations):], sessions)
}
