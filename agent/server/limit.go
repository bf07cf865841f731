package server

import (
	"net"
	"sync"
)

// counts are how much is in use, together and by whom.
type counts struct {
	all, each int // the most of them; 0 is no bound

	mu    sync.Mutex
	total int
	by    map[string]int
}

func newCounts(all, each int) *counts { return &counts{all: all, each: each, by: map[string]int{}} }

// take takes one, unless there are too many.
func (c *counts) take(who string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all > 0 && c.total >= c.all || c.each > 0 && c.by[who] >= c.each {
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

// connection is one that is counted, and who is at its other end as far as that is known when it is accepted.
type connection struct {
	net.Conn
	peer peer
	give func()
	once sync.Once
}

func (c *connection) Close() error {
	c.once.Do(c.give)
	return c.Conn.Close()
}

// limited accepts no more connections than may be.
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
		p := l.s.peerOf(c)
		if !l.s.conns.take(p.key) {
			l.s.log.Debug("too many connections: one was closed", "peer", p.key)
			_ = c.Close() // nothing was said on it
			continue
		}
		return &connection{Conn: c, peer: p, give: func() { l.s.conns.give(p.key) }}, nil
	}
}
