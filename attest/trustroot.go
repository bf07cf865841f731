package attest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RootSchema names the format of a trust root.
const RootSchema = "https://github.com/expunge-dev/expunge/root/v1"

// RootPayloadType is the type of a trust root's payload in its envelope.
const RootPayloadType = "application/vnd.expunge.root+json"

// RoleRoot is of keys that sign trust roots and nothing else.
const RoleRoot = "root"

// RoleValidator is of keys by which people accept or reject what was done.
const RoleValidator = "validator"

// maxRoots bounds the keys that sign a root.
const maxRoots = 32

// Root is one version of a trust root: whose word a site takes, from where in their logs to where. It has no date of
// its own: a certificate of ten years ago is judged by the newest version, at the place where it stands in its log.
type Root struct {
	Cosigners   []string     `json:"cosigners"`          // verifier keys of witnesses, ascending
	Keys        []RootKey    `json:"keys"`               // by id
	Logs        []RootLog    `json:"logs"`               // by origin; where there is one, no other log is taken
	Previous    string       `json:"previous,omitempty"` // hex SHA-256 of the payload of the version before
	Revocations []Revocation `json:"revocations"`        // by key id; one stays in all later versions
	Roots       []PublicKey  `json:"roots"`              // by id: who signs this version, and the next
	Schema      string       `json:"schema"`
	Threshold   int64        `json:"threshold"` // how many of them
	Version     int64        `json:"version"`   // from 1, without gaps
}

// RootKey is a key whose word is taken in one role.
type RootKey struct {
	From  *Bound `json:"from,omitempty"` // its first use
	KeyID string `json:"keyid"`
	Role  string `json:"role"` // RoleHost, RoleSimulation or RoleValidator
	SPKI  string `json:"spki"`
	Until *Bound `json:"until,omitempty"` // its first use no more
}

// Bound is a place in one log, a time, or both. A key with a bound in a log is of that log alone. A time is what
// hosts claim; an index cannot be claimed.
type Bound struct {
	Index  *int64 `json:"index,omitempty"`
	Origin string `json:"origin,omitempty"` // of the log that Index is of
	Time   string `json:"time,omitempty"`   // RFC 3339, UTC, seconds
}

// RoleLog is of the Ed25519 key of a log, by which it signs checkpoints and summaries.
const RoleLog = "log"

// RootLog is a log: the ids of its Ed25519 and its ML-DSA-44 key, and the first of them itself, for summaries.
// Certificates carry both.
type RootLog struct {
	Keys   []string `json:"keys"`
	Origin string   `json:"origin"`
	SPKI   string   `json:"spki"` // of the Ed25519 key
}

// Revocation takes the word of a key back: of a host, a validator or a log.
type Revocation struct {
	KeyID  string `json:"keyid"`
	Reason string `json:"reason"`
	Since  *Bound `json:"since,omitempty"` // nothing at or after it counts; without it, nothing at all
}

func (b *Bound) check() error {
	if b == nil {
		return nil
	}
	id := strings.TrimPrefix(b.Origin, origin(""))
	return checkRules([]rule{
		{(b.Index != nil) == (b.Origin != ""), "a bound has an index without its log, or a log without an index"},
		{b.Index != nil || b.Time != "", "a bound says nothing"},
		{b.Index == nil || *b.Index >= 0 && b.Origin == origin(id) && isHash(id), "a bound is of no log"},
		{optional(b.Time, isTime), "the time of a bound is not UTC in seconds"},
	})
}

// passed says whether a use of a key is at or after the bound. What is in another log than the bound's has no place
// before it.
func (b *Bound) passed(s signing) bool {
	if b.Origin != "" && (s.log.Origin != b.Origin || s.index >= *b.Index) {
		return true
	}
	return b.Time != "" && s.time >= b.Time
}

// reached says whether a use of a key is not before the bound.
func (b *Bound) reached(s signing) bool {
	if b.Origin != "" && (s.log.Origin != b.Origin || s.index < *b.Index) {
		return false
	}
	return b.Time == "" || s.time >= b.Time
}

// before says whether a bound leaves no more than another, and so takes at least as much away.
func (b *Bound) before(other *Bound) bool {
	switch {
	case b == nil:
		return true
	case other == nil:
		return false
	}
	if other.Origin != "" && (b.Origin != other.Origin || *b.Index > *other.Index) {
		return false
	}
	return other.Time == "" || b.Time != "" && b.Time <= other.Time
}

