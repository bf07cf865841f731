package server

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/peercred"
)

const crowd = 500 // connections of somebody who wants them all

// What a user would lose: the agent, to anybody on the host.
func TestStrangersCannotTakeAllConnections(t *testing.T) {
	s := testServer(t, Options{Service: &scripted{}, Access: everything(t), Connections: 100})
	var strangers atomic.Bool
	s.credentials = func(c *net.UnixConn) (peercred.Credentials, error) {
		if strangers.Load() {
			return peercred.Credentials{UID: 4242, GID: 4242}, nil
		}
		return peercred.Of(c)
	}
	v := serveWith(t, s)
	strangers.Store(true)
	for range crowd {
		c, err := net.Dial("unix", v.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	eventually(t, "all of them came", func() bool {
		s.strangers.mu.Lock()
		defer s.strangers.mu.Unlock()
		return s.strangers.total == 6 // half of an eighth of 100
	})
	// Accepted in the order in which they came: this one is behind all of those.
	c, err := net.Dial("unix", v.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Fatalf("one more was let in: %v", err)
	}
	strangers.Store(false)
	if r := v.ask(t, "GET", "/v1/drives", ""); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

// What a user would lose: the way to halt the agent, to people who may only look.
func TestWhoOnlyReadsLeavesConnectionsToOthers(t *testing.T) {
	me, reader := uint32(os.Geteuid()), uint32(4242)
	rules, err := access.New([]access.Entry{{UID: &me, Roles: api.Roles}, {UID: &reader, Roles: []api.Role{api.Read}}})
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(t, Options{Service: &scripted{}, Access: rules, Connections: 16, PeerShare: 16})
	var reading atomic.Bool
	s.credentials = func(c *net.UnixConn) (peercred.Credentials, error) {
		if reading.Load() {
			return peercred.Credentials{UID: reader, GID: reader}, nil
		}
		return peercred.Of(c)
	}
	v := serveWith(t, s)
	reading.Store(true)
	var last net.Conn
	for range 17 { // accepted in the order in which they came: the last would be too many in any case
		if last, err = net.Dial("unix", v.path); err != nil {
			t.Fatal(err)
		}
		defer last.Close()
	}
	if err := last.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("all connections are taken: %v", err)
	}
	reading.Store(false)
	if r := v.ask(t, "PUT", "/v1/halt", `{"halted":true,"reason":"drill"}`); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

// The same, to requests that are under way.
func TestAHaltIsNotOneRequestTooMany(t *testing.T) {
	hold := make(chan struct{})
	s := &scripted{hold: hold}
	v := serve(t, Options{Service: s, Requests: 1})
	answers := make(chan reply, 2)
	calls := func(n int) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.calls) == n
		}
	}
	ask := func(method, at, body string) {
		r, _ := v.try(method, at, body, withKey("k"))
		answers <- r
	}
	go ask("POST", "/v1/jobs", goodStart)
	eventually(t, "a job is started", calls(1))
	problemIs(t, v.ask(t, "GET", "/v1/jobs", ""), 429, "too_many_requests", api.ExitRefused)
	go ask("PUT", "/v1/halt", `{"halted":true,"reason":"it is mad"}`)
	eventually(t, "it is halted", calls(2))
	close(hold)
	for range 2 {
		if r := <-answers; r.status >= 300 {
			t.Errorf("%+v", r)
		}
	}
}

// tlsSite is a server on TLS for ann, who may everything, and bob, who has no roles.
type tlsSite struct {
	*Server
	ours     *authority
	files    TLSFiles
	address  string
	ann, bob tls.Certificate
}

func newTLSSite(t *testing.T, o Options) *tlsSite {
	t.Helper()
	rules, err := access.New([]access.Entry{{Certificate: "CN=ann", Roles: api.Roles}})
	if err != nil {
		t.Fatal(err)
	}
	o.Access = rules
	x := &tlsSite{Server: testServer(t, o), ours: newAuthority(t, "ours")}
	x.files = x.ours.files(t.TempDir())
	x.ann = x.ours.issue(func(c *x509.Certificate) { c.Subject.CommonName = "ann" })
	x.bob = x.ours.issue(func(c *x509.Certificate) { c.Subject.CommonName = "bob" })
	x.address = serveTLS(t, x.Server, x.files)
	return x
}

