package server

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), words)
}

// What an operator would lose: that every host is kept out, as nobody is told of it.
func TestFilesOfTLSThatCannotBeUsedAreTold(t *testing.T) {
	var log lines
	x := newTLSSite(t, Options{Service: &scripted{}, Heartbeat: 5 * time.Millisecond, Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})})
	l, err := TLS("127.0.0.1:0", x.files)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// What is written is there at once, or not yet.
	put := func(name string, data []byte) error {
		if err := os.WriteFile(name+".new", data, 0o600); err != nil {
			return err
		}
		return os.Rename(name+".new", name)
	}
	write := func(name string, data []byte) func() error { return func() error { return put(name, data) } }
	in := func(der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	past := newAuthority(t, "past")
	past.cert.NotAfter = time.Now().Add(-time.Minute)
	der, err := x509.CreateCertificate(rand.Reader, past.cert, past.cert, &past.key.PublicKey, past.key)
	if err != nil {
		t.Fatal(err)
	}
	was := map[string][]byte{}
	for _, name := range []string{x.files.Certificate, x.files.Key, x.files.ClientCA} {
		if was[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func() error
		words string
	}{
		"no client CA":           {func() error { return os.Remove(x.files.ClientCA) }, "ca.pem: no such file"},
		"an empty client CA":     {write(x.files.ClientCA, nil), "ca.pem: no certificate is in it"},
		"a client CA of garbage": {write(x.files.ClientCA, []byte("garbage")), "ca.pem: no certificate is in it"},
		"an expired client CA":   {write(x.files.ClientCA, in(der)), "none that is in it counts now: it has expired"},
		"no certificate":         {func() error { return os.Remove(x.files.Certificate) }, "cert.pem: no such file"},
		"another's certificate":  {write(x.files.Certificate, in(x.ann.Certificate[0])), "cert.pem: tls: private key does not match"},
		"no key":                 {write(x.files.Key, nil), "cert.pem: tls: failed to find any PEM data in key"},
	} {
		if got := l.Problems(); len(got) > 0 {
			t.Fatalf("%+v", got)
		}
		told, good := log.count("nobody gets in by TLS"), log.count("can be used again")
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		if got := l.Problems(); len(got) != 1 || got[0].Code != "tls" || !strings.Contains(got[0].Message, c.words) || got[0].Hint == "" {
			t.Errorf("%s: %+v", name, got)
		}
		eventually(t, name+" is logged", func() bool { return log.count(c.words) > 0 })
		for range 3 {
			if _, err := fetch(t, x.address, "/v1/jobs", x.config(x.ann)); err == nil {
				t.Errorf("%s: answered", name)
			}
		}
		if n := log.count("nobody gets in by TLS"); n != told+1 {
			t.Errorf("%s: told %d times", name, n-told)
		}
		for name, data := range was {
			if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, data) {
				if err := put(name, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		eventually(t, name+" is over", func() bool { return log.count("can be used again") == good+1 })
		if r, err := fetch(t, x.address, "/v1/jobs", x.config(x.ann)); err != nil || r.status != 200 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// The same of a certificate of the server that has expired, or does so: from the start on, and until it is another.
func TestACertificateOfTheServerThatExpiresIsTold(t *testing.T) {
	var log lines
	a := newAuthority(t, "ours")
	files := a.files(t.TempDir())
	issue := func(until time.Time) {
		t.Helper()
		c := a.issue(func(c *x509.Certificate) { c.NotAfter = until })
		key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
		if err == nil {
			err = os.WriteFile(files.Certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}), 0o600)
		}
		if err == nil {
			err = os.WriteFile(files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	issue(time.Now().Add(-time.Hour))
	serveTLS(t, testServer(t, Options{Service: &scripted{}, Heartbeat: 5 * time.Millisecond, Log: hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log})}), files)
	eventually(t, "it is told at the start", func() bool { return log.count("cert.pem: it has expired, at ") == 1 })
	l, err := TLS("127.0.0.1:0", files)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Problems(); len(got) != 1 || got[0].Code != "tls" || !strings.Contains(got[0].Message, "it has expired") {
		t.Errorf("%+v", got)
	}
	issue(time.Now().Add(2 * time.Second))
	eventually(t, "it is good", func() bool { return log.count("can be used again") == 1 })
	eventually(t, "it has expired", func() bool { return len(l.Problems()) == 1 })
	eventually(t, "that is told", func() bool { return log.count("cert.pem: it has expired, at ") == 2 })
}
