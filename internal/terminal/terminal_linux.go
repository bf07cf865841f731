// Package terminal tells whether a file is a terminal, at which a person sits.
package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Is says whether the file is a terminal. /dev/null and pipes are not.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
