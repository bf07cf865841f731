package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
)

const nobody = 65534

// asNobody is the program as a user runs it who is not root. It needs root.
func asNobody(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	cmd := program(t, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	open := openDir(t)
	data, err := os.ReadFile(cmd.Path)
	cmd.Path = filepath.Join(open, "expunge")
	if err = errors.Join(err, os.WriteFile(cmd.Path, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// openDir is a directory that everybody can look into.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "expunge-open-")
	if err = errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// wants runs a command and looks at its exit status and at what it says.
func wants(t *testing.T, cmd *exec.Cmd, code int, says ...string) {
	t.Helper()
	out, _ := cmd.CombinedOutput() // its exit status is looked at
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("%v: exit status %d, want %d\n%s", cmd.Args[1:], got, code, out)
	}
	for _, words := range says {
		if !strings.Contains(string(out), words) {
			t.Errorf("%v does not say %q:\n%s", cmd.Args[1:], words, out)
		}
	}
	for _, words := range []string{"permission denied", "no space left", ".tmp"} {
		if strings.Contains(string(out), words) {
			t.Errorf("%v says %q:\n%s", cmd.Args[1:], words, out)
		}
	}
}

// chown gives all files below a directory to a user.
func chown(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, uid, uid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody who may not change a rack is told that, not that the command line is wrong: scripts that mend their command line would go
// on for ever.
func TestARackThatIsNotOnes(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := filepath.Join(openDir(t), "rack")
	if _, err := rackIn(dir, virtual.Spec{Serial: "A", SizeBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"add", "--serial", "B", "--size", "1M"}, {"fault", "A", "write-error:0+8"}, {"use", "A", "swap"}, {"power-cycle", "A"}} {
		wants(t, asNobody(t, append([]string{"--rack", dir, "rack"}, args...)...), exitPermission, "not permitted to", "belongs to root")
	}
	wants(t, asNobody(t, "rack", "create", filepath.Join(dir, "other")), exitPermission, "not permitted to", "belongs to root")
	wants(t, asNobody(t, "--rack", dir, "doctor"), exitInternal, "WARNING  privilege", "not opened", "belongs to root")
	if infos, err := mustOpen(t, dir).Drives(); err != nil || len(infos) != 1 || len(infos[0].Faults)+len(infos[0].Uses) > 0 {
		t.Errorf("%+v, %v", infos, err)
	}
}

// One run by root in a user's rack keeps the user out: they are told by whose files, and what gives them back; it does.
func TestOneRunByRootLocksAUserOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := filepath.Join(openDir(t), "rack")
	rack, err := rackIn(dir, virtual.Spec{Serial: "A", SizeBytes: 1 << 20}, virtual.Spec{Serial: "B", SizeBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	chown(t, dir, nobody)
	wants(t, program(t, "--rack", dir, "run", "A", "--confirm", "A"), exitOK)
	give := "sudo chown -R "
	wants(t, asNobody(t, "--rack", dir, "run", "B", "--confirm", "B"), exitPermission, untouched, "agent belongs to root", give)
	wants(t, asNobody(t, "--rack", dir, "jobs"), exitPermission, "agent belongs to root", give)
	wants(t, asNobody(t, "--rack", dir, "doctor"), exitInternal, "WARNING  owners", "agent belongs to root", give)
	wants(t, program(t, "--rack", dir, "doctor"), exitOK, "WARNING  owners", "agent belongs to root", give)
	if left := canaries(t, rack, "B"); left == 0 {
		t.Error("B was touched")
	}
	chown(t, dir, nobody)
	wants(t, asNobody(t, "--rack", dir, "run", "B", "--confirm", "B"), exitOK)
	// The state of a host is root's: nobody is told to take it.
	state := filepath.Join(openDir(t), "state")
	wants(t, program(t, "--rack", dir, "--state", state, "jobs"), exitOK)
	cmd := asNobody(t, "--rack", dir, "--state", state, "jobs")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != exitPermission || !strings.Contains(string(out), "run as root") || strings.Contains(string(out), "chown") {
		t.Errorf("%s", out)
	}
}

// A state that cannot be written ends a run before anything is touched, and that is said.
func TestAStateWithoutRoom(t *testing.T) {
	full := t.TempDir()
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("no disk can be made that fills up: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(full, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	run := func(state string) *exec.Cmd {
		return program(t, "--rack", dir, "--state", state, "run", "A", "--confirm", "A")
	}
	wants(t, run(filepath.Join(full, "little")), exitInternal, "no room for the evidence", untouched, "make room there")
	filler := filepath.Join(full, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("it is not full: %v", err)
	}
	wants(t, run(filepath.Join(full, "none")), exitInternal, "no room is left there", untouched, "make room there")
	wants(t, program(t, "--rack", dir, "--state", filepath.Join(full, "none"), "plan", "A"), exitInternal, "no room is left there", untouched)
	wants(t, program(t, "--rack", dir, "plan", "A", "-o", filepath.Join(full, "plan.json")), exitInternal, "plan.json was not written: no room is left there")
	wants(t, program(t, "rack", "create", filepath.Join(full, "rack")), exitInternal, "no room is left there")
	if err := errors.Join(os.Remove(filler), syscall.Mount("", full, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")); err != nil {
		t.Fatal(err)
	}
	wants(t, run(filepath.Join(full, "sealed")), exitPermission, "the file system is read-only", untouched, "choose another")
	if canaries(t, rack, "A") == 0 {
		t.Error("A was touched")
	}
	var doc struct {
		Errors []struct{ Code, Hint string }
	}
	call(t, exitPermission, &doc, "--rack", dir, "--state", filepath.Join(full, "sealed"), "run", "A", "--confirm", "A")
	if len(doc.Errors) != 1 || doc.Errors[0].Code != "read_only" || !strings.Contains(doc.Errors[0].Hint, untouched) {
		t.Errorf("%+v", doc)
	}
}

// canaries is how often old data is left on a drive.
func canaries(t *testing.T, rack *virtual.Rack, serial string) int64 {
	t.Helper()
	m, err := rack.Medium(serial)
	if err != nil {
		t.Fatal(err)
	}
	left, _, err := m.CountCanary(oldData)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// rackIn makes a rack of drives in a directory.
func rackIn(dir string, specs ...virtual.Spec) (*virtual.Rack, error) {
	rack, err := virtual.Create(dir)
	for _, s := range specs {
		if err == nil {
			err = addDrive(rack, s)
		}
	}
	return rack, err
}

func mustOpen(t *testing.T, dir string) *virtual.Rack {
	t.Helper()
	rack, err := virtual.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return rack
}
