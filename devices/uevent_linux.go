package devices

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ueventGroup is the multicast group to which the kernel itself sends; udev sends to another.
const ueventGroup = 1

// ueventBuffer is how much the kernel keeps while a listing goes on. A shelf of a hundred drives makes some thousand
// messages of half a kilobyte; with less room than asked for, messages are lost, and that is told.
const ueventBuffer = 4 << 20

// uevents is an open socket of kernel messages.
type uevents struct {
	file *os.File
	raw  syscall.RawConn
	msg  []byte
	oob  []byte
}

// openUevents begins to listen. Messages that come from now on are kept.
func openUevents() (messages, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open socket of kernel events: %w", err)
	}
	u := &uevents{file: os.NewFile(uintptr(fd), "kernel events"), msg: make([]byte, 64<<10), oob: make([]byte, unix.CmsgSpace(unix.SizeofUcred))}
	if err := u.begin(fd); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to kernel events: %w", err), u.file.Close())
	}
	return u, nil
}

func (u *uevents) begin(fd int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ueventBuffer) != nil {
		// Without the privilege it is as much as the system lets anybody have.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, ueventBuffer); err != nil {
			return err
		}
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: ueventGroup}); err != nil {
		return err
	}
	var err error
	if u.raw, err = u.file.SyscallConn(); err != nil {
		return err
	}
	return u.file.SetReadDeadline(time.Time{}) // fails for a descriptor that cannot be waited for with a limit
}

// deadline implements messages.
func (u *uevents) deadline(t time.Time) error { return u.file.SetReadDeadline(t) }

// receive implements messages.
func (u *uevents) receive() (heard, error) {
	for {
		var n, oobn, flags int
		var from unix.Sockaddr
		var err error
		waited := u.raw.Read(func(fd uintptr) bool {
			n, oobn, flags, from, err = unix.Recvmsg(int(fd), u.msg, u.oob, unix.MSG_DONTWAIT)
			return !errors.Is(err, unix.EAGAIN)
		})
		switch {
		case waited != nil:
			return heard{}, waited
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			return heard{counts: true, lost: true}, nil
		case err != nil:
			return heard{}, fmt.Errorf("receive kernel events: %w", err)
		case !fromKernel(from, u.oob[:oobn]):
			continue // any program may send what looks like one
		case flags&unix.MSG_TRUNC != 0:
			return heard{counts: true, malformed: true}, nil
		}
		return weigh(u.msg[:n]), nil
	}
}

// fromKernel says whether the kernel sent a message: it has no port, sends to its own group, and its credentials are
// those of no process. Where the kernel's root is not ours (a user namespace), nothing is believed.
func fromKernel(from unix.Sockaddr, oob []byte) bool {
	address, ok := from.(*unix.SockaddrNetlink)
	if !ok || address.Pid != 0 || address.Groups != ueventGroup {
		return false
	}
	control, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range control {
		if c, err := unix.ParseUnixCredentials(&m); err == nil {
			return c.Pid == 0 && c.Uid == 0
		}
	}
	return false
}

// Close implements messages.
func (u *uevents) Close() error { return u.file.Close() }
