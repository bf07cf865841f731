package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
)

// Listener is where a server is reached. There are Unix sockets, whose other end the kernel names, and TLS with certificates on
// both sides: nothing else can be made.
type Listener struct {
	l     net.Listener
	trust *reloading // of TLS
	made  *socket    // of a Unix socket that was made here
	close func() error
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.l.Addr() }

// Close ends it. What a Serve has begun on it goes on.
func (l *Listener) Close() error {
	err := l.l.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if l.close != nil {
		err = errors.Join(err, l.close())
		l.close = nil
	}
	return err
}

// PathMost is how many bytes the path of a Unix socket that is made can have: 107 are what the kernel takes (sun_path of unix(7), with
// its zero byte), of the other name that it has first.
const PathMost = 107 - len(beforeIt)

// beforeIt is what the name of a socket ends in that has not its permissions yet.
const beforeIt = ".new"

// unixAt makes the socket under another name first, so that it is never there with other permissions than it shall have.
func unixAt(path string, perm fs.FileMode, gid int) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("a file that is no socket is in the way")
	}
	next := path + beforeIt
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: next, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	err = os.Chmod(next, perm)
	if err == nil && gid >= 0 {
		err = os.Chown(next, -1, gid)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(next))
	}
	return l, nil
}

// Activated is a Unix socket that somebody else listens on already, such as systemd, who also removes it.
func Activated(l *net.UnixListener) *Listener {
	l.SetUnlinkOnClose(false)
	return &Listener{l: l}
}

// TLS listens at address ("host:port") for those with a certificate of the client CA.
func TLS(address string, files TLSFiles) (*Listener, error) {
	trust, err := files.open()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &Listener{l: l, trust: trust}, nil
}

// ActivatedTLS is TLS on a socket that somebody else listens on already.
func ActivatedTLS(l *net.TCPListener, files TLSFiles) (*Listener, error) {
	trust, err := files.open()
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", l.Addr(), err)
	}
	return &Listener{l: l, trust: trust}, nil
}

// limit is a listener as it is served.
func (s *Server) limit(l *Listener) net.Listener {
	if l.trust != nil {
		return s.secure(l.l, l.trust)
	}
	return limited{l.l, s}
}
