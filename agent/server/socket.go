package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"

	"github.com/expunge-dev/expunge/internal/durable"
)

// socket is a Unix socket that is made again at its path when it was removed there.
type socket struct {
	path string
	perm fs.FileMode
	gid  int

	mu     sync.Mutex // guards the rest
	l      *net.UnixListener
	was    os.FileInfo // of the path, when it was made
	lock   *durable.Lock
	closed bool
}

// Unix makes a socket at path with permissions perm, of group gid (-1: of the process). A socket that nobody listens on any more is
// replaced; where another agent is, the error is durable.ErrLocked. Beside it stays an empty file, path with ".lock".
func Unix(path string, perm fs.FileMode, gid int) (*Listener, error) {
	lock, err := durable.TryLock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := unixAt(path, perm, gid)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), lock.Unlock())
	}
	s := &socket{path: path, perm: perm, gid: gid, l: l, lock: lock}
	if s.was, err = os.Lstat(path); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close(), lock.Unlock())
	}
	return &Listener{l: s, made: s, close: s.remove}, nil
}

// Restore makes the socket again where it was removed, and reports whether it did. Connections that are there go on. What is in its
// place is left alone, and so is what others listen on, and a socket that was not made by Unix.
func (l *Listener) Restore() (bool, error) {
	if l.made == nil {
		return false, nil
	}
	return l.made.restore()
}

func (s *socket) restore() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false, nil
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := s.claim(); err != nil {
		return false, fmt.Errorf("listen on %s: %w", s.path, err)
	}
	l, err := unixAt(s.path, s.perm, s.gid)
	if err != nil {
		return false, fmt.Errorf("listen on %s: %w", s.path, err)
	}
	was, err := os.Lstat(s.path)
	if err != nil {
		return false, errors.Join(fmt.Errorf("listen on %s: %w", s.path, err), l.Close())
	}
	old := s.l
	s.l, s.was = l, was
	return true, old.Close() // whoever accepts on it goes on with the new one
}

// claim takes the path again, where the file of the lock was removed with the socket: another agent may have done so since.
func (s *socket) claim() error {
	if named, err := s.lock.Named(); named || err != nil {
		return err
	}
	lock, err := durable.TryLock(s.path + ".lock")
	if err != nil {
		return err
	}
	old := s.lock
	s.lock = lock
	return old.Unlock()
}

func (s *socket) current() (l *net.UnixListener, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.l, s.closed
}

// Accept returns a *net.UnixConn.
func (s *socket) Accept() (net.Conn, error) {
	for {
		l, _ := s.current()
		c, err := l.Accept()
		if err == nil {
			return c, nil
		}
		if now, closed := s.current(); now == l || closed {
			return nil, err
		}
	}
}

// Close ends it. It stays at its path until remove.
func (s *socket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.l.Close()
}

func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// remove takes the socket away when it is closed, unless another's is in its place.
func (s *socket) remove() error {
	now, err := os.Lstat(s.path)
	if err == nil && os.SameFile(now, s.was) {
		err = os.Remove(s.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.lock.Unlock())
}
