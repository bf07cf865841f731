package attest

import (
	"errors"
	"fmt"
	"slices"
)

// RootEntrySchema names the format in which a host hands its public keys to whoever keeps a root.
const RootEntrySchema = "https://github.com/expunge-dev/expunge/root-entry/v1"

// RootEntry is what a host exports of its keys and its log. Nobody signed it: who takes it into a root must know where it
// is from.
type RootEntry struct {
	Keys   []RootKey `json:"keys"`
	Log    RootLog   `json:"log"`
	Schema string    `json:"schema"`
	Size   int64     `json:"size"` // entries of the log when it was exported
}

// NewRootEntry is the entry of a host's key and log.
func NewRootEntry(k *Key, log LogPublic, size int64) ([]byte, error) {
	e := k.entry()
	data, err := Canonical(RootEntry{
		Keys: []RootKey{{KeyID: e.KeyID, Role: k.Role, SPKI: e.SPKI}}, Log: RootLog{[]string{log.Ed25519.ID, log.MLDSA44.ID}, log.Origin, log.Ed25519.entry().SPKI}, Schema: RootEntrySchema, Size: size,
	})
	return append(data, '\n'), err
}

// ParseRootEntry reads what a host exported, or public keys in PEM, which have no log. A role is for keys in PEM that
// do not say theirs.
func ParseRootEntry(data []byte, role string) (RootEntry, error) {
	if len(data) > 0 && data[0] != '{' {
		return rootEntryOfPEM(data, role)
	}
	var e RootEntry
	if len(data) == 0 || data[len(data)-1] != '\n' {
		return e, errors.New("it is empty, or its last line is cut off")
	}
	if err := decodeClosed(data[:len(data)-1], &e); err != nil {
		return e, err
	}
	if e.Schema != RootEntrySchema {
		return e, fmt.Errorf("schema %q is not known to this program", e.Schema)
	}
	return e, nil // Edit checks what becomes of it
}

func rootEntryOfPEM(data []byte, role string) (RootEntry, error) {
	e := RootEntry{Schema: RootEntrySchema}
	trust, err := ParseTrust(data)
	if err != nil {
		return e, err
	}
	for _, k := range trust.Keys() {
		p := k.entry()
		switch {
		case k.Role == "" && role == "":
			return e, fmt.Errorf("key %.16s… does not say its role", k.ID)
		case k.Role == "":
			k.Role = role
		case role != "" && role != k.Role:
			return e, fmt.Errorf("key %.16s… says that it is of the role %s", k.ID, k.Role)
		}
		e.Keys = append(e.Keys, RootKey{KeyID: p.KeyID, Role: k.Role, SPKI: p.SPKI})
	}
	return e, nil
}

// Add puts keys and log of an entry into a root.
func (r *Root) Add(e RootEntry, from *Bound) error {
	for _, k := range e.Keys {
		if _, there := r.key(k.KeyID); there || slices.ContainsFunc(r.Keys, func(have RootKey) bool { return have.KeyID == k.KeyID }) {
			return fmt.Errorf("key %.16s… is in the root already", k.KeyID)
		}
		if from != nil {
			k.From = from
		}
		r.Keys = append(r.Keys, k)
	}
	if e.Log.Origin != "" && !slices.ContainsFunc(r.Logs, func(have RootLog) bool { return have.Origin == e.Log.Origin }) {
		r.Logs = append(r.Logs, e.Log)
	}
	return nil
}

// Retire ends the use of a key at a bound: what it vouched for before stays good.
func (r *Root) Retire(id string, until Bound) error {
	i := slices.IndexFunc(r.Keys, func(k RootKey) bool { return k.KeyID == id })
	if i < 0 {
		return fmt.Errorf("key %.16s… is not in the root", id)
	}
	r.Keys[i].Until = &until
	return nil
}

// Revoke takes the word of a key back, from a bound on or altogether. What was revoked before is never taken less of.
func (r *Root) Revoke(id, reason string, since *Bound) error {
	v := Revocation{id, reason, since}
	i := slices.IndexFunc(r.Revocations, func(have Revocation) bool { return have.KeyID == id })
	if i >= 0 {
		r.Revocations[i] = v
		return nil
	}
	r.Revocations = append(r.Revocations, v)
	return nil
}

// AddSigner and RemoveSigner change who signs the next versions.
func (r *Root) AddSigner(k Public) { r.Roots = append(r.Roots, k.entry()) }

// RemoveSigner takes a root key out.
func (r *Root) RemoveSigner(id string) error {
	n := len(r.Roots)
	r.Roots = slices.DeleteFunc(r.Roots, func(k PublicKey) bool { return k.KeyID == id })
	if len(r.Roots) == n {
		return fmt.Errorf("key %.16s… does not sign the root", id)
	}
	return nil
}
