// Package access says who somebody is that connects to an agent, and what they may do.
//
// Who they are comes from the kernel (a Unix socket) or from a certificate that the connection was made with
// (TLS), never from anything that a request says. Whoever no entry speaks of has no roles.
package access

import (
	"errors"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/expunge-dev/expunge/agent/api"
)

// Entry gives roles to one user, one group or one certificate: exactly one of its first five members is set.
type Entry struct {
	UID   *uint32 `yaml:"uid" json:"uid,omitempty"`
	User  string  `yaml:"user" json:"user,omitempty"` // by name, looked up when the rules are made
	GID   *uint32 `yaml:"gid" json:"gid,omitempty"`
	Group string  `yaml:"group" json:"group,omitempty"` // by name, looked up when the rules are made
	// Certificate is a client's URI ("spiffe://site/operators"), compared whole, or "CN=" and its common name, which counts only
	// of certificates without a URI.
	Certificate string     `yaml:"certificate" json:"certificate,omitempty"`
	Roles       []api.Role `yaml:"roles" json:"roles"`
}

// Rules say what somebody may do. The zero value and nil give nobody anything.
type Rules struct {
	uids, gids   map[uint32][]api.Role
	certificates map[string][]api.Role
}

// New makes rules of entries. Roles of several that fit are put together.
func New(entries []Entry) (*Rules, error) {
	r := &Rules{map[uint32][]api.Role{}, map[uint32][]api.Role{}, map[string][]api.Role{}}
	for i, e := range entries {
		if err := r.add(e); err != nil {
			return nil, fmt.Errorf("access entry %d: %w", i+1, err)
		}
	}
	return r, nil
}

func (r *Rules) add(e Entry) error {
	if len(e.Roles) == 0 {
		return errors.New("roles: none are given")
	}
	for _, role := range e.Roles {
		if !slices.Contains(api.Roles, role) {
			return fmt.Errorf("role %q: there are read, operate and approve", role)
		}
	}
	set := 0
	for _, is := range []bool{e.UID != nil, e.User != "", e.GID != nil, e.Group != "", e.Certificate != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		return errors.New("give one of uid, user, gid, group and certificate")
	}
	switch {
	case e.UID != nil && *e.UID > maxID, e.GID != nil && *e.GID > maxID:
		return fmt.Errorf("uid and gid are at most %d: the next one stands for nobody", uint32(maxID))
	case e.UID != nil:
		give(r.uids, *e.UID, e.Roles)
		return nil
	case e.GID != nil:
		give(r.gids, *e.GID, e.Roles)
		return nil
	case e.User != "":
		u, err := user.Lookup(e.User)
		if err != nil {
			return fmt.Errorf("user %q: %w", e.User, err)
		}
		return giveNamed(r.uids, u.Uid, e.Roles)
	case e.Group != "":
		g, err := user.LookupGroup(e.Group)
		if err != nil {
			return fmt.Errorf("group %q: %w", e.Group, err)
		}
		return giveNamed(r.gids, g.Gid, e.Roles)
	}
	if name, is := strings.CutPrefix(e.Certificate, "CN="); is && name == "" || !is && !strings.Contains(e.Certificate, ":") {
		return fmt.Errorf("certificate %q: give its URI, or CN= and its common name", e.Certificate)
	}
	if err := checkCertificate(e.Certificate); err != nil {
		return fmt.Errorf("certificate %q: %w", e.Certificate, err)
	}
	give(r.certificates, e.Certificate, e.Roles)
	return nil
}

func give[K comparable](to map[K][]api.Role, who K, roles []api.Role) {
	to[who] = merge(to[who], roles)
}

func giveNamed(to map[uint32][]api.Role, id string, roles []api.Role) error {
	n, err := strconv.ParseUint(id, 10, 32)
	if err != nil {
		return fmt.Errorf("id %q: %w", id, err)
	}
	give(to, uint32(n), roles)
	return nil
}

// merge puts roles together, in the order of api.Roles.
func merge(a, b []api.Role) []api.Role {
	var all []api.Role
	for _, role := range api.Roles {
		if slices.Contains(a, role) || slices.Contains(b, role) {
			all = append(all, role)
		}
	}
	return all
}
