package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/peercred"
)

// peer is who is at the other end of a connection.
type peer struct {
	key       string        // by which connections are counted
	principal api.Principal // of a Unix socket; TLS tells with each request
	err       error         // why that is not known
}

// peerOf asks the kernel.
func (s *Server) peerOf(c net.Conn) peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{key: network(c.RemoteAddr()), err: errors.New("no client certificate was verified")}
	}
	told, err := peercred.Of(u)
	if err != nil {
		return peer{key: "unix", err: err}
	}
	return peer{key: fmt.Sprintf("uid:%d", told.UID), principal: s.options.Access.Unix(told)}
}

// network is the address of whoever can have many: of IPv6, its /64.
func network(a net.Addr) string {
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

type peerKey struct{}

// withConnection gives the requests of a connection its peer.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if counted, ok := c.(*connection); ok {
		return context.WithValue(ctx, peerKey{}, counted.peer)
	}
	return ctx
}

// principal is who asks. Nothing in the request itself says so.
func (s *Server) principal(r *http.Request) (api.Principal, error) {
	if r.TLS != nil {
		if len(r.TLS.VerifiedChains) == 0 {
			return api.Principal{}, errors.New("no client certificate was verified")
		}
		leaf := r.TLS.VerifiedChains[0][0]
		// It was valid when the connection was made, which may be long ago.
		if time.Now().After(leaf.NotAfter) {
			return api.Principal{}, fmt.Errorf("the client's certificate has expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		return s.options.Access.Certificate(leaf), nil
	}
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		return api.Principal{}, errors.New("the connection does not say who asks")
	}
	return p.principal, p.err
}
