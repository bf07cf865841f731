package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

// secured is a listener of TLS. It hands connections on when their handshake has ended, which takes place here: whoever begins one
// and does not go on has no place among those who are known, and none for long.
type secured struct {
	net.Listener
	s     *Server
	trust *reloading

	life  context.Context
	end   context.CancelFunc
	ready chan accepted
	all   sync.WaitGroup
}

// accepted is a connection, or why there is none.
type accepted struct {
	conn net.Conn
	err  error
}

func (s *Server) secure(l net.Listener, trust *reloading) *secured {
	x := &secured{Listener: l, s: s, trust: trust, ready: make(chan accepted)}
	x.life, x.end = context.WithCancel(context.Background())
	x.all.Go(x.accept)
	return x
}

// Accept returns a *tls.Conn.
func (l *secured) Accept() (net.Conn, error) {
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.life.Done():
		return nil, net.ErrClosed
	}
}

// Close ends it, with the handshakes that are under way.
func (l *secured) Close() error {
	err := l.Listener.Close()
	l.end()
	l.all.Wait()
	return err
}

func (l *secured) accept() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			// Whoever accepts waits a moment, and takes the next one then.
			if !l.hand(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		counted := &connection{Conn: c, peer: peer{key: network(c.RemoteAddr()), trust: l.trust}}
		if gone := l.s.unfinished.begin(counted); gone != nil {
			l.s.log.Debug("too many handshakes: the oldest was ended", "peer", gone.peer.key)
			_ = gone.Close() // nobody is known there
		}
		l.all.Go(func() { l.handshake(counted) })
	}
}

func (l *secured) hand(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.life.Done():
		return false
	}
}

func (l *secured) handshake(counted *connection) {
	ctx, cancel := context.WithTimeout(l.life, l.s.options.HandshakeTime)
	defer cancel()
	c, err := l.shake(ctx, counted)
	if !l.s.unfinished.end(counted) && err == nil {
		err = errors.New("it took too long while many others came")
	}
	if err != nil {
		l.s.log.Debug("a handshake did not come to an end", "peer", counted.peer.key, "err", err)
		_ = counted.Close() // nothing was said on it
		return
	}
	who := l.s.options.Access.Certificate(c.ConnectionState().PeerCertificates[0])
	counted.peer.key = who.Name
	if !l.s.admitted(counted, who, who.Name) || !l.hand(accepted{conn: c}) {
		_ = counted.Close() // nothing was said on it
	}
}

func (l *secured) shake(ctx context.Context, counted *connection) (*tls.Conn, error) {
	config, err := l.trust.config()
	if err != nil {
		l.trust.look(l.s.log)
		return nil, err
	}
	c := tls.Server(counted, config)
	return c, c.HandshakeContext(ctx)
}
