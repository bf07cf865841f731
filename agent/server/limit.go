package server

import (
	"net"
	"slices"
	"sync"

	"github.com/expunge-dev/expunge/agent/api"
)

// counts are how much is in use, together and by whom.
type counts struct {
	all, each int // the most of them; 0 is no bound

	mu    sync.Mutex
	total int
	by    map[string]int
}

func newCounts(all, each int) *counts { return &counts{all: all, each: each, by: map[string]int{}} }

// take takes one, unless there are too many, or would be fewer left than are to be left for others.
func (c *counts) take(who string, left int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all > 0 && c.total+left >= c.all || c.each > 0 && c.by[who] >= c.each {
		return false
	}
	c.total++
	c.by[who]++
	return true
}

// give gives one back.
func (c *counts) give(who string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.by[who]--; c.by[who] <= 0 {
		delete(c.by, who)
	}
}

// connection is one that is counted, and who is at its other end.
type connection struct {
	net.Conn
	peer peer
	give func() // nil as long as it is not counted
	once sync.Once
}

func (c *connection) Close() error {
	c.once.Do(func() {
		if c.give != nil {
			c.give()
		}
	})
	return c.Conn.Close()
}

// admitted counts a connection among those of people with roles, or of people without, who can take nothing from the others.
// Those who only look leave some for those who can halt the agent.
func (s *Server) admitted(c *connection, who api.Principal, key string) bool {
	among, left := s.conns, 0
	switch {
	case len(who.Roles) == 0:
		among = s.strangers
	case !who.May(api.Operate) && !who.May(api.Approve):
		left = s.options.Connections / 8
	}
	if !among.take(key, left) {
		s.log.Debug("too many connections: one was closed", "peer", key)
		return false
	}
	c.give = func() { among.give(key) }
	return true
}

// limited accepts no more connections of a Unix socket than may be. The kernel says at once who is there.
type limited struct {
	net.Listener
	s *Server
}

func (l limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		counted := &connection{Conn: c, peer: l.s.peerOf(c)}
		if l.s.admitted(counted, counted.peer.principal, counted.peer.key) {
			return counted, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

// unfinished are connections of TLS whose handshake has not ended: of whom they are is not known yet. There are at most so many:
// for one more the oldest goes, of whichever network has the most.
type unfinished struct {
	most int

	mu    sync.Mutex
	conns []*connection // oldest first
}

// begin adds a connection, and returns the one that goes for it.
func (u *unfinished) begin(c *connection) (gone *connection) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.conns) >= u.most {
		of, most := map[string]int{}, 0
		for _, x := range u.conns {
			of[x.peer.key]++
			most = max(most, of[x.peer.key])
		}
		i := slices.IndexFunc(u.conns, func(x *connection) bool { return of[x.peer.key] == most })
		gone = u.conns[i]
		u.conns = slices.Delete(u.conns, i, i+1)
	}
	u.conns = append(u.conns, c)
	return gone
}

// end takes a connection out; false is that it had to go before.
func (u *unfinished) end(c *connection) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := slices.Index(u.conns, c)
	if i < 0 {
		return false
	}
	u.conns = slices.Delete(u.conns, i, i+1)
	return true
}
