//go:build !linux

package peercred

import (
	"errors"
	"net"
)

// Credentials are those of a process when it connected.
type Credentials struct {
	PID int
	UID uint32
	GID uint32
}

// Of is possible on Linux only.
func Of(*net.UnixConn) (Credentials, error) { return Credentials{}, errors.ErrUnsupported }
