package access

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/url"
	"os/user"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

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

// maxID is the largest number of a user or group: the one after it is the kernel's (uid_t)-1, which stands for none.
const maxID = 1<<32 - 2

// named is what the name of somebody who asks looks like.
var named = regexp.MustCompile(`^(uid:[0-9]+|cert:CN=.+|cert:[A-Za-z][A-Za-z0-9+.-]*:.+)$`)

// CheckName says whether a name is one that Unix or Certificate can give somebody with roles, in their spelling: names are compared
// as they are written, and one that nobody can have would be passed over without a word.
func CheckName(name string) error {
	if !named.MatchString(name) {
		return errors.New("it is none: they are uid:NUMBER, cert:URI and cert:CN=NAME")
	}
	if number, is := strings.CutPrefix(name, "uid:"); is {
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n > maxID {
			return fmt.Errorf("no user has that number: they are at most %d", uint32(maxID))
		}
		if own := strconv.FormatUint(n, 10); own != number {
			return fmt.Errorf("it is written uid:%s", own)
		}
		return nil
	}
	return checkCertificate(strings.TrimPrefix(name, "cert:"))
}

// checkCertificate says whether a certificate can be named so: by its URI, or by "CN=" and its common name.
func checkCertificate(name string) error {
	if strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return errors.New("a blank at its end, or something that is not seen, is in it")
	}
	if common, is := strings.CutPrefix(name, "CN="); is {
		if strings.TrimSpace(common) != common {
			return errors.New("a blank is before the common name")
		}
		return nil
	}
	u, err := url.Parse(name)
	if err != nil {
		return err
	}
	if own := u.String(); own != name {
		return fmt.Errorf("it is written %s", own)
	}
	return nil
}
