package virtual

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// punchHole makes the first bytes of a file read as zeros, at once and without changing its size: a process that is killed meanwhile
// leaves a medium that is as large as before. It reports false where the file system cannot.
func punchHole(f *os.File, size int64) (bool, error) {
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	return err == nil, err
}
