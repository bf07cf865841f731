//go:build unix

package devices

import (
	"fmt"
	"io/fs"
	"syscall"
)

// inode names a file by device and inode; other is used where the system has none.
func inode(info fs.FileInfo, other string) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return other
}

// deviceNumber is what device a node is, and whether a block device or a character device.
func deviceNumber(info fs.FileInfo) (n Number, block, character bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&fs.ModeDevice == 0 {
		return Number{}, false, false
	}
	dev := uint64(st.Rdev) // int32 on darwin
	// The encoding of glibc's makedev, which Linux uses.
	major := uint32(dev>>8&0xfff) | uint32(dev>>32&^0xfff)
	minor := uint32(dev&0xff) | uint32(dev>>12&^0xff)
	character = info.Mode()&fs.ModeCharDevice != 0
	return Number{major, minor}, !character, character
}
