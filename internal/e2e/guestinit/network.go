package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// address gives a network interface its address, and brings it up: netdevice(7).
func address(args []string) ([]byte, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("address INTERFACE ADDRESS/BITS, not %q", args)
	}
	prefix, err := netip.ParsePrefix(args[1])
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(args[0])
	if err != nil {
		return nil, err
	}
	mask := ^uint32(0) << (32 - prefix.Bits())
	for _, x := range []struct {
		request uint
		address []byte
	}{{unix.SIOCSIFADDR, prefix.Addr().AsSlice()}, {unix.SIOCSIFNETMASK, []byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}}} {
		if err := r.SetInet4Addr(x.address); err != nil {
			return nil, err
		}
		if err := unix.IoctlIfreq(fd, x.request, r); err != nil {
			return nil, fmt.Errorf("address of %s: %w", args[0], err)
		}
	}
	if r, err = unix.NewIfreq(args[0]); err == nil {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	}
	if err != nil {
		return nil, fmt.Errorf("bring %s up: %w", args[0], err)
	}
	return nil, nil
}

// connectNVMe has the kernel connect a controller over a fabric, and says which instance it is.
func connectNVMe(args []string) ([]byte, error) {
	f, err := os.OpenFile("/dev/nvme-fabrics", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.WriteString(args[0]); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	b := make([]byte, 256)
	n, err := f.Read(b)
	return b[:max(0, n)], err
}

// overSocket sends a request to a Unix socket, as it is given: SOCKET TEXT. It writes what is answered until the other side closes.
func overSocket(args []string) {
	c, err := net.Dial("unix", args[0])
	if err == nil {
		_, err = io.WriteString(c, args[1])
	}
	if err == nil {
		_, err = io.Copy(os.Stdout, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
