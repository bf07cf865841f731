package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"iter"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// trustOnly makes the client CA these authorities alone.
func (f TLSFiles) trustOnly(t *testing.T, authorities ...*authority) {
	t.Helper()
	var all []byte
	for _, a := range authorities {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	if err := os.WriteFile(f.ClientCA, all, 0o600); err != nil {
		t.Fatal(err)
	}
}

// oneConnection asks always on the one connection that it has, and never makes another.
func oneConnection(t *testing.T, address string, config *tls.Config) *served {
	t.Helper()
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	given := false
	transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		if given {
			return nil, errBroken
		}
		given = true
		return conn, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &served{Client: &http.Client{Transport: transport}, base: "https://" + address}
}

// What a user would lose: a client CA that was taken out because its key was stolen goes on to erase drives.
func TestAClientCAThatIsTakenOutCountsNoMoreOnOpenConnections(t *testing.T) {
	var told toldOf
	s := &scripted{}
	x := newTLSSite(t, Options{Service: s, Refused: told.refused})
	others := newAuthority(t, "others")
	x.files.trustOnly(t, x.ours, others)
	ann := oneConnection(t, x.address, x.config(x.ann))
	second := oneConnection(t, x.address, x.config(x.ann))
	good := others.issue(func(c *x509.Certificate) { c.Subject.CommonName = "ann" })
	stays := oneConnection(t, x.address, x.config(good))
	for _, v := range []*served{ann, second, stays} {
		if r := v.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
			t.Fatalf("%+v", r)
		}
	}
	x.files.trustOnly(t, others)
	s.seen()
	r := ann.ask(t, "POST", "/v1/jobs", goodStart, withKey("k"))
	problemIs(t, r, 401, "unauthorized", api.ExitPermission)
	if got := told.take(); got != "cert:CN=ann tls jobs.start /v1/jobs unauthorized" || strings.Contains(r.body, x.files.ClientCA) {
		t.Errorf("told of %q; %s", got, r.body)
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Fatalf("the service was called: %v", calls)
	}
	if _, err := ann.try("GET", "/v1/jobs", ""); err == nil {
		t.Error("the connection goes on")
	}
	if r := stays.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
		t.Errorf("of a CA that stays: %+v", r)
	}
	// An authority that cannot be read lets nobody in by it, and one that is back does.
	if err := os.WriteFile(x.files.ClientCA, []byte("gone"), 0o600); err != nil {
		t.Fatal(err)
	}
	problemIs(t, stays.ask(t, "GET", "/v1/jobs", ""), 401, "unauthorized", api.ExitPermission)
	x.files.trustOnly(t, x.ours)
	if r := second.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
		t.Errorf("of a CA that is back: %+v", r)
	}
}

// The same of streams: they end in time, and say why.
func TestStreamsOfThoseWhoMayNoMoreEnd(t *testing.T) {
	for name, busy := range map[string]bool{"quiet": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			var gone atomic.Int64
			events := waiting(&gone)
			if busy {
				events = func(ctx context.Context, id, _ string) iter.Seq2[api.Event, error] {
					return func(yield func(api.Event, error) bool) {
						defer gone.Add(1)
						for ctx.Err() == nil && yield(api.Event{Type: api.EventProgress, Job: id}, nil) {
						}
					}
				}
			}
			x := newTLSSite(t, Options{Service: &scripted{events: events}, Heartbeat: 10 * time.Millisecond})
			v := oneConnection(t, x.address, x.config(x.ann))
			a, err := v.Get(v.base + "/v1/jobs/j/events?format=ndjson")
			if err != nil {
				t.Fatal(err)
			}
			defer a.Body.Close()
			lines := bufio.NewReader(a.Body)
			for range 5 {
				if _, err := lines.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
			x.files.trustOnly(t, newAuthority(t, "others"))
			last := ""
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					break
				}
				last = line
			}
			if !strings.Contains(last, `"problem"`) || !strings.Contains(last, `"unauthorized"`) {
				t.Errorf("it ends with %q", last)
			}
			eventually(t, "the service has let go", func() bool { return gone.Load() == 1 })
		})
	}
}

// Intermediates are those that the client showed.
func TestIntermediatesOfClients(t *testing.T) {
	x := newTLSSite(t, Options{Service: &scripted{}})
	between := &authority{t: t, key: newKey(t)}
	made := x.ours.issueCA("between", &between.key.PublicKey)
	between.cert = made
	leaf := between.issue(func(c *x509.Certificate) { c.Subject.CommonName = "ann" })
	leaf.Certificate = append(slices.Clone(leaf.Certificate), made.Raw)
	v := oneConnection(t, x.address, x.config(leaf))
	for range 2 {
		if r := v.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
			t.Fatalf("%+v", r)
		}
	}
}
