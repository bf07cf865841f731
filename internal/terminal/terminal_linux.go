// Package terminal tells whether a file is a terminal, at which a person sits.
package terminal

import (
	"errors"
	"fmt"
	"os"
	"strings"

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

// errStopped: the person who typed gave up.
var errStopped = errors.New("nothing was typed")

// Secret reads one line that a person types and nobody sees. The interrupt key ends it, and is no signal then, so
// that the terminal is never left blind.
func Secret(f *os.File) (line string, err error) {
	was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	blind := *was
	blind.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	blind.Cc[unix.VMIN], blind.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &blind); err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	defer func() { err = errors.Join(err, unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, was)) }()
	var typed []byte
	for one := make([]byte, 1); ; {
		if _, err := f.Read(one); err != nil {
			return "", err
		}
		switch one[0] {
		case '\r', '\n':
			return strings.TrimSpace(string(typed)), nil
		case 3, 4: // interrupt, end of input
			return "", errStopped
		case 8, 127:
			typed = typed[:max(0, len(typed)-1)]
		default:
			typed = append(typed, one[0])
		}
	}
}
