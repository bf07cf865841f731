package access

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"os/user"
	"slices"
	"strconv"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/peercred"
)

// Unix is who connected to a Unix socket: the user, with the roles of its own, of the group that it connected as, and of those
// that the system's files say it is in. Where these cannot be read, they give it nothing.
func (r *Rules) Unix(c peercred.Credentials) api.Principal {
	uid, gid := strconv.FormatUint(uint64(c.UID), 10), strconv.FormatUint(uint64(c.GID), 10)
	groups := []string{gid}
	if u, err := user.LookupId(uid); err == nil {
		if more, err := u.GroupIds(); err == nil {
			groups = append(groups, more...)
		}
	}
	slices.Sort(groups)
	p := api.Principal{Name: "uid:" + uid, Via: "unix"}
	if r != nil {
		p.Roles = r.uids[c.UID]
	}
	for _, g := range slices.Compact(groups) {
		n, err := strconv.ParseUint(g, 10, 32)
		if err != nil {
			continue // names no group that a rule could
		}
		p.Groups = append(p.Groups, "gid:"+g)
		if r != nil {
			p.Roles = merge(p.Roles, r.gids[uint32(n)])
		}
	}
	return p
}

// Certificate is who made a TLS connection with a certificate that was verified. It is named by its URI, or where it has none by
// its common name. One with several of what names it could be any of them, and has no roles (of URIs as in SPIFFE's X.509-SVID 4.1).
func (r *Rules) Certificate(c *x509.Certificate) api.Principal {
	p := api.Principal{Via: "tls"}
	switch {
	case len(c.URIs) == 1:
		p.Name = c.URIs[0].String()
	case len(c.URIs) > 1:
		p.Name = fmt.Sprintf("cert:%s, one of %d URIs", c.URIs[0], len(c.URIs))
		return p
	case commonNames(c) > 1: // of which the last is taken for the name
		p.Name = fmt.Sprintf("cert:CN=%s, one of %d common names", c.Subject.CommonName, commonNames(c))
		return p
	case c.Subject.CommonName != "":
		p.Name = "CN=" + c.Subject.CommonName
	default:
		p.Name = fmt.Sprintf("cert:serial number %x, without a name", c.SerialNumber)
		return p
	}
	if r != nil {
		p.Roles = r.certificates[p.Name]
	}
	p.Name = "cert:" + p.Name
	return p
}

func commonNames(c *x509.Certificate) (n int) {
	for _, x := range c.Subject.Names {
		if x.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 3}) {
			n++
		}
	}
	return n
}
