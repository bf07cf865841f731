package devicetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Loop makes a loop device over a new file that is full of a byte string, and detaches it when
// the test ends. It needs root, and skips the test, saying so, without it.
func Loop(t testing.TB, size int64, fill []byte) (node, file string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loop devices need root: run the tests as root to have this one")
	}
	file = filepath.Join(t.TempDir(), "backing")
	data := make([]byte, size)
	for at := 0; at < len(data) && len(fill) > 0; {
		at += copy(data[at:], fill)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	node, err := attach(file)
	if err != nil {
		t.Skipf("this machine gives out no loop device: %v", err)
	}
	t.Cleanup(func() {
		if err := Detach(node); err != nil {
			t.Error(err)
		}
	})
	return node, file
}

func attach(file string) (string, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = control.Close() }() // nothing was written
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = backing.Close() }() // the device holds the file from here on
	// Another process may take the free device first.
	for range 20 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", err
		}
		node := fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.OpenFile(node, os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		err = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(backing.Fd()))
		if closed := loop.Close(); err == nil {
			return node, closed
		}
	}
	return "", unix.EBUSY
}

// Detach takes the file away from a loop device that Loop made.
func Detach(node string) error {
	loop, err := os.OpenFile(node, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	err = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0)
	if closed := loop.Close(); err == nil {
		err = closed
	}
	if err == unix.ENXIO {
		return nil // detached already
	}
	// The kernel detaches when the last user is gone.
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if _, err := os.Stat("/sys/block/" + filepath.Base(node) + "/loop/backing_file"); err != nil {
			return nil
		}
	}
	return err
}
