package attest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/tlog"
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
	KeyID     string
	Trust     string // "trusted", "self" or "untrusted"
	Simulated bool
	Result    *Result
	Intent    *Intent
	LogSize   int64
	LogIndex  int64    // of the result
	LogLeaf   [32]byte // hash of the result's entry

	key    ed25519.PublicKey
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
func Verify(data []byte, trust Trust) Report {
	r, err := verify(data)
	if err != nil {
		return Report{Code: CodeInvalid, Trust: "untrusted", Reasons: []Reason{{"invalid", err.Error(), "get the file again from where it was issued; do not rely on this one"}}}
	}
	r.Simulated = r.Result.Simulated
	switch {
	case !trust.trusts(r.KeyID, r.Simulated):
		r.Trust, r.Code = "untrusted", CodePolicy
		r.Reasons = append(r.Reasons, Reason{"untrusted_key", "signed by key " + r.KeyID + ", which is not among the trusted ones",
			"get the issuer's public key from the issuer and pass it with --trust"})
	case trust.Self:
		r.Trust = "self"
	default:
		r.Trust = "trusted"
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

func verify(data []byte) (Report, error) {
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
	if c.Schema != CertificateSchema || len(c.Keys) != 1 || len(c.Proofs) != 2 {
		return Report{}, fmt.Errorf("schema %q with %d keys and %d proofs: not known to this verifier", c.Schema, len(c.Keys), len(c.Proofs))
	}
	spki, err := decodeBase64(c.Keys[0].SPKI)
	if err != nil {
		return Report{}, fmt.Errorf("public key: %w", err)
	}
	key, err := parseSPKI(spki)
	if err != nil {
		return Report{}, err
	}
	r := Report{KeyID: keyID(key), key: key}
	if c.Keys[0].KeyID != r.KeyID {
		return Report{}, errors.New("the key's id is not its hash")
	}
	intent, err := openStatement[Intent](c.Intent, key, IntentType)
	if err != nil {
		return Report{}, fmt.Errorf("intent: %w", err)
	}
	result, err := openStatement[Result](c.Result, key, SanitizationType)
	if err != nil {
		return Report{}, fmt.Errorf("result: %w", err)
	}
	if err := agree(intent, result, r.KeyID); err != nil {
		return Report{}, err
	}
	if err := r.verifyProofs(c, key, intent, result); err != nil {
		return Report{}, err
	}
	r.Intent, r.Result = &intent.Predicate, &result.Predicate
	return r, nil
}

// checked is a predicate that can contradict itself.
type checked interface {
	Intent | Result
	check() error
	device() Device
}

func (i Intent) device() Device { return i.Device }
func (r Result) device() Device { return r.Device }

func openStatement[P checked](e Envelope, key ed25519.PublicKey, kind string) (Statement[P], error) {
	var s Statement[P]
	payload, err := e.open(key)
	if err != nil {
		return s, err
	}
	if err := decodeClosed(payload, &s); err != nil {
		return s, err
	}
	if s.Type != StatementType || s.PredicateType != kind {
		return s, fmt.Errorf("type %q with predicate %q", s.Type, s.PredicateType)
	}
	if err := s.Predicate.check(); err != nil {
		return s, err
	}
	id := s.Predicate.device().DriveID()
	if len(s.Subject) != 1 || s.Subject[0] != (Subject{"drive-id/v1", Digest{id}}) {
		return s, errors.New("the subject is not the drive that the statement describes")
	}
	return s, nil
}

// agree says whether intent and result are of one piece of work.
func agree(intent Statement[Intent], result Statement[Result], key string) error {
	i, r := intent.Predicate, result.Predicate
	return checkRules([]rule{
		{i.Device.ID == r.Device.ID && i.Device.SizeBytes == r.sizeBefore() && i.Device.Identity == r.Device.Identity, "intent and result are of different drives"},
		{i.Job == r.History.Job && i.PlanSHA256 == r.Evidence.PlanSHA256, "intent and result are of different jobs"},
		{i.Simulated == r.Simulated && i.Scope == r.Scope, "intent and result differ in scope"},
		{i.Method == r.Sanitization.Method && i.Technique == r.Sanitization.Technique && i.Scheme == r.Sanitization.Scheme, "the result is not what was intended"},
		{i.Policy == r.Policy && i.Disposition == r.Disposition && i.Category == r.Category, "intent and result are of different policies"},
		{len(r.Signers) == 1 && r.Signers[0] == key, "the signatures are not those that the result names"},
	})
}

func (r *Report) verifyProofs(c Certificate, key ed25519.PublicKey, intent Statement[Intent], result Statement[Result]) error {
	job, drive := intent.Predicate.Job, intent.Predicate.Device.ID
	first, err := verifyProof(c.Proofs[0], key, kindIntent, job, drive, c.Intent)
	if err != nil {
		return fmt.Errorf("proof of the intent: %w", err)
	}
	second, err := verifyProof(c.Proofs[1], key, kindResult, job, drive, c.Result)
	if err != nil {
		return fmt.Errorf("proof of the result: %w", err)
	}
	h := result.Predicate.History
	r.LogSize, r.LogIndex, r.LogLeaf, r.proofs = second.size, second.index, second.hash(), [2]proven{first, second}
	return checkRules([]rule{
		{first.checkpoint == second.checkpoint, "the proofs are of different checkpoints"},
		{first.index < second.index, "the result was logged before its intent"},
		{h.IntentIndex == first.index && h.IntentLeaf == first.leaf, "the intent is not the one that the result names"},
	})
}

type proven struct {
	index, size      int64
	leaf, checkpoint string // leaf is the entry's hash in hex
	entry            leaf
	root             tlog.Hash
}

func verifyProof(text string, key ed25519.PublicKey, kind, job, drive string, e Envelope) (proven, error) {
	var p proof.TLogProof
	if err := p.Unmarshal([]byte(text)); err != nil {
		return proven{}, err
	}
	if string(p.Marshal()) != text || p.ExtraData != nil || p.Index > math.MaxInt32 || len(p.Hashes) > 64 {
		return proven{}, errors.New("not in its one form")
	}
	cp, err := openCheckpoint(p.Checkpoint, key)
	if err != nil {
		return proven{}, err
	}
	l, err := newLeaf(kind, drive, job, e)
	if err != nil {
		return proven{}, err
	}
	data, err := Canonical(l)
	if err != nil {
		return proven{}, err
	}
	hashes := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		hashes[i] = h
	}
	if p.Index >= cp.Size || len(cp.Hash) != tlog.HashSize {
		return proven{}, errors.New("the entry is not in the tree of its checkpoint")
	}
	leaf, root := tlog.RecordHash(data), tlog.Hash(cp.Hash)
	if err := tlog.CheckRecord(hashes, int64(cp.Size), root, int64(p.Index), leaf); err != nil {
		return proven{}, err
	}
	return proven{int64(p.Index), int64(cp.Size), hex.EncodeToString(leaf[:]), string(p.Checkpoint), l, root}, nil
}
