package attest

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Trust is the set of keys whose word is taken, by key id. Where they come from is the verifier's
// business: never from the certificate.
type Trust struct {
	roles map[string]string // key id to role, "" where none is given
	keys  map[string]Public
	// Self says that these are the own keys of the state that issued: it proves consistency, and
	// nothing to anybody else.
	Self bool
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
func (t Trust) Empty() bool { return len(t.roles) == 0 }

// trusts says whether a key's word is taken for a statement that is, or is not, a simulation.
func (t Trust) trusts(id string, simulated bool) bool {
	role, known := t.roles[id]
	return known && (role == "" || (role == RoleSimulation) == simulated)
}
