package attest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of a file of root versions.
const (
	maxRootFile     = 64 << 20
	maxRootVersions = 4096
)

// Why a file of root versions is not taken.
var (
	// ErrRootRollback: the file ends before the newest version that is known. Get a newer one.
	ErrRootRollback = errors.New("it ends before the version that is known: an older root in place of a newer one")
	// ErrRootFork: the file has another version of a number that is known. Somebody signed two; ask which, and why.
	ErrRootFork = errors.New("it has another version than the one that is known: the root was forked")
	// ErrRootGap: a version is missing between two. Get a file that has it.
	ErrRootGap = errors.New("a version between them is missing")
	// ErrRootUnsigned: a version does not have enough signatures of the root keys of the one before it, or of its own.
	ErrRootUnsigned = errors.New("it does not have enough signatures")
)

// Roots is a trust root with its whole history: version 1, and each later one, signed by a threshold of the root keys
// of the one before it and by one of its own. What is in it was verified.
type Roots struct {
	versions []rootVersion
}

// rootVersion is one version as it was signed.
type rootVersion struct {
	Root
	envelope Envelope
	payload  []byte
}

// ParseRoots reads all versions of a root: one envelope a line in canonical JSON, from version 1 on. It is for the
// caller to hold Pin against what is known of version 1.
func ParseRoots(data []byte) (*Roots, error) {
	r := &Roots{}
	lines, err := rootLines(data)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		v, err := parseRootVersion(line)
		if err == nil {
			err = r.add(v)
		}
		if err != nil {
			return nil, fmt.Errorf("trust root: %w", err)
		}
	}
	return r, nil
}

func rootLines(data []byte) ([][]byte, error) {
	switch {
	case len(data) > maxRootFile:
		return nil, fmt.Errorf("trust root: %d bytes, at most %d", len(data), maxRootFile)
	case len(data) == 0 || data[len(data)-1] != '\n':
		return nil, errors.New("trust root: it is empty, or its last line is cut off")
	}
	lines := bytes.Split(data[:len(data)-1], []byte("\n"))
	if len(lines) > maxRootVersions {
		return nil, fmt.Errorf("trust root: %d versions, at most %d", len(lines), maxRootVersions)
	}
	return lines, nil
}

// parseRootVersion reads one version, whoever signed it.
func parseRootVersion(line []byte) (rootVersion, error) {
	var v rootVersion
	if err := decodeClosed(line, &v.envelope); err != nil {
		return v, fmt.Errorf("envelope: %w", err)
	}
	if v.envelope.PayloadType != RootPayloadType {
		return v, fmt.Errorf("payload type %q", v.envelope.PayloadType)
	}
	var err error
	if v.payload, err = decodeBase64(v.envelope.Payload); err != nil {
		return v, fmt.Errorf("payload: %w", err)
	}
	if err := decodeClosed(v.payload, &v.Root); err != nil {
		return v, fmt.Errorf("payload: %w", err)
	}
	if err := v.Root.check(); err != nil {
		return v, fmt.Errorf("version %d: %w", v.Version, err)
	}
	return v, nil
}

// add verifies a version against the one before it, and appends it.
func (r *Roots) add(v rootVersion) error {
	before, err := r.place(v)
	if err != nil {
		return err
	}
	signed, err := v.signedBy(before)
	if err != nil {
		return fmt.Errorf("version %d: %w", v.Version, err)
	}
	if missing := v.missing(before, signed); missing != "" {
		return fmt.Errorf("version %d: %w: %s", v.Version, ErrRootUnsigned, missing)
	}
	r.versions = append(r.versions, v)
	return nil
}

// place says which version comes before one, and why it may not come there.
func (r *Roots) place(v rootVersion) (before Root, err error) {
	if len(r.versions) == 0 {
		if v.Version != 1 {
			return Root{}, fmt.Errorf("the first one is version %d: %w", v.Version, ErrRootGap)
		}
		return v.Root, nil
	}
	last := r.versions[len(r.versions)-1]
	return last.Root, v.follows(last)
}

