package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"

	"github.com/expunge-dev/expunge/agent/api"
)

// peer is who is at the other end of a connection.
type peer struct {
	key       string        // by which connections are counted
	principal api.Principal // of a Unix socket; TLS tells with each request
	err       error         // why that is not known
	trust     *reloading    // of TLS: whose certificates count
}

// peerOf asks the kernel.
func (s *Server) peerOf(c net.Conn) peer {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return peer{key: network(c.RemoteAddr()), err: errUnknown}
	}
	told, err := s.credentials(u)
	if err != nil {
		s.log.Debug("somebody connected of whom the kernel does not say who they are", "err", err)
		return peer{key: "unknown", principal: api.Principal{Name: "unknown", Via: "unix"}, err: errUnknown}
	}
	return peer{key: fmt.Sprintf("uid:%d", told.UID), principal: s.options.Access.Unix(told)}
}

var errUnknown = errors.New("the connection does not say who asks")

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

// principal is who asks. Nothing in the request itself says so. Of whom it is an error they have no roles.
func (s *Server) principal(r *http.Request) (api.Principal, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	switch {
	case !ok || r.TLS == nil && p.trust != nil:
		return api.Principal{}, errUnknown
	case r.TLS == nil:
		return p.principal, p.err
	case p.trust == nil || len(r.TLS.PeerCertificates) == 0:
		return api.Principal{}, errors.New("no client certificate was verified")
	}
	who := s.options.Access.Certificate(r.TLS.PeerCertificates[0])
	// What was true when the connection was made, which may be long ago, need not be now.
	if err := p.trust.verify(r.TLS.PeerCertificates); err != nil {
		s.log.Warn("a certificate counts no more on a connection that it was made with", "who", who.Name, "err", err)
		who.Roles = nil
		return who, fmt.Errorf("the client's certificate counts no more: it has expired, or it is of no client CA that is trusted now")
	}
	return who, nil
}

type judgedKey struct{}

// judgedAgain is a request that goes on: of it standing says whether who asked may still.
func (s *Server) judgedAgain(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), judgedKey{}, func() error {
		_, err := s.principal(r)
		return err
	}))
}

// standing is why somebody whose request goes on would be refused now.
func standing(ctx context.Context) error {
	if judge, ok := ctx.Value(judgedKey{}).(func() error); ok {
		return judge()
	}
	return nil
}
