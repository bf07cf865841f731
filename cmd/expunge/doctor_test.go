package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
)

// A state in which no run would begin for want of room is a problem before one is tried.
func TestDoctorFindsWantOfRoom(t *testing.T) {
	_, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	state := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no disk can be made that is small: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	refused := started(t, program(t, "--rack", dir, "--state", state, "run", "A", "--confirm", "A")).ends(exitInternal)
	found := started(t, program(t, "--rack", dir, "--state", state, "doctor")).ends(exitInternal)
	if !strings.Contains(refused, "1 drive needs 4194304") || !strings.Contains(found, "1 drive needs 4194304") {
		t.Errorf("%s\n%s", refused, found)
	}
}
