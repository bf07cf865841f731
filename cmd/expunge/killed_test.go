package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// The command is killed while a drive carries out a security erase, and its job is resumed too early: the drive refuses all that it is
// told, also to give up its password. What comes of it is said only with a certificate, and with nothing left on the drive.
func TestSecurityEraseIsResumedTooEarly(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "S", Profile: "sata-ssd-basic", SizeBytes: 4 << 20, EraseSeconds: 3})
	run := program(t, "--rack", dir, "run", "S", "--confirm", "S")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	journal := waitFor(t, filepath.Join(dir, "agent/jobs/*/*/journal"), `"SECURITY ERASE UNIT"`)
	time.Sleep(100 * time.Millisecond) // the drive gets it
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait() // it was killed
	job := filepath.Base(filepath.Dir(filepath.Dir(journal)))
	for early, until := 0, time.Now().Add(time.Minute); ; early++ {
		cmd := program(t, "--rack", dir, "jobs", "resume", job)
		_ = cmd.Run() // its exit status says what came of it
		if code := cmd.ProcessState.ExitCode(); code == exitOK && early > 0 {
			break
		} else if code != exitInterrupted {
			t.Fatalf("resumed %d times: exit status %d", early+1, code)
		}
		if time.Now().After(until) {
			t.Fatal("it does not come to an end")
		}
		time.Sleep(500 * time.Millisecond)
	}
	m, err := rack.Medium("S")
	if err != nil {
		t.Fatal(err)
	}
	if left, hidden, err := m.CountCanary(oldData); err != nil || left+hidden != 0 || m.Locked() {
		t.Errorf("%d and %d canaries, %v, locked: %v", left, hidden, err, m.Locked())
	}
	var shown struct{ Result api.Job }
	call(t, exitOK, &shown, "--rack", dir, "jobs", "show", job)
	if len(shown.Result.Drives) != 1 || shown.Result.Drives[0].Certificate == nil {
		t.Fatalf("%+v", shown.Result)
	}
	data, err := os.ReadFile(*shown.Result.Drives[0].Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if r := attest.Verify(data, attest.Trust{}); r.Result == nil || r.Result.Outcome.Status != "sanitized" {
		t.Errorf("%+v", r)
	}
	call(t, exitOK, nil, "--rack", dir, "audit")
}

// waitFor is the file of a pattern that has some text, when it has.
func waitFor(t *testing.T, pattern, text string) string {
	t.Helper()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if data, err := os.ReadFile(name); err == nil && bytes.Contains(data, []byte(text)) {
				return name
			}
		}
	}
	t.Fatalf("no %s has %q", pattern, text)
	return ""
}

// Whoever may not look into a state is not told that no agent runs: they would take it that the host is idle.
func TestWhoMayNotLookIsNotToldThatNoAgentRuns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	_, dir := rackOf(t, virtual.Spec{Serial: "S", SizeBytes: 1 << 20})
	startAgent(t, dir)
	cmd := program(t, "--rack", dir, "health")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	open, err := os.MkdirTemp("", "expunge-open-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(open)
	data, err := os.ReadFile(cmd.Path)
	cmd.Path = filepath.Join(open, "expunge")
	if err = errors.Join(err, os.Chmod(open, 0o711), os.WriteFile(cmd.Path, data, 0o755)); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitPermission {
		t.Errorf("exit status %d, %v: %s", code, err, out)
	}
}
