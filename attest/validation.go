package attest

import (
	"errors"
	"fmt"
	"slices"
)

// ValidationType is the predicate type of a validation.
const ValidationType = "https://github.com/expunge-dev/expunge/validation/v1"

// What a validation can decide (800-88r2 4.5.2).
const (
	Accept   = "accept"
	Reject   = "reject"   // sanitize it again
	Escalate = "escalate" // by a stronger method
)

var decisions = []string{Accept, Reject, Escalate}

// Validation is the predicate by which a person says whether the data on a drive are effectively sanitized, given how
// sensitive they are (800-88r2 4.5.2). It is signed by that person's own key.
type Validation struct {
	Agent          Agent          `json:"agent"`
	By             Person         `json:"by"`
	Decision       string         `json:"decision"`
	Device         Named          `json:"device"`
	Policy         *JudgedBy      `json:"policy,omitempty"` // absent: by no rules but this program's
	Reason         string         `json:"reason,omitempty"` // always but with an accept that is recommended
	Recommendation Recommendation `json:"recommendation"`
	Result         ResultAt       `json:"result"`
	Signers        []string       `json:"signers"` // id of the validator's key: what two say in the same words are two statements
	Simulated      bool           `json:"simulated"`
	Time           Time           `json:"time"`
}

// JudgedBy is the policy that a result was judged by.
type JudgedBy struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"` // its digest, as results name policies
}

// Recommendation is what the program would decide, and why. It decides nothing.
type Recommendation struct {
	Decision string   `json:"decision"`
	Reasons  []string `json:"reasons"` // empty exactly with accept
}

// Recommend judges a result as 800-88r2 4.5.2 does: by its outcome, what it did not reach, how the technique fits the
// media, and the confidentiality of the data where that was given. It is a function of the result alone.
func Recommend(r Result) Recommendation {
	s, o := r.Sanitization, r.Outcome
	to := Recommendation{Accept, []string{}}
	because := func(holds bool, decision, why string) {
		if holds {
			to.Reasons = append(to.Reasons, why)
			if to.Decision != Reject {
				to.Decision = decision
			}
		}
	}
	because(o.Status != "sanitized" && o.Status != "exceptions", Reject, fmt.Sprintf("the outcome is %q", o.Status))
	because(o.Status == "exceptions", Escalate, fmt.Sprintf("%d bytes were not sanitized, or not proven to be", o.ExceptionBytes))
	if o.Status != "sanitized" {
		return to
	}
	high, moderate := r.Category == "high", r.Category == "moderate"
	because(high && o.Method == "clear", Escalate, "clear is below the minimum for data of high confidentiality")
	because(moderate && r.Disposition == "decommission" && o.Method == "clear", Escalate, "clear is below the minimum for data of moderate confidentiality that leave the owner's control")
	because((high || moderate) && s.Technique == "host overwrite" && r.Device.Media != "hdd", Escalate, "the scope is too narrow: an overwrite by the host does not reach the spare blocks of such media")
	because((high || moderate) && r.Scope == "logical", Escalate, "only the host vouches for the drive: what it consists of is not known")
	because(high && r.Verification.Mode == "status", Escalate, "nothing was read back, and the data are of high confidentiality")
	because(high && len(s.Excludes) > 0, Escalate, "parts of the drive were not reached, and the data are of high confidentiality")
	because(high && len(s.RestsOn) > 0, Escalate, "it rests on what no host can prove, and the data are of high confidentiality")
	return to
}

func (v Validation) check() error {
	if err := errors.Join(v.By.check(), v.Device.check(), v.Result.check()); err != nil {
		return err
	}
	told := v.Recommendation
	return checkRules(append(spoken(v.Agent, v.Time),
		rule{len(v.Signers) == 1 && isHash(v.Signers[0]), "the signer is not named"},
		rule{slices.Contains(decisions, v.Decision) && slices.Contains(decisions, told.Decision), "the decision is unknown"},
		rule{told.Reasons != nil && (told.Decision == Accept) == (len(told.Reasons) == 0) && len(told.Reasons) <= 16, "a recommendation has reasons exactly when it is not to accept"},
		rule{!slices.ContainsFunc(told.Reasons, tooLong) && !tooLong(v.Reason), "a reason is too long"},
		rule{v.Decision != Accept || v.Result.Status == "sanitized", "only what is sanitized can be accepted"},
		rule{v.Reason != "" || v.Decision == Accept && told.Decision == Accept, "a decision other than the one to accept what is recommended has no reason"},
		rule{v.Policy == nil || v.Policy.Name != "" && !tooLong(v.Policy.Name) && isHash(v.Policy.SHA256), "the policy is not named by name and digest"},
	))
}

