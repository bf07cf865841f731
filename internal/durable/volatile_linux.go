package durable

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Free is how many bytes can still be written in a directory. A file system that does not count its
// blocks, such as the ramfs of an initramfs, has no bound that could be told.
func Free(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	if fs.Blocks == 0 {
		return math.MaxInt64, nil
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}

// ReadOnly says whether a directory is on a file system that is read-only now.
func ReadOnly(dir string) bool { return errors.Is(unix.Access(dir, unix.W_OK), unix.EROFS) }

// Volatile says whether a directory, or the nearest one above it that is there, is in memory:
// what is written there does not survive a power cut, whatever is fsynced.
func Volatile(dir string) bool {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return false
	}
	return fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC
}
