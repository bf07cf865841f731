package access

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/peercred"
)

func id(n uint32) *uint32 { return &n }

// nobody is a user and a group that no system file knows.
const nobody = 3_987_654_321

func TestEntriesSayOneThing(t *testing.T) {
	read := []api.Role{api.Read}
	for name, e := range map[string]Entry{
		"nobody": {Roles: read}, "two": {UID: id(1), GID: id(1), Roles: read}, "no roles": {UID: id(1)},
		"an unknown role": {UID: id(1), Roles: []api.Role{"admin"}}, "an unknown user": {User: "no-such-user-here", Roles: read},
		"an unknown group": {Group: "no-such-group-here", Roles: read}, "a bare name": {Certificate: "operators", Roles: read},
		"an empty name": {Certificate: "CN=", Roles: read},
	} {
		if _, err := New([]Entry{{UID: id(0), Roles: read}, e}); err == nil || !strings.Contains(err.Error(), "entry 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a user would lose: somebody has roles that nobody gave them.
func TestRolesAreThoseOfUserAndGroups(t *testing.T) {
	r, err := New([]Entry{
		{UID: id(nobody), Roles: []api.Role{api.Operate}}, {GID: id(nobody + 1), Roles: []api.Role{api.Approve, api.Read}},
		{User: "root", Roles: []api.Role{api.Read}}, {Group: "root", Roles: []api.Role{api.Operate}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		who  peercred.Credentials
		want []api.Role
	}{
		{peercred.Credentials{UID: nobody, GID: nobody}, []api.Role{api.Operate}},
		{peercred.Credentials{UID: nobody, GID: nobody + 1}, api.Roles},
		{peercred.Credentials{UID: nobody + 1, GID: nobody + 1}, []api.Role{api.Read, api.Approve}},
		{peercred.Credentials{UID: nobody + 1, GID: nobody}, nil},
		// By the system's files root is in the group root, whatever it connected as.
		{peercred.Credentials{UID: 0, GID: nobody}, []api.Role{api.Read, api.Operate}},
	} {
		if p := r.Unix(x.who); !slices.Equal(p.Roles, x.want) || p.Via != "unix" {
			t.Errorf("%+v: %+v, want %v", x.who, p, x.want)
		}
	}
	if p := (*Rules)(nil).Unix(peercred.Credentials{}); p.Name != "uid:0" || !slices.Contains(p.Groups, "gid:0") || p.Roles != nil {
		t.Errorf("without rules: %+v", p)
	}
}

func TestRolesAreThoseOfTheWholeName(t *testing.T) {
	r, err := New([]Entry{
		{Certificate: "spiffe://site/operators", Roles: []api.Role{api.Operate}}, {Certificate: "CN=ann", Roles: []api.Role{api.Read}},
		{Certificate: "CN=spiffe://site/operators", Roles: []api.Role{api.Approve}},
	})
	if err != nil {
		t.Fatal(err)
	}
	certificate := func(cn string, uris ...string) *x509.Certificate {
		c := &x509.Certificate{Subject: pkix.Name{CommonName: cn}, SerialNumber: big.NewInt(7)}
		for _, s := range uris {
			u, err := url.Parse(s)
			if err != nil {
				t.Fatal(err)
			}
			c.URIs = append(c.URIs, u)
		}
		return c
	}
	twoNames := certificate("ann")
	for _, name := range []string{"nobody", "ann"} {
		twoNames.Subject.Names = append(twoNames.Subject.Names, pkix.AttributeTypeAndValue{Type: []int{2, 5, 4, 3}, Value: name})
	}
	for _, x := range []struct {
		c    *x509.Certificate
		name string
		want []api.Role
	}{
		{certificate("", "spiffe://site/operators"), "cert:spiffe://site/operators", []api.Role{api.Operate}},
		{certificate("ann", "spiffe://site/others"), "cert:spiffe://site/others", nil},
		{certificate("ann", "spiffe://site/operators", "spiffe://site/others"), "", nil},
		{certificate("", "spiffe://site/operators/"), "", nil},
		{certificate("", "spiffe://site/operators?x"), "", nil},
		{certificate("ann"), "cert:CN=ann", []api.Role{api.Read}},
		{certificate("Ann"), "", nil},
		{certificate("spiffe://site/operators"), "cert:CN=spiffe://site/operators", []api.Role{api.Approve}},
		{certificate(""), "", nil},
		{twoNames, "", nil},
	} {
		p := r.Certificate(x.c)
		if !slices.Equal(p.Roles, x.want) || x.name != "" && p.Name != x.name || p.Name == "" || p.Via != "tls" {
			t.Errorf("%s %v: %+v, want %v", x.c.Subject.CommonName, x.c.URIs, p, x.want)
		}
	}
}
