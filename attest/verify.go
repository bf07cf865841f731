package attest

import (
	"bytes"
	"errors"
	"fmt"
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
	LogIndex  int64    // of the result
	LogLeaf   [32]byte // hash of the result's entry

	opened *opened
	said   []signing // by hosts' keys: intent, result, and the sessions
	proofs [2]proven // of intent and result
}

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

// Verify says what a certificate is worth.
func (v *Verifier) Verify(data []byte) Report {
	r, err := v.verify(data)
	if err != nil {
		return Report{Code: CodeInvalid, Trust: "untrusted", Reasons: []Reason{{"invalid", err.Error(), "get the file again from where it was issued; do not rely on this one"}}}
	}
	r.Simulated = r.Result.Simulated
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
	if status := r.Result.Outcome.Status; status != "sanitized" {
		r.Reasons = append(r.Reasons, Reason{status, fmt.Sprintf("it certifies %q: %s", status, r.Result.Outcome.Reason), "treat the drive as holding data"})
		if r.Code == CodeOK {
			r.Code = CodeOutcome
		}
	}
	return r
}

// AllowSimulated takes the objection to a simulation back.
func (r Report) AllowSimulated() Report {
	kept := []Reason{}
	for _, reason := range r.Reasons {
		if reason.Code != "simulated" {
			kept = append(kept, reason)
		}
	}
	if r.Code == CodePolicy && r.Simulated && r.Trust != "untrusted" {
		r.Code = CodeOK
		if r.Result.Outcome.Status != "sanitized" {
			r.Code = CodeOutcome
		}
	}
	r.Reasons = kept
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
	var c Certificate
	if err := decodeClosed(body, &c); err != nil {
		return Report{}, fmt.Errorf("certificate: %w", err)
	}
	if c.Schema != CertificateSchema || len(c.Proofs) != len(c.Sessions)+2 {
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
	r := Report{opened: o, LogOrigin: o.log.Origin, Summary: c.Summary}
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
	r.said = append(r.said, o.sessionSayings()...)
	return r, nil
}

// agree says whether intent and result are of one piece of work.
func agree(i Intent, r Result, key string) error {
	return checkRules([]rule{
		{i.Device.ID == r.Device.ID && i.Device.SizeBytes == r.sizeBefore() && i.Device.Identity == r.Device.Identity, "intent and result are of different drives"},
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
	first, err := o.prove(rest[0], leaf{Kind: kindIntent, Job: intent.Job, Drive: intent.Device.ID}, c.Intent)
	if err != nil {
		return fmt.Errorf("proof of the intent: %w", err)
	}
	second, err := o.prove(rest[1], leaf{Kind: kindResult, Job: intent.Job, Drive: intent.Device.ID}, c.Result)
	if err != nil {
		return fmt.Errorf("proof of the result: %w", err)
	}
	h := result.History
	r.LogSize, r.LogIndex, r.LogLeaf, r.proofs = o.checkpoint.size, second.index, second.hash(), [2]proven{first, second}
	return checkRules([]rule{
		{first.index < second.index, "the result was logged before its intent"},
		{h.IntentIndex == first.index && h.IntentLeaf == first.leaf, "the intent is not the one that the result names"},
		{last[c.Intent.Signatures[0].KeyID] < first.index && last[c.Result.Signatures[0].KeyID] < second.index, "a statement was logged before its session"},
	})
}
