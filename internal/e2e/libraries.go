package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withLibraries adds another people's program to a guest's files, at /bin, with the shared libraries that
// it needs, found in a directory first and otherwise in this machine. Without one the test is skipped.
func withLibraries(t *testing.T, files map[string]string, program, libraries string) {
	t.Helper()
	c := exec.Command("ldd", program)
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", program, err)
	}
	files["bin/"+filepath.Base(program)] = program
	for line := range strings.Lines(string(out)) {
		name, from, found := strings.Cut(strings.TrimSpace(line), " => ")
		from, _, _ = strings.Cut(from, " (")
		switch {
		case strings.Contains(line, "not found"):
			t.Skipf("%s needs %s, which this machine does not have", program, name)
		case found:
			files["lib/"+name] = from
		case strings.HasPrefix(name, "/"): // the loader itself
			name, _, _ = strings.Cut(name, " (")
			files[name] = name
		}
	}
}
