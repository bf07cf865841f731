// Package peercred says who is at the other end of a Unix socket, as the kernel tells it.
//
// It is who connected, or who made the socket that was connected: what the process has become since, or to
// whom it handed the connection, is not told.
package peercred

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Credentials are those of a process when it connected.
type Credentials struct {
	PID int
	UID uint32
	GID uint32 // its effective group; further groups are not told
}

// Of asks the kernel (SO_PEERCRED, unix(7)).
func Of(c *net.UnixConn) (Credentials, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Credentials{}, fmt.Errorf("peer of %s: %w", c.LocalAddr(), err)
	}
	var (
		told  *unix.Ucred
		asked error
	)
	if err := raw.Control(func(fd uintptr) { told, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return Credentials{}, fmt.Errorf("peer of %s: %w", c.LocalAddr(), err)
	}
	if asked != nil {
		return Credentials{}, fmt.Errorf("peer of %s: %w", c.LocalAddr(), asked)
	}
	// A process of a user namespace that is not mapped here, and a socket that was never connected, have no id: (uid_t) -1.
	if told.Uid == ^uint32(0) || told.Gid == ^uint32(0) {
		return Credentials{}, fmt.Errorf("peer of %s: the kernel does not say who it is", c.LocalAddr())
	}
	return Credentials{int(told.Pid), told.Uid, told.Gid}, nil
}
