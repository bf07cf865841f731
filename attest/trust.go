package attest

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The codes of reasons why a key's word is not taken. They are stable, and findings of an audit have the same.
const (
	ReasonUntrustedKey = "untrusted_key"      // nobody whom the verifier trusts named it, or for another role
	ReasonKeyRevoked   = "key_revoked"        // the trust root takes its word back from this place in the log, or this time, on
	ReasonKeyNotThen   = "key_not_valid_then" // the trust root gives it another span of the log, or of time
	ReasonUntrustedLog = "untrusted_log"      // the trust root lists the logs, and this one, or its keys, are not among them
)

// Trust is the set of keys whose word is taken, by key id: public keys in PEM, whose word is taken for ever, or
// a trust root, which says from where to where. Where they come from is the verifier's business: never from
// the certificate.
type Trust struct {
	roles map[string]string // key id to role, "" where none is given
	keys  map[string]Public
	root  *Root // nil: of PEM
	// Self says that these are the own keys of the state that issued: it proves consistency, and
	// nothing to anybody else.
	Self bool
}

// signing is one use of a key, or of a session that it vouches for: what there is to know when it is asked whether
// the key's word is taken.
type signing struct {
	key, role string
	log       LogPublic
	index     int64  // of the entry
	time      string // claimed by who signed, RFC 3339
}

func roleOf(simulated bool) string {
	if simulated {
		return RoleSimulation
	}
	return RoleHost
}

// ParseTrust reads public keys in PEM. A line "# expunge ROLE key …" before a key limits it to
// that role.
func ParseTrust(data []byte) (Trust, error) {
	t := Trust{roles: map[string]string{}, keys: map[string]Public{}}
	if len(data) > MaxSize {
		return t, fmt.Errorf("trust file of %d bytes, at most %d", len(data), MaxSize)
	}
	for rest := data; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			if bytes.Contains(rest, []byte("-----BEGIN")) {
				return Trust{}, errors.New("trust file: a PEM block is damaged")
			}
			break
		}
		if block.Type != "PUBLIC KEY" {
			return Trust{}, fmt.Errorf("trust file: it holds a %q, want public keys only", block.Type)
		}
		key, err := ParsePublic(block.Bytes)
		if err != nil {
			return Trust{}, fmt.Errorf("trust file: %w", err)
		}
		t.roles[key.ID], t.keys[key.ID] = roleBefore(rest[:len(rest)-len(after)]), key
		rest = after
	}
	if len(t.roles) == 0 {
		return Trust{}, errors.New("trust file: it holds no public key")
	}
	return t, nil
}

func roleBefore(text []byte) string {
	role := ""
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 4 && fields[0] == "#" && fields[1] == "expunge" && fields[3] == "key" {
			role = fields[2]
		}
	}
	return role
}

// TrustKey trusts one key of this process, as Self.
func TrustKey(k *Key) Trust {
	return Trust{roles: map[string]string{k.ID: k.Role}, keys: map[string]Public{k.ID: k.Public}, Self: true}
}

// Empty says that it is nobody's word.
func (t Trust) Empty() bool { return len(t.roles) == 0 && t.root == nil }

// TrustedKey is a public key and what its word is taken for.
type TrustedKey struct {
	Public
	Role string // "" where none is given
}

// Keys lists what is trusted, by id.
func (t Trust) Keys() []TrustedKey {
	list := []TrustedKey{}
	for _, id := range slices.Sorted(maps.Keys(t.keys)) {
		list = append(list, TrustedKey{t.keys[id], t.roles[id]})
	}
	return list
}

// Cosigners are the verifier keys (c2sp.org/signed-note) of witnesses that a trust root names.
func (t Trust) Cosigners() []string {
	if t.root == nil {
		return nil
	}
	return slices.Clone(t.root.Cosigners)
}

// trusts says whether a key's word is taken.
func (t Trust) trusts(s signing) bool { return t.judge(s) == nil }

// judge says why a key's word is not taken. The reason is nil when it is.
func (t Trust) judge(s signing) *Reason {
	if t.root != nil {
		return t.root.judge(s)
	}
	role, known := t.roles[s.key]
	switch {
	case !known:
		return &Reason{ReasonUntrustedKey, "signed by key " + s.key + ", which is not among the trusted ones",
			"get the issuer's public key from the issuer and pass it with --trust"}
	case role != "" && role != s.role:
		return &Reason{ReasonUntrustedKey, fmt.Sprintf("signed by key %s as %s, and it is trusted as %s only", s.key, s.role, role),
			"simulations, real drives and validators have keys of their own"}
	}
	return nil
}

// judgeAll says what is against several uses of keys, each thing once for a key.
func (t Trust) judgeAll(list []signing) []Reason {
	var reasons []Reason
	var said [][2]string
	for _, s := range list {
		if r := t.judge(s); r != nil && !slices.Contains(said, [2]string{r.Code, s.key}) {
			said = append(said, [2]string{r.Code, s.key})
			reasons = append(reasons, *r)
		}
	}
	return reasons
}
