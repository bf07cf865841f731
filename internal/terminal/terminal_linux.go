// Package terminal tells whether a file is a terminal, at which a person sits.
package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Width is the number of columns, 80 when the terminal does not say.
func Width(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 80
	}
	return int(size.Col)
}

// Is says whether the file is a terminal. /dev/null and pipes are not.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
