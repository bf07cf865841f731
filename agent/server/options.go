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
	// Forbidden is told of each request that a lack of roles refuses before the service hears of it: of which operation (the id in the
	// OpenAPI document, or "page"), at which path. It writes down who tried; nil is told nothing.
	Forbidden func(who api.Principal, action, path string, p *api.Problem)

	Metrics http.Handler // GET /v1/metrics, for those who may read; nil is not there
	Page    http.Handler // GET of all that is not below /v1, for those who may read; nil is not there

	Connections int // at once, 2,048; more are closed when they are accepted
	PeerShare   int // of them, of one user or network address; three quarters
	Requests    int // at once, of one principal, 64; more are answered 429
	Watchers    int // event streams at once, of one principal; half of Connections

	Heartbeat time.Duration // of event streams without events, 15 s
	Stall     time.Duration // a write that takes longer ends the connection, 30 s
	BodyTime  time.Duration // for a request's whole body, 30 s
	Grace     time.Duration // for acts that are under way when the server is stopped, 20 s
}

const (
	headerTime  = 5 * time.Second
	idleTime    = 2 * time.Minute
	headerLimit = 16 << 10
	bodyLimit   = 1 << 20
	keyLimit    = 255 // characters of an Idempotency-Key
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
	if o.Watchers <= 0 {
		o.Watchers = max(1, o.Connections/2)
	}
	for _, d := range []struct {
		of    *time.Duration
		usual time.Duration
	}{{&o.Heartbeat, 15 * time.Second}, {&o.Stall, 30 * time.Second}, {&o.BodyTime, 30 * time.Second}, {&o.Grace, 20 * time.Second}} {
		if *d.of <= 0 {
			*d.of = d.usual
		}
	}
	return o, nil
}
