package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
)

// A person whose log is gone is told what to do, and it helps.
func TestWhatToDoAboutALogThatIsGone(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20}, virtual.Spec{Serial: "B", SizeBytes: 1 << 20})
	call(t, exitOK, nil, "--rack", dir, "run", "A", "--confirm", "A")
	log, aside := filepath.Join(dir, "agent", "log"), filepath.Join(t.TempDir(), "log")
	if err := os.Rename(log, aside); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is a directory
		_, stderr, code := on(t, rack, "run", "B", "--confirm", "B")
		for _, word := range []string{"is missing", "delete nothing", "put the whole log directory back", "expunge --rack " + dir + " audit", "a new --state"} {
			if code != exitInternal || !strings.Contains(stderr, word) {
				t.Fatalf("exit %d, no %q: %s", code, word, stderr)
			}
		}
	}
	// A new state does it.
	if _, stderr, code := on(t, rack, "--state", filepath.Join(t.TempDir(), "new"), "run", "B", "--confirm", "B"); code != exitOK {
		t.Errorf("with a new state: exit %d, %s", code, stderr)
	}
	// So does the log put back.
	if err := os.RemoveAll(log); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, log); err != nil {
		t.Fatal(err)
	}
	call(t, exitOK, nil, "--rack", dir, "run", "B", "--confirm", "B")
	if stdout, stderr, code := on(t, rack, "audit", filepath.Join(dir, "agent"), "--allow-simulated"); code == exitInvalid || code == exitInternal {
		t.Errorf("audit: exit %d\n%s%s", code, stdout, stderr)
	}
}
