package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/virtual"
)

// readmeLines are the command lines of a section of the README.
func readmeLines(t *testing.T, section string) string {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(data), "\n## "+section+"\n")
	if !found {
		t.Fatalf("the README has no section %q", section)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	var lines []string
	for line := range strings.Lines(text) {
		if code, is := strings.CutPrefix(line, "    "); is {
			lines = append(lines, code)
		}
	}
	if len(lines) == 0 {
		t.Fatalf("section %q has no command lines", section)
	}
	return strings.Join(lines, "")
}

// Whoever pastes the README's lines about the agent gets what they promise: a drive that was erased, and a certificate of it.
func TestReadmeRunTheAgent(t *testing.T) {
	for _, tool := range []string{"curl", "jq", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	program(t)
	expunge, err := built()
	if err != nil {
		t.Fatal(err)
	}
	rack, dir := rackOf(t, virtual.Spec{Serial: "LIAR", SizeBytes: 1 << 20})
	lines := strings.ReplaceAll(readmeLines(t, "Run the agent"), "/tmp/rack", dir)
	begin, rest, found := strings.Cut(lines, " &\n")
	if !found {
		t.Fatal("the README does not start the agent")
	}
	script := "set -eu -o pipefail\n" + begin + " & agent_pid=$!\ntrap 'kill -INT $agent_pid; wait $agent_pid' EXIT\n" + rest
	work := t.TempDir()
	if err := os.Symlink(expunge, filepath.Join(work, "expunge")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir, cmd.WaitDelay = work, 10*time.Second
	cmd.Env = append(os.Environ(), "PATH="+work+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"LIAR\tready", "CLEARED verified", "LIAR\tsanitized", `expunge_job_drives_total{method="clear",outcome="sanitized"} 1`, "HALTED by", `"safe_to_power_off": true`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	m, err := rack.Medium("LIAR")
	if err != nil {
		t.Fatal(err)
	}
	if left, _, err := m.CountCanary(oldData); err != nil || left != 0 {
		t.Errorf("%d canaries are left, %v", left, err)
	}
}

// The unit hides no more of the host than the checks of what is in use can do without, and keeps nothing that the agent does not need.
func TestUnit(t *testing.T) {
	unit, err := filepath.Abs("systemd/expunge.service")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, _, is := strings.Cut(strings.TrimSpace(line), "=")
		if !is || strings.HasPrefix(line, "#") {
			continue
		}
		switch name {
		case "ProtectProc", "ProcSubset", "PrivateDevices", "PrivateUsers", "PrivateMounts", "PrivateTmp", "PrivatePIDs", "InaccessiblePaths", "TemporaryFileSystem", "RootDirectory", "PrivateNetwork":
			t.Errorf("%s= blinds the checks of who uses a drive", name)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	// The threshold is in tenths: an exposure above 4.0 fails.
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", unit).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Log(lines[len(lines)-1])
	if strings.Contains(string(out), "ignoring") {
		t.Errorf("%s", out)
	}
}
