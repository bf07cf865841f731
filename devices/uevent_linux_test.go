package devices

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What any program sends to the socket is not the kernel's word, whatever it looks like.
func TestForgedEventIsNotTaken(t *testing.T) {
	m, err := openUevents()
	if err != nil {
		t.Skipf("no socket of kernel events can be had here: %v", err)
	}
	u := m.(*uevents)
	defer func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}()
	var port unix.Sockaddr
	if err := u.raw.Control(func(fd uintptr) { port, err = unix.Getsockname(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}()
	// To this socket alone: nobody else on this machine hears it.
	to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port.(*unix.SockaddrNetlink).Pid}
	forged := message("add@/devices/forged|ACTION=add|DEVPATH=/devices/forged|SUBSYSTEM=enclosure|")
	for range 3 {
		if err := unix.Sendto(fd, forged, 0, to); errors.Is(err, unix.EPERM) || errors.Is(err, unix.ECONNREFUSED) {
			t.Skipf("the kernel lets nobody send here: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := u.deadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		h, err := u.receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		// Something may really happen on this machine meanwhile; that is no enclosure called forged.
		if e, _ := parseUevent(u.msg); h.malformed || e.path == "/devices/forged" || string(u.msg[:len(forged)]) == string(forged) {
			t.Fatalf("a forged message was taken: %+v", h)
		}
	}
}

func TestWhoSentIt(t *testing.T) {
	kernel := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: ueventGroup}
	root, process, user := unix.UnixCredentials(&unix.Ucred{}), unix.UnixCredentials(&unix.Ucred{Pid: 1}), unix.UnixCredentials(&unix.Ucred{Uid: 1000})
	for name, c := range map[string]struct {
		from unix.Sockaddr
		oob  []byte
		want bool
	}{
		"the kernel":              {kernel, root, true},
		"a process":               {kernel, process, false},
		"a process's port":        {&unix.SockaddrNetlink{Pid: 17, Groups: ueventGroup}, root, false},
		"to another group":        {&unix.SockaddrNetlink{Groups: 2}, root, false},
		"to this process alone":   {&unix.SockaddrNetlink{}, root, false},
		"another's root":          {kernel, user, false},
		"without credentials":     {kernel, nil, false},
		"with half of them":       {kernel, root[:len(root)-8], false},
		"over another protocol":   {&unix.SockaddrUnix{}, root, false},
		"from nobody who is told": {nil, root, false},
	} {
		if got := fromKernel(c.from, c.oob); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The end of ctx ends a wait for the kernel's word.
func TestWatchingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	began := false
	err := NewHost("/", nil, nil).Changes(ctx, func(c Change) {
		if c.Begun {
			began = true
			cancel()
		}
	})
	if !began || !errors.Is(err, context.Canceled) {
		t.Errorf("began %v, %v", began, err)
	}
}
