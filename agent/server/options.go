package server

import (
	"errors"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
)

// Options say what is served to whom. Service and Keys must be set; other zero values are the defaults named here.
type Options struct {
	Service api.Service
	Access  *access.Rules // nil gives nobody anything
	// Keys is a directory of this server alone, below the state, in which answers are kept for 7 days.
	Keys string
	Log  hclog.Logger // nil is silent
	// Refused is told of each refusal that the service does not hear of and that is to be written down: of whoever may not, and of
	// whatever would have changed something; by the name that the audit file has for the action ("page" and "no such operation" are
	// the server's own), at which path. nil is told nothing.
	Refused func(who api.Principal, action, path string, p *api.Problem)

	// Answered is told of each request whose answer has ended: the pattern of its route ("GET /v1/jobs/{id}"; "GET /" is the page, "none" what is
	// at no route, whatever was asked for), its status, and the code of the problem that it is, "" where it is none. Watching is told of
	// each event stream that begins, and done of its end. They must not block; nil is told nothing.
	Answered func(route string, status int, problem string)
	Watching func() (done func())

	Metrics http.Handler // GET /v1/metrics, for those who may read; nil is not there
	Page    Page         // GET of the paths that it has, for those who may read; nil is not there

	Connections int // at once, of people with roles, 2,048; more are closed when they are accepted. Who only reads leaves an eighth to others
	PeerShare   int // of them, of one user or certificate; three quarters
	Strangers   int // beside them, of people without roles; an eighth of Connections, of which one of them has at most half
	Handshakes  int // beside them, of TLS whose handshake has not ended; an eighth of Connections. For one more the oldest goes
	Requests    int // at once, of one principal, 64; more are answered 429
	Watchers    int // event streams at once, of one principal; half of Connections

	Heartbeat     time.Duration // of event streams without events, and how often it is looked whether who watches still may, and whether files of TLS can be used, 15 s
	Stall         time.Duration // a write that takes longer ends the connection, 30 s
	BodyTime      time.Duration // for a request's whole body, 30 s
	HandshakeTime time.Duration // for a whole handshake of TLS, 5 s
	Grace         time.Duration // for acts that are under way when the server is stopped, 20 s
}

// Page is what people see of an agent in a browser. It has paths of its own; at all others the server answers.
type Page interface {
	http.Handler
	Has(path string) bool
}

const (
	headerTime  = 5 * time.Second
	idleTime    = 2 * time.Minute
	headerLimit = 16<<10 + 2*api.CursorMost // a browser that comes again has a cursor in its address, and a newer one in a header
	answerLimit = headerLimit + 48<<10      // up to here it is answered that headers are too large; beyond, net/http says so in plain text
	bodyLimit   = 1 << 20
	pathLimit   = 1 << 10 // bytes of a path without its escapes
	keyLimit    = 255     // characters of an Idempotency-Key
)

func (o Options) normal() (Options, error) {
	if o.Service == nil || o.Keys == "" {
		return o, errors.New("server: a service and a directory for answers are needed")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	for _, n := range []struct {
		of    *int
		usual int
	}{{&o.Connections, 2048}, {&o.Requests, 64}} {
		if *n.of <= 0 {
			*n.of = n.usual
		}
	}
	if o.PeerShare <= 0 {
		o.PeerShare = max(1, o.Connections*3/4)
	}
	for _, n := range []*int{&o.Strangers, &o.Handshakes} {
		if *n <= 0 {
			*n = max(1, o.Connections/8)
		}
	}
	if o.Watchers <= 0 {
		o.Watchers = max(1, o.Connections/2)
	}
	for _, d := range []struct {
		of    *time.Duration
		usual time.Duration
	}{{&o.Heartbeat, 15 * time.Second}, {&o.Stall, 30 * time.Second}, {&o.BodyTime, 30 * time.Second}, {&o.HandshakeTime, 5 * time.Second}, {&o.Grace, 20 * time.Second}} {
		if *d.of <= 0 {
			*d.of = d.usual
		}
	}
	return o, nil
}