func (x *tlsSite) config(c tls.Certificate) *tls.Config {
	return &tls.Config{RootCAs: x.ours.pool(), Certificates: []tls.Certificate{c}}
}

// What a user would lose: the agent, to anybody in the network who begins a handshake and falls silent.
func TestHandshakesThatDoNotEndKeepNobodyOut(t *testing.T) {
	x := newTLSSite(t, Options{Service: &scripted{}, Connections: 64, HandshakeTime: time.Hour})
	waiting := func() int {
		x.unfinished.mu.Lock()
		defer x.unfinished.mu.Unlock()
		return len(x.unfinished.conns)
	}
	var held []net.Conn
	for range crowd {
		c, err := net.Dial("tcp", x.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	// From the same address, which has all the places there are.
	for range 10 {
		if r, err := fetch(t, x.address, "/v1/drives", x.config(x.ann)); err != nil || r.status != 200 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if n := waiting(); n > 8 {
		t.Errorf("%d handshakes are open", n)
	}
	// Those who had to go are closed.
	if err := held[0].SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(held[0]); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the first is still there")
	}
}

// One network does not push the handshakes of another out.
func TestTheOldestOfTheBusiestNetworkGoes(t *testing.T) {
	u := &unfinished{most: 4}
	add := func(name string) (*connection, *connection) {
		c := &connection{peer: peer{key: name}}
		return c, u.begin(c)
	}
	quiet, _ := add("10.0.0.1")
	first, _ := add("10.0.0.2")
	second, _ := add("10.0.0.2")
	_, gone := add("10.0.0.3")
	if gone != nil {
		t.Fatal("there was room")
	}
	for _, want := range []*connection{first, second} {
		if _, gone := add("10.0.0.2"); gone != want {
			t.Fatalf("%+v went", gone)
		}
	}
	if u.end(first) || !u.end(quiet) || u.end(quiet) {
		t.Error("it is not known who is left")
	}
}

// A handshake has its own time, and whoever goes on after it has ended is nobody.
func TestHandshakesHaveATime(t *testing.T) {
	x := newTLSSite(t, Options{Service: &scripted{}, HandshakeTime: 30 * time.Millisecond})
	c, err := net.Dial("tcp", x.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{22, 3, 1, 2, 0, 1}); err != nil { // the beginning of a hello
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("it is still open")
	}
}

// A certificate without roles takes nothing from those who have some; each certificate has a bound.
func TestCertificatesHaveBounds(t *testing.T) {
	x := newTLSSite(t, Options{Service: &scripted{}, Connections: 32, PeerShare: 2})
	open := func(c tls.Certificate) (*tls.Conn, error) {
		conn, err := tls.Dial("tcp", x.address, x.config(c))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return nil, err
		}
		fmt.Fprint(conn, "GET /v1/drives HTTP/1.1\r\nHost: agent\r\n")
		return conn, nil
	}
	total := func(c *counts) int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.total
	}
	for range 20 {
		if _, err := open(x.bob); err != nil && os.IsTimeout(err) {
			t.Fatal(err)
		}
	}
	eventually(t, "bob has what one stranger can have", func() bool { return total(x.strangers) == 2 })
	if n := total(x.conns); n != 0 {
		t.Errorf("%d connections of bob's are among those of people with roles", n)
	}
	var last *tls.Conn
	for range 2 {
		var err error
		if last, err = open(x.ann); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "ann has hers", func() bool { return total(x.conns) == 2 })
	if r, err := fetch(t, x.address, "/v1/drives", x.config(x.ann)); err == nil {
		t.Errorf("a third one: %+v", r)
	}
	fmt.Fprint(last, "\r\n")
	answer := make([]byte, 12)
	if _, err := io.ReadFull(last, answer); err != nil || string(answer) != "HTTP/1.1 200" {
		t.Errorf("%q, %v", answer, err)
	}
	last.Close()
	eventually(t, "there is room again", func() bool {
		r, err := fetch(t, x.address, "/v1/drives", x.config(x.ann))
		return err == nil && r.status == 200
	})
}
