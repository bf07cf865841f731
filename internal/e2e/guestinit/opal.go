package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests of the kernel's own stack for self-encrypting drives (linux/sed-opal.h).
const (
	opalPSIDRevert = 0x410870e8
	opalGetStatus  = 0x800870ec
	opalDiscovery  = 0x401070ef
)

func init() {
	// opal-status NODE: flags, as the kernel has them.
	builtins["opal-status"] = func(args []string) ([]byte, error) {
		b := make([]byte, 8)
		_, err := opal(args[0], opalGetStatus, b)
		return fmt.Appendf(nil, "%#x", binary.LittleEndian.Uint32(b)), err
	}
	// opal-discovery NODE: Level 0 discovery, as the kernel reads it. It copies as many bytes as the answer's length
	// says, which does not count itself, so that the last four are not there: of a virtual drive they are zeros.
	builtins["opal-discovery"] = func(args []string) ([]byte, error) {
		page, b := make([]byte, 2048), make([]byte, 16)
		binary.LittleEndian.PutUint64(b, uint64(uintptr(unsafe.Pointer(&page[0]))))
		binary.LittleEndian.PutUint64(b[8:], uint64(len(page)))
		n, err := opal(args[0], opalDiscovery, b)
		return page[:min(n+4, len(page))], err
	}
	// opal-psid NODE PSID: the kernel's own revert.
	builtins["opal-psid"] = func(args []string) ([]byte, error) {
		b := make([]byte, 264)
		b[1] = byte(copy(b[8:], args[1]))
		_, err := opal(args[0], opalPSIDRevert, b)
		return nil, err
	}
}

// opal sends a request. What it returns may be a number of bytes, or a TCG status.
func opal(node string, request uintptr, b []byte) (int, error) {
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&b[0])))
	if errno != 0 {
		return 0, fmt.Errorf("%s: opal request %#x: %w", node, request, errno)
	}
	if request != opalDiscovery && n != 0 {
		return 0, fmt.Errorf("%s: opal request %#x: TCG status %#x", node, request, n)
	}
	return int(n), nil
}