func (r Root) check() error {
	for _, rule := range []struct {
		what string
		list []string
	}{{"roots", ids(r.Roots, func(k PublicKey) string { return k.KeyID })}, {"keys", ids(r.Keys, func(k RootKey) string { return k.KeyID })},
		{"logs", ids(r.Logs, func(l RootLog) string { return l.Origin })}, {"revocations", ids(r.Revocations, func(v Revocation) string { return v.KeyID })}, {"cosigners", r.Cosigners}} {
		if rule.list == nil {
			return fmt.Errorf("the %s are missing", rule.what)
		}
		for i := 1; i < len(rule.list); i++ {
			if rule.list[i] <= rule.list[i-1] {
				return fmt.Errorf("the %s are not in order, or one is there twice", rule.what)
			}
		}
	}
	if err := checkRules([]rule{
		{r.Schema == RootSchema, "its schema is not known to this program"},
		{r.Version >= 1, "its version is not a number from 1"},
		{(r.Version == 1) == (r.Previous == "") && optional(r.Previous, isHash), "it does not name the version before it, or version 1 names one"},
		{len(r.Roots) <= maxRoots, "it has more root keys than there can be"},
		{r.Threshold >= 1 && r.Threshold <= int64(len(r.Roots)), "its threshold is not between 1 and the number of its root keys"},
	}); err != nil {
		return err
	}
	for _, k := range r.Roots {
		if err := signs(k); err != nil {
			return err
		}
	}
	for _, k := range r.Keys {
		if err := errors.Join(signs(PublicKey{k.KeyID, k.SPKI}), k.From.check(), k.Until.check()); err != nil {
			return fmt.Errorf("key %.16s…: %w", k.KeyID, err)
		}
		if _, ok := r.signer(k.KeyID); ok {
			return fmt.Errorf("key %.16s… signs roots, and can have no other role", k.KeyID)
		}
		if !slices.Contains([]string{RoleHost, RoleSimulation, RoleValidator}, k.Role) {
			return fmt.Errorf("key %.16s… has the role %q, which is none", k.KeyID, k.Role)
		}
	}
	return r.checkRest()
}

func (r Root) checkRest() error {
	for _, l := range r.Logs {
		if len(l.Keys) != 2 || !isHash(l.Keys[0]) || !isHash(l.Keys[1]) || l.Origin != origin(l.Keys[0]) {
			return fmt.Errorf("log %q: its keys are not two, or not those of its origin", l.Origin)
		}
		if key, err := (PublicKey{l.Keys[0], l.SPKI}).parse(); err != nil || key.Alg != Ed25519 {
			return fmt.Errorf("log %.28s…: it does not have its Ed25519 key", l.Origin)
		}
	}
	for _, v := range r.Revocations {
		if err := v.Since.check(); err != nil {
			return fmt.Errorf("revocation of key %.16s…: %w", v.KeyID, err)
		}
		if !isHash(v.KeyID) || v.Reason == "" || len(v.Reason) > 200 || !isASCII(v.Reason) {
			return errors.New("a revocation is of no key, or without a reason of at most 200 printable ASCII characters")
		}
		if _, ok := r.signer(v.KeyID); ok {
			return fmt.Errorf("key %.16s… signs roots: it is taken out of them, not revoked", v.KeyID)
		}
	}
	for _, c := range r.Cosigners {
		if _, err := cosignerKey(c); err != nil || !isASCII(c) {
			return fmt.Errorf("cosigner %q is no verifier key of a cosigner", c)
		}
	}
	return nil
}

// signs says whether a key is one that can sign statements.
func signs(k PublicKey) error {
	p, err := k.parse()
	if err == nil && p.Alg == MLDSA44 {
		err = errors.New("an ML-DSA-44 key signs checkpoints only")
	}
	return err
}

func ids[T any](list []T, id func(T) string) []string {
	if list == nil {
		return nil
	}
	all := make([]string, len(list))
	for i, x := range list {
		all[i] = id(x)
	}
	return all
}

// signer is the root key of an id.
func (r Root) signer(id string) (PublicKey, bool) {
	i, found := slices.BinarySearchFunc(r.Roots, id, func(k PublicKey, id string) int { return strings.Compare(k.KeyID, id) })
	if !found {
		return PublicKey{}, false
	}
	return r.Roots[i], true
}

func (r Root) key(id string) (RootKey, bool) {
	i, found := slices.BinarySearchFunc(r.Keys, id, func(k RootKey, id string) int { return strings.Compare(k.KeyID, id) })
	if !found {
		return RootKey{}, false
	}
	return r.Keys[i], true
}

func (r Root) revocation(id string) (Revocation, bool) {
	i, found := slices.BinarySearchFunc(r.Revocations, id, func(v Revocation, id string) int { return strings.Compare(v.KeyID, id) })
	if !found {
		return Revocation{}, false
	}
	return r.Revocations[i], true
}