func (v Validation) subjects() []Subject { return v.Result.subjects(v.Device) }

// Judgement is what a validator says of a result.
type Judgement struct {
	Decision string
	By       Person
	Reason   string
	Policy   *JudgedBy
}

// Validate has a validator's key sign a judgement of a job's drive, and logs it. It returns the certificate with it. The
// error is a *RecordError when it is refused.
func (is Issuer) Validate(job, drive string, j Judgement, key *Key) ([]byte, error) {
	var bundle []byte
	err := is.Log.update(func(t *tree) error {
		at, r, err := is.resultAt(t, job, drive)
		if err != nil {
			return err
		}
		d := r.Device
		v := Validation{Agent: is.Run.Agent, By: j.By, Decision: j.Decision, Device: Name(d.Model, d.Serial, d.WWN), Policy: j.Policy, Reason: j.Reason,
			Recommendation: Recommend(r), Result: at, Signers: []string{key.ID}, Simulated: r.Simulated, Time: is.time()}
		if err := is.mayValidate(t, v, drive, key); err != nil {
			return err
		}
		if err := is.Log.keepPublicKey(key.Public); err != nil {
			return err
		}
		if _, _, err := addRecordStatement(t, ValidationType, v, key, leaf{Kind: kindValidation, Drive: drive, Job: job}); err != nil {
			return err
		}
		bundle, err = is.bundle(t, t.head(), job, drive)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("validate: %w", err)
	}
	return bundle, nil
}

// mayValidate says why a validation is refused.
func (is Issuer) mayValidate(t *tree, v Validation, drive string, key *Key) error {
	if v.Decision == Accept && v.Result.Status != "sanitized" {
		return &RecordError{"not_sanitized", fmt.Sprintf("the result says %q: only what is sanitized can be accepted", v.Result.Status), "--decision reject, or escalate"}
	}
	if v.Decision == Accept && v.Recommendation.Decision != Accept && v.Reason == "" {
		return &RecordError{"reason_missing", fmt.Sprintf("recommended is to %s: %s", v.Recommendation.Decision, v.Recommendation.Reasons[0]), "--reason says why it is accepted all the same"}
	}
	if err := v.check(); err != nil {
		return &RecordError{"validation_refused", "validation refused: " + err.Error(), ""}
	}
	if err := is.independent(t, key.ID); err != nil {
		return err
	}
	superseded, err := t.all(v.Result.Job, matching(kindSupersession, v.Result.Job, drive))
	if err != nil {
		return err
	}
	for _, l := range superseded {
		s, err := statementIn[Supersession](is.Log, l.leaf)
		if err != nil {
			return err
		}
		if s.Withdrawn && v.Decision == Accept {
			return &RecordError{"withdrawn", "the certificate was withdrawn: it cannot be accepted any more", "sanitize the drive in a new job"}
		}
	}
	return t.roomFor(kindValidation, v.Result.Job, drive)
}

// roomFor says whether a certificate can hold one more record of a kind.
func (t *tree) roomFor(kind, job, drive string) error {
	have, err := t.all(job, matching(kind, job, drive))
	if err == nil && len(have) >= maxRecords {
		err = &RecordError{"too_many", fmt.Sprintf("the certificate has %d %ss, which is as many as it can hold", len(have), kind), "sanitize the drive in a new job"}
	}
	return err
}

// independent refuses a key that is the host's, the log's, or of a session: nobody validates their own work.
func (is Issuer) independent(t *tree, id string) error {
	own := &RecordError{"not_independent", "the key is one that the result itself rests on: a validation is by another", "make the validator a key of their own, off this host"}
	log := is.Log.key.LogPublic
	if id == is.Key.ID || id == log.Ed25519.ID || id == log.MLDSA44.ID {
		return own
	}
	sessions, err := t.all(kindSession, func(l leaf) bool { return l.Kind == kindSession })
	if err != nil {
		return err
	}
	for _, s := range sessions {
		e, err := is.Log.loadEnvelope(s.Envelope)
		if err != nil {
			return err
		}
		host, err := e.signer()
		if err != nil {
			return err
		}
		if id == s.Session || id == host {
			return own
		}
	}
	return nil
}

// validations takes those of a job's drive, and their keys.
func (g *gathered) validations(job, drive string) ([]place, error) {
	found, err := g.tree.all(job, matching(kindValidation, job, drive))
	if err != nil {
		return nil, err
	}
	var list []place
	for _, f := range found {
		e, err := g.is.Log.loadEnvelope(f.Envelope)
		if err != nil {
			return nil, err
		}
		id, err := e.signer()
		if err != nil {
			return nil, err
		}
		if g.keys[id], err = g.is.Log.publicKey(id); err != nil {
			return nil, err
		}
		list = append(list, place{f.leaf, f.index, e})
	}
	return list, nil
}

// Validated is a validation in a certificate.
type Validated struct {
	Validation
	KeyID   string
	Trusted bool // the key is trusted as a validator's
	Index   int64
}

// openValidation checks a validation in a bundle but for its proof.
func (o *opened) openValidation(e Envelope) (Validated, error) {
	id, err := e.signer()
	if err != nil {
		return Validated{}, err
	}
	key, known := o.keys[id]
	if !known {
		return Validated{}, fmt.Errorf("it is signed by key %.16s…, which is not there", id)
	}
	// What the result rests on cannot validate it. Session keys are not among the keys.
	host := id == o.log.Ed25519.ID || id == o.log.MLDSA44.ID
	for run, s := range o.sessions {
		host = host || id == run || id == s.host
	}
	if host {
		return Validated{}, errors.New("it is signed by a key that the result itself rests on")
	}
	o.used[id] = true
	v, err := openValidation(e, key)
	return Validated{Validation: v, KeyID: id}, err
}

// openValidation checks a validation that a key signed.
func openValidation(e Envelope, key Public) (Validation, error) {
	v, err := openSigned[Validation](e, key, ValidationType)
	if err == nil && v.Signers[0] != key.ID {
		err = errors.New("the signature is not the one that it names")
	}
	return v, err
}

// trustsValidator says whether a key is trusted as a validator's. One that is trusted for anything is not: people answer for
// results with keys of their own.
func (t Trust) trustsValidator(v Validated, log LogPublic) bool {
	return (t.root != nil || t.roles[v.KeyID] == RoleValidator) && t.trusts(signing{v.KeyID, RoleValidator, log, v.Index, v.Time.Claimed})
}

// verifyValidations checks what was said of the result later. The proofs begin with theirs.
func (r *Report) verifyValidations(c Certificate, proofs []string) error {
	if len(c.Validations) > maxRecords {
		return errors.New("more validations than a certificate can have")
	}
	last := r.LogIndex
	for i, e := range c.Validations {
		v, err := r.opened.openValidation(e)
		if err != nil {
			return fmt.Errorf("validation: %w", err)
		}
		at, err := r.proveRecord(proofs[i], leaf{Kind: kindValidation}, e, v.Device, v.Validation.Result, v.Simulated, last)
		if err != nil {
			return fmt.Errorf("validation: %w", err)
		}
		last, v.Index = at.index, at.index
		r.Validations, r.later = append(r.Validations, v), append(r.later, at)
	}
	return nil
}

// proveRecord checks that a record is of this certificate's result, and in the log behind what came before it.
func (r *Report) proveRecord(text string, l leaf, e Envelope, n Named, of ResultAt, simulated bool, last int64) (proven, error) {
	d, result := r.Result.Device, r.proofs[1]
	l.Job, l.Drive = result.entry.Job, result.entry.Drive
	at, err := r.opened.prove(text, l, e)
	if err != nil {
		return proven{}, fmt.Errorf("proof: %w", err)
	}
	return at, checkRules([]rule{
		{n == Name(d.Model, d.Serial, d.WWN), "it is of another drive"},
		{of == ResultAt{result.index, result.entry.Job, result.entry.Envelope, r.Result.Outcome.Status}, "it is of another result"},
		{simulated == r.Result.Simulated, "it and the result differ in whether they are a simulation"},
		{at.index > last, "it is not in the order of the log"},
	})
}

// judged is why the newest validation that counts does not accept; nil when it does, or there is none. An accept counts
// only by a trusted key; anybody's objection counts until then.
func (r Report) judged() *Reason {
	var against *Reason
	for _, v := range r.Validations {
		code := map[string]string{Reject: "validation_rejected", Escalate: "validation_escalated"}[v.Decision]
		switch {
		case v.Decision != Accept:
			against = &Reason{code, fmt.Sprintf("%s decided to %s: %s", v.By.Name, v.Decision, v.Reason), "treat the drive as holding data until it is sanitized again, or accepted"}
		case v.Trusted:
			against = nil
		}
	}
	return against
}