// signedBy checks every signature and says whose they are. A signature that does not fit, two of one key, or one of a
// key that has no say in it make the whole invalid.
func (v rootVersion) signedBy(before Root) (map[string]bool, error) {
	signed, last := map[string]bool{}, ""
	if len(v.envelope.Signatures) > 2*maxRoots {
		return nil, fmt.Errorf("%d signatures, at most %d", len(v.envelope.Signatures), 2*maxRoots)
	}
	for _, s := range v.envelope.Signatures {
		if s.KeyID <= last {
			return nil, errors.New("its signatures are not in the order of their keys, or two are of one key")
		}
		last = s.KeyID
		key, known := v.signer(s.KeyID)
		if !known {
			if key, known = before.signer(s.KeyID); !known {
				return nil, fmt.Errorf("key %.16s… has no say in it, and signed", s.KeyID)
			}
		}
		public, err := key.parse()
		if err != nil {
			return nil, err
		}
		sig, err := decodeBase64(s.Sig)
		if err != nil || !public.verifies(paeOf(RootPayloadType, v.payload), sig) {
			return nil, fmt.Errorf("the signature of key %.16s… does not fit", s.KeyID)
		}
		signed[public.ID] = true
	}
	return signed, nil
}

// missing says how many signatures are missing, and of whom; "" when none is.
func (v rootVersion) missing(before Root, signed map[string]bool) string {
	count := func(r Root) (n int64) {
		for _, k := range r.Roots {
			if signed[k.KeyID] {
				n++
			}
		}
		return n
	}
	var parts []string
	if n := count(v.Root); n < v.Threshold {
		parts = append(parts, fmt.Sprintf("%d of %d by its own root keys", n, v.Threshold))
	}
	if n := count(before); v.Version > 1 && n < before.Threshold {
		parts = append(parts, fmt.Sprintf("%d of %d by those of version %d", n, before.Threshold, before.Version))
	}
	return strings.Join(parts, ", ")
}

// Extend takes newer versions from a file, which may begin with ones that are known. The errors are ErrRootRollback,
// ErrRootFork, ErrRootGap, ErrRootUnsigned, or say what is wrong with the file. What was known stays as it was.
func (r *Roots) Extend(data []byte) (*Roots, error) {
	lines, err := rootLines(data)
	if err != nil {
		return nil, err
	}
	longer := &Roots{slices.Clone(r.versions)}
	last := int64(0)
	for _, line := range lines {
		v, err := parseRootVersion(line)
		if err != nil {
			return nil, fmt.Errorf("trust root: %w", err)
		}
		switch {
		case last != 0 && v.Version != last+1:
			err = fmt.Errorf("version %d comes after version %d: %w", v.Version, last, ErrRootGap)
		case v.Version <= int64(len(r.versions)):
			if known := r.versions[v.Version-1]; !bytes.Equal(known.payload, v.payload) {
				err = fmt.Errorf("version %d: %w", v.Version, ErrRootFork)
			}
		default:
			err = longer.add(v)
		}
		if err != nil {
			return nil, fmt.Errorf("trust root: %w", err)
		}
		last = v.Version
	}
	if last < int64(len(r.versions)) {
		return nil, fmt.Errorf("trust root: version %d, and version %d is known: %w", last, len(r.versions), ErrRootRollback)
	}
	return longer, nil
}

// Pin is the fingerprint of version 1, by which somebody who trusts the whole knows it: the hex SHA-256 of its payload.
func (r *Roots) Pin() string { return fingerprint(r.versions[0].payload) }

// Newest is the version that judges.
func (r *Roots) Newest() Root { return r.versions[len(r.versions)-1].Root }

// Trust is the word of the newest version.
func (r *Roots) Trust() (Trust, error) {
	root := r.Newest()
	t := Trust{roles: map[string]string{}, keys: map[string]Public{}, root: &root}
	for _, k := range root.Keys {
		key, err := PublicKey{k.KeyID, k.SPKI}.parse()
		if err != nil {
			return Trust{}, err
		}
		t.roles[key.ID], t.keys[key.ID] = k.Role, key
	}
	for _, l := range root.Logs {
		key, err := PublicKey{l.Keys[0], l.SPKI}.parse()
		if err != nil {
			return Trust{}, err
		}
		// What has no place in the log, such as a summary, is believed of a key that was never revoked.
		if _, revoked := root.revocation(key.ID); !revoked {
			t.roles[key.ID], t.keys[key.ID] = RoleLog, key
		}
	}
	return t, nil
}

// Bytes is the file that ParseRoots reads.
func (r *Roots) Bytes() ([]byte, error) {
	var all []byte
	for _, v := range r.versions {
		line, err := Canonical(v.envelope)
		if err != nil {
			return nil, err
		}
		all = append(append(all, line...), '\n')
	}
	return all, nil
}
