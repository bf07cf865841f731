package blockio

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is the system calls of the kernel's queues. Tests refuse some, as a policy or a full table would.
type kernel struct {
	uringSetup    func(entries uint32, p *uringParams) (fd int, err error)
	uringEnter    func(fd int, submit, least, flags uint32, arg *uringWait) error
	uringRegister func(fd int, op uint32, arg unsafe.Pointer, n uint32) error

	aioSetup   func(requests int) (aioContext, error)
	aioDestroy func(aioContext) error
	aioSubmit  func(aioContext, *iocb) error
	aioEvents  func(c aioContext, least int, into []aioEvent, timeout *unix.Timespec) (int, error)
	fdatasync  func(fd int) error
}

// linux is the kernel that runs this program.
var linux = kernel{
	uringSetup: func(entries uint32, p *uringParams) (int, error) {
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
		return int(fd), failed(errno)
	},
	uringEnter: func(fd int, submit, least, flags uint32, arg *uringWait) error {
		size := uintptr(0)
		if arg != nil {
			size, flags = unsafe.Sizeof(*arg), flags|enterExtArg
		}
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), uintptr(least), uintptr(flags), uintptr(unsafe.Pointer(arg)), size)
		return failed(errno)
	},
	uringRegister: func(fd int, op uint32, arg unsafe.Pointer, n uint32) error {
		for {
			_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), uintptr(op), uintptr(arg), uintptr(n), 0, 0)
			if errno != unix.EINTR {
				return failed(errno)
			}
		}
	},
	aioSetup: func(requests int) (aioContext, error) {
		var c aioContext // must be 0
		_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, uintptr(requests), uintptr(unsafe.Pointer(&c)), 0)
		return c, failed(errno)
	},
	aioDestroy: func(c aioContext) error {
		_, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, uintptr(c), 0, 0)
		return failed(errno)
	},
	aioSubmit: func(c aioContext, one *iocb) error {
		list := [1]*iocb{one}
		_, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, uintptr(c), 1, uintptr(unsafe.Pointer(&list)))
		return failed(errno)
	},
	aioEvents: func(c aioContext, least int, into []aioEvent, timeout *unix.Timespec) (int, error) {
		n, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, uintptr(c), uintptr(least), uintptr(len(into)),
			uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(unsafe.Pointer(timeout)), 0)
		return int(n), failed(errno)
	},
	fdatasync: unix.Fdatasync,
}

func failed(errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func timespec(d time.Duration) unix.Timespec { return unix.NsecToTimespec(d.Nanoseconds()) }
