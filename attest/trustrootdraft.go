package attest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RootDraft is a root whose last version may still be without signatures. It is what those who keep a root work on and
// send each other; as soon as the last version has the signatures that it needs, its file is that of Roots.
type RootDraft struct {
	done  Roots        // verified
	draft *rootVersion // nil: there is none
	// Dropped is how many signatures an edit made worthless, and removed.
	Dropped int
}

// NewRootDraft is version 1: root keys, and how many of them sign.
func NewRootDraft(keys []Public, threshold int64) (*RootDraft, error) {
	r := Root{Schema: RootSchema, Version: 1, Threshold: threshold, Cosigners: []string{}, Keys: []RootKey{}, Logs: []RootLog{}, Revocations: []Revocation{}, Roots: []PublicKey{}}
	d := &RootDraft{draft: &rootVersion{Root: r}}
	return d, d.Edit(func(r *Root) error {
		for _, k := range keys {
			r.Roots = append(r.Roots, k.entry())
		}
		return nil
	})
}

// ParseRootDraft reads a file of root versions of which the last one may lack signatures. Those that it has fit.
func ParseRootDraft(data []byte) (*RootDraft, error) {
	lines, err := rootLines(data)
	if err != nil {
		return nil, err
	}
	d := &RootDraft{}
	for i, line := range lines {
		v, err := parseRootVersion(line)
		if err != nil {
			return nil, fmt.Errorf("trust root: %w", err)
		}
		err = d.done.add(v)
		if errors.Is(err, ErrRootUnsigned) && i == len(lines)-1 {
			d.draft, err = &v, nil
		}
		if err != nil {
			return nil, fmt.Errorf("trust root: %w", err)
		}
	}
	return d, nil
}

// Root is the last version, whether it has its signatures or not.
func (d *RootDraft) Root() Root {
	if d.draft != nil {
		return d.draft.Root
	}
	return d.done.Newest()
}

// Pin is the fingerprint of version 1, which does not depend on who signed it yet.
func (d *RootDraft) Pin() string {
	if len(d.done.versions) == 0 {
		return fingerprint(d.draft.payload)
	}
	return d.done.Pin()
}

// Missing says which signatures the last version lacks; "" when it lacks none.
func (d *RootDraft) Missing() (string, error) {
	if d.draft == nil {
		return "", nil
	}
	before, err := d.done.place(*d.draft)
	if err != nil {
		return "", err
	}
	signed, err := d.draft.signedBy(before)
	return d.draft.missing(before, signed), err
}

// SignedBy are the ids of the keys that signed the last version.
func (d *RootDraft) SignedBy() []string {
	last := d.draft
	if last == nil {
		last = &d.done.versions[len(d.done.versions)-1]
	}
	return ids(append([]Signature{}, last.envelope.Signatures...), func(s Signature) string { return s.KeyID })
}

// Edit changes the draft, or begins the next version when there is none. Signatures of the draft as it was are
// dropped: nobody signed what it becomes.
func (d *RootDraft) Edit(change func(*Root) error) error {
	var r Root
	dropped := 0
	if d.draft == nil {
		last := d.done.versions[len(d.done.versions)-1]
		r = last.Root
		r.Version, r.Previous = r.Version+1, fingerprint(last.payload)
	} else {
		r, dropped = d.draft.Root, len(d.draft.envelope.Signatures)
	}
	r.Roots, r.Keys, r.Logs, r.Revocations, r.Cosigners = slices.Clone(r.Roots), slices.Clone(r.Keys), slices.Clone(r.Logs), slices.Clone(r.Revocations), slices.Clone(r.Cosigners)
	if err := change(&r); err != nil {
		return err
	}
	slices.SortFunc(r.Roots, func(a, b PublicKey) int { return strings.Compare(a.KeyID, b.KeyID) })
	slices.SortFunc(r.Keys, func(a, b RootKey) int { return strings.Compare(a.KeyID, b.KeyID) })
	slices.SortFunc(r.Logs, func(a, b RootLog) int { return strings.Compare(a.Origin, b.Origin) })
	slices.SortFunc(r.Revocations, func(a, b Revocation) int { return strings.Compare(a.KeyID, b.KeyID) })
	slices.Sort(r.Cosigners)
	payload, err := Canonical(r)
	if err != nil {
		return err
	}
	v := rootVersion{Root: r, payload: payload, envelope: Envelope{Payload: base64.StdEncoding.EncodeToString(payload), PayloadType: RootPayloadType, Signatures: []Signature{}}}
	if err := r.check(); err != nil {
		return fmt.Errorf("version %d: %w", r.Version, err)
	}
	if _, err := d.done.place(v); err != nil {
		return err
	}
	d.draft, d.Dropped = &v, dropped
	return nil
}

// Sign adds the signature of a root key, of the version or of the one before it.
func (d *RootDraft) Sign(k *Key) error {
	if d.draft == nil {
		return fmt.Errorf("version %d has its signatures", d.Root().Version)
	}
	sig, err := k.Sign(paeOf(RootPayloadType, d.draft.payload))
	if err != nil {
		return err
	}
	return d.take([]Signature{{k.ID, base64.StdEncoding.EncodeToString(sig)}})
}

// Join takes the signatures of the same draft from a copy that was signed elsewhere.
func (d *RootDraft) Join(other *RootDraft) error {
	if d.draft == nil {
		return fmt.Errorf("version %d has its signatures", d.Root().Version)
	}
	from := other.draft
	if from == nil {
		from = &other.done.versions[len(other.done.versions)-1]
	}
	if !bytes.Equal(from.payload, d.draft.payload) {
		return fmt.Errorf("it is of version %d, and not the same draft", from.Version)
	}
	return d.take(from.envelope.Signatures)
}

func (d *RootDraft) take(list []Signature) error {
	v := *d.draft
	v.envelope.Signatures = slices.Clone(v.envelope.Signatures)
	for _, s := range list {
		if !slices.ContainsFunc(v.envelope.Signatures, func(have Signature) bool { return have.KeyID == s.KeyID }) {
			v.envelope.Signatures = append(v.envelope.Signatures, s)
		}
	}
	slices.SortFunc(v.envelope.Signatures, func(a, b Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	before, err := d.done.place(v)
	if err != nil {
		return err
	}
	if _, err := v.signedBy(before); err != nil {
		return err
	}
	d.draft = &v
	return nil
}

// Bytes is the file that ParseRootDraft reads.
func (d *RootDraft) Bytes() ([]byte, error) {
	all := Roots{slices.Clone(d.done.versions)}
	if d.draft != nil {
		all.versions = append(all.versions, *d.draft)
	}
	return all.Bytes()
}