func (r Root) log(origin string) (RootLog, bool) {
	i, found := slices.BinarySearchFunc(r.Logs, origin, func(l RootLog, origin string) int { return strings.Compare(l.Origin, origin) })
	if !found {
		return RootLog{}, false
	}
	return r.Logs[i], true
}

func (r Root) revoked(id string, s signing) *Reason {
	v, revoked := r.revocation(id)
	if !revoked || v.Since != nil && !v.Since.passed(s) {
		return nil
	}
	return &Reason{ReasonKeyRevoked, fmt.Sprintf("key %s was revoked: %s; nothing of it counts %s, and this is entry %d of its log, signed at %s", id, v.Reason, v.Since.words("at or after"), s.index, s.time),
		"treat the drive as holding data until its issuer says otherwise"}
}

func (b *Bound) words(how string) string {
	if b == nil {
		return "at any time"
	}
	var parts []string
	if b.Origin != "" {
		parts = append(parts, fmt.Sprintf("%s entry %d of log %.28s… or in another log", how, *b.Index, b.Origin))
	}
	if b.Time != "" {
		parts = append(parts, how+" "+b.Time)
	}
	return strings.Join(parts, ", nor ")
}

// judge says why a key's word is not taken at a place in its log.
func (r Root) judge(s signing) *Reason {
	if reason := r.revoked(s.key, s); reason != nil {
		return reason
	}
	k, known := r.key(s.key)
	switch {
	case !known:
		return &Reason{ReasonUntrustedKey, fmt.Sprintf("signed by key %s, which version %d of the trust root does not have", s.key, r.Version), "ask whoever keeps the root: a newer version may have it"}
	case k.Role != s.role:
		return &Reason{ReasonUntrustedKey, fmt.Sprintf("signed by key %s as %s, and the trust root has it as %s", s.key, s.role, k.Role), "simulations, real drives and validators have keys of their own"}
	case k.From != nil && !k.From.reached(s), k.Until != nil && k.Until.passed(s):
		return &Reason{ReasonKeyNotThen, fmt.Sprintf("key %s was not in use then: this is entry %d of log %.28s…, signed at %s", s.key, s.index, s.log.Origin, s.time), "a retired key vouches for nothing later"}
	}
	for _, id := range []string{s.log.Ed25519.ID, s.log.MLDSA44.ID} {
		if reason := r.revoked(id, s); reason != nil {
			return reason
		}
	}
	l, listed := r.log(s.log.Origin)
	if len(r.Logs) == 0 || listed && l.Keys[0] == s.log.Ed25519.ID && l.Keys[1] == s.log.MLDSA44.ID {
		return nil
	}
	return &Reason{ReasonUntrustedLog, fmt.Sprintf("log %s is not among those of the trust root, or has other keys", s.log.Origin), "a key that was copied can write a log of its own: ask whoever keeps the root"}
}

// Standing is how the root stands to a key now, at the end of a log: "valid", "retired", "revoked", "not yet" or "unknown".
func (r Root) Standing(id string, log LogPublic, size int64, now string) string {
	s := signing{key: id, log: log, index: size, time: now}
	k, known := r.key(id)
	switch {
	case r.revoked(id, s) != nil:
		return "revoked"
	case !known:
		return "unknown"
	case k.Until != nil && k.Until.passed(s):
		return "retired"
	case k.From != nil && !k.From.reached(s):
		return "not yet"
	}
	return "valid"
}

// follows says why this version may not come after another one.
func (r Root) follows(before rootVersion) error {
	if r.Version != before.Version+1 {
		return fmt.Errorf("version %d comes after version %d: %w", r.Version, before.Version, ErrRootGap)
	}
	if r.Previous != fingerprint(before.payload) {
		return fmt.Errorf("version %d comes after another version %d: %w", r.Version, before.Version, ErrRootFork)
	}
	for _, v := range before.Revocations {
		if now, still := r.revocation(v.KeyID); !still || !now.Since.before(v.Since) {
			return fmt.Errorf("version %d takes the revocation of key %.16s… back, or a part of it", r.Version, v.KeyID)
		}
	}
	return nil
}

// fingerprint is what version 1 is pinned by: the hex SHA-256 of its payload.
func fingerprint(payload []byte) string { return hexSHA256(payload) }

// IsFingerprint says whether a text is a hex SHA-256.
func IsFingerprint(s string) bool {
	return isHash(s)
}

// bounds says whether the root takes the word of any key for less than all that it ever signed.
func (r *Root) bounds() bool {
	return len(r.Revocations) > 0 || slices.ContainsFunc(r.Keys, func(k RootKey) bool { return k.From != nil || k.Until != nil })
}
