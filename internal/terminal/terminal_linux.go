// Package terminal tells whether a file is a terminal, at which a person sits.
package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Size is the number of columns and rows, 80 and 24 when the terminal does not say.
func Size(f *os.File) (columns, rows int) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 || size.Row == 0 {
		return 80, 24
	}
	return int(size.Col), int(size.Row)
}

// Is says whether the file is a terminal. /dev/null and pipes are not.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
