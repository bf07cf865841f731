package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// The program is killed while a drive erases itself. The drive goes on; watch follows it from
// outside, recover waits for it, proves and certifies it. Another drive, that erases itself by
// nobody's order here, is reported and left alone.
func TestKilledWhileTheDriveErases(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rack")
	rack, err := virtual.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{"OURS", "THEIRS"} {
		if _, err := rack.Add(virtual.Spec{Profile: "nvme-ssd", Serial: serial, SizeBytes: 4 << 20, EraseSeconds: map[string]int64{"OURS": 3, "THEIRS": 3600}[serial]}); err != nil {
			t.Fatal(err)
		}
		if err := rack.Populate(serial, canary); err != nil {
			t.Fatal(err)
		}
	}
	orderElsewhere(t, rack, "/dev/nvme1n1")

	plan := filepath.Join(t.TempDir(), "plan.json")
	var planned planDocument
	call(t, exitOK, &planned, "plan", "OURS", "--method", "purge", "--technique", "block", "-o", plan, "--rack", dir)
	cmd := program(t, "run", "--plan", plan, "--confirm", planned.Result.Digest, "--rack", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	job := "j-" + planned.Result.Digest[:12]
	journal := filepath.Join(dir, "agent/jobs", job, "*", "journal")
	for sent := false; !sent; time.Sleep(2 * time.Millisecond) {
		files, err := filepath.Glob(journal)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sent = bytes.Contains(data, []byte(`"operation_sent"`))
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed

	var watched runDocument
	call(t, exitInterrupted, &watched, "watch", "--rack", dir)
	if d := watched.Result.Drives[0]; d.Outcome != "interrupted" || d.Certificate != "" {
		t.Errorf("watched: %+v", d)
	}
	var recovered struct {
		Result struct {
			Jobs []struct {
				Drives []struct{ Outcome, Serial, Certificate string }
			}
			Left []struct {
				Serial string
				Reason struct{ Code string }
			}
		}
	}
	call(t, exitInterrupted, &recovered, "recover", "--rack", dir)
	r := recovered.Result
	if len(r.Jobs) != 1 || r.Jobs[0].Drives[0].Outcome != "sanitized" || len(r.Left) != 1 || r.Left[0].Serial != "THEIRS" || r.Left[0].Reason.Code != devices.ReasonSanitizing {
		t.Fatalf("%+v", r)
	}
	call(t, exitOK, nil, "verify", "--allow-simulated", r.Jobs[0].Drives[0].Certificate, "--rack", dir)
	m, err := rack.Medium("OURS")
	if err != nil {
		t.Fatal(err)
	}
	if blank, err := m.Blank(); err != nil || !blank || len(m.Begun()) != 1 {
		t.Errorf("blank %v, %d operations, %v", blank, len(m.Begun()), err)
	}
	if m, err = rack.Medium("THEIRS"); err != nil || len(m.Begun()) != 1 {
		t.Errorf("the other drive: %d operations, %v", len(m.Begun()), err)
	}
}

// orderElsewhere begins a sanitize that no job knows.
func orderElsewhere(t *testing.T, rack *virtual.Rack, node string) {
	t.Helper()
	tr, err := rack.Opener()(t.Context(), node, devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	c, err := nvme.Sanitize{SANACT: nvme.BlockErase}.Command()
	if err != nil {
		t.Fatal(err)
	}
	if done, err := tr.NVMe(t.Context(), c); err != nil || done.Err() != nil {
		t.Fatal(err, done.Err())
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}

// watch follows a job that another process runs, to its end.
func TestWatchFollowsAnotherProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rack")
	rack, err := virtual.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rack.Add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 4 << 20, EraseSeconds: 4}); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "run", "A", "--method", "purge", "--technique", "block", "--confirm", "A", "--rack", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var files []string
	for ; len(files) == 0; time.Sleep(2 * time.Millisecond) {
		if files, err = filepath.Glob(filepath.Join(dir, "agent/jobs/j-*/*/journal")); err != nil {
			t.Fatal(err)
		}
	}
	job := filepath.Base(filepath.Dir(filepath.Dir(files[0])))
	if out, _ := program(t, "jobs", "show", job, "--rack", dir).Output(); !strings.Contains(string(out), "RUNNING") || strings.Contains(string(out), "resume") {
		t.Errorf("while it runs:\n%s", out) // whoever follows "resume" is refused
	}
	watch := program(t, "watch", "--json=stream", "--rack", dir)
	out, err := watch.Output()
	if err != nil || !strings.Contains(string(out), `"outcome":"sanitized"`) || !strings.Contains(string(out), `"stage":"block erase"`) {
		t.Errorf("%v\n%s", err, out)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
