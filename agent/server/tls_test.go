package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue signs a certificate of one who serves or asks.
func (a *authority) issue(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	c := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	change(c)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// issueCA signs the certificate of an authority below this one.
func (a *authority) issueCA(name string, key *ecdsa.PublicKey) *x509.Certificate {
	a.t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key, a.key)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *authority) files(dir string) TLSFiles {
	a.t.Helper()
	f := TLSFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")}
	c := a.issue(func(c *x509.Certificate) {
		c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
	})
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{f.Certificate: {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, f.Key: {Type: "PRIVATE KEY", Bytes: key}, f.ClientCA: {Type: "CERTIFICATE", Bytes: a.cert.Raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return f
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func uri(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func serveTLS(t *testing.T, s *Server, files TLSFiles) (address string) {
	t.Helper()
	l, err := TLS("127.0.0.1:0", files)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// fetch asks with a connection of its own.
func fetch(t *testing.T, address, at string, c *tls.Config, header ...string) (reply, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: c}
	defer transport.CloseIdleConnections()
	v := &served{Client: &http.Client{Transport: transport}, base: "https://" + address}
	return v.try("GET", at, "", header...)
}

// What a user would lose: whoever reaches the port does what they like.
func TestTLSIsMutual(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	rules, err := access.New([]access.Entry{{Certificate: "spiffe://site/look", Roles: []api.Role{api.Read}}, {Certificate: "CN=ann", Roles: api.Roles}})
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{}
	dir := t.TempDir()
	address := serveTLS(t, testServer(t, Options{Service: s, Access: rules}), ours.files(dir))
	look := func(c *x509.Certificate) { c.URIs = []*url.URL{uri(t, "spiffe://site/look")} }
	config := func(certificates ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ours.pool(), Certificates: certificates}
	}
	for name, c := range map[string]*tls.Config{
		"no certificate":         config(),
		"of another authority":   config(others.issue(look)),
		"expired":                config(ours.issue(func(c *x509.Certificate) { look(c); c.NotAfter = time.Now().Add(-time.Minute) })),
		"for servers":            config(ours.issue(func(c *x509.Certificate) { look(c); c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })),
		"by an older TLS":        {RootCAs: ours.pool(), Certificates: []tls.Certificate{ours.issue(look)}, MaxVersion: tls.VersionTLS12},
		"to whom it is no agent": {RootCAs: others.pool(), Certificates: []tls.Certificate{ours.issue(look)}},
	} {
		if c.Certificates != nil && name == "of another authority" {
			// A client that sends it though the server did not ask for one of that authority.
			given := c.Certificates[0]
			c.Certificates, c.GetClientCertificate = nil, func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &given, nil }
		}
		if r, err := fetch(t, address, "/v1/drives", c); err == nil {
			t.Errorf("%s: answered %+v", name, r)
		}
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Fatalf("the service was called: %v", calls)
	}
	c := config(ours.issue(look))
	if r, err := fetch(t, address, "/v1/drives", c); err != nil || r.status != 200 || s.who.Name != "cert:spiffe://site/look" || s.who.Via != "tls" || len(s.who.Roles) != 1 {
		t.Errorf("%+v, %v, %+v", r, err, s.who)
	}
	if r, err := fetch(t, address, "/v1/drives", c, "Origin: https://"+address, "Sec-Fetch-Site: same-origin"); err != nil || r.status != 200 {
		t.Errorf("from its own page: %+v, %v", r, err)
	}
	r, err := fetch(t, address, "/v1/drives", c, "Origin: https://elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	problemIs(t, r, 403, "cross_site", api.ExitPermission)
	r, err = fetch(t, address, "/v1/drives", config(ours.issue(func(c *x509.Certificate) { c.Subject.CommonName = "bob" })))
	if err != nil {
		t.Fatal(err)
	}
	if p := problemIs(t, r, 403, "forbidden", api.ExitPermission); !strings.Contains(p.Detail, "cert:CN=bob") {
		t.Errorf("who is refused is not said: %s", p.Detail)
	}
	// Without TLS there is nothing.
	plain, err := http.Get("http://" + address + "/v1/drives")
	if err == nil {
		plain.Body.Close()
		if plain.StatusCode == 200 {
			t.Error("answered without TLS")
		}
	}
	http.DefaultClient.CloseIdleConnections()

	// The authority changes: those of the old one are let in no more.
	others.files(dir)
	if r, err := fetch(t, address, "/v1/drives", c); err == nil {
		t.Errorf("after a change of the authority: %+v", r)
	}
	now := &tls.Config{RootCAs: others.pool(), Certificates: []tls.Certificate{others.issue(look)}}
	if r, err := fetch(t, address, "/v1/drives", now); err != nil || r.status != 200 {
		t.Errorf("of the new authority: %+v, %v", r, err)
	}
	// What cannot be read lets nobody in.
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := fetch(t, address, "/v1/drives", now); err == nil {
		t.Errorf("without an authority: %+v", r)
	}
}

// A connection may be older than its certificate.
func TestCertificatesExpireWhileConnected(t *testing.T) {
	a := newAuthority(t, "ours")
	rules, err := access.New([]access.Entry{{Certificate: "CN=ann", Roles: api.Roles}})
	if err != nil {
		t.Fatal(err)
	}
	address := serveTLS(t, testServer(t, Options{Service: &scripted{}, Access: rules}), a.files(t.TempDir()))
	short := a.issue(func(c *x509.Certificate) {
		c.Subject.CommonName, c.NotAfter = "ann", time.Now().Add(2*time.Second)
	})
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{short}}}
	defer transport.CloseIdleConnections()
	v := &served{Client: &http.Client{Transport: transport}, base: "https://" + address}
	if r := v.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
		t.Fatalf("%+v", r)
	}
	var last reply
	eventually(t, "it is asked for another certificate", func() bool {
		last = v.ask(t, "GET", "/v1/jobs", "")
		return last.status != 200
	})
	problemIs(t, last, 401, "unauthorized", api.ExitPermission)
}

func TestFilesOfTLSMustBeThere(t *testing.T) {
	a := newAuthority(t, "ours")
	good := a.files(t.TempDir())
	for name, f := range map[string]TLSFiles{
		"nothing": {}, "no authority": {Certificate: good.Certificate, Key: good.Key}, "no key": {Certificate: good.Certificate, ClientCA: good.ClientCA},
		"the key as authority": {good.Certificate, good.Key, good.Key},
	} {
		if l, err := TLS("127.0.0.1:0", f); err == nil {
			l.Close()
			t.Errorf("%s: it listens", name)
		}
	}
}
