package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// A command without an agent that is told to stop stops its job, and says so. No agent goes on with that by itself; whoever runs the
// plan again does.
func TestInterruptWithoutAnAgent(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 16 << 20}, virtual.Spec{Serial: "B", SizeBytes: 1 << 20})
	slow, err := virtual.ParseFault("slow:4000000")
	if err == nil {
		err = rack.Fault("A", slow)
	}
	if err != nil {
		t.Fatal(err)
	}
	holds := func(serial string) int64 {
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
	plan := filepath.Join(t.TempDir(), "plan.json")
	var planned planDocument
	call(t, exitOK, &planned, "--rack", dir, "plan", "A", "B", "-o", plan)
	cmd := program(t, "--rack", dir, "run", "--plan", plan, "--confirm", planned.Result.Digest)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	job := filepath.Join(dir, "agent", "jobs", "j-"+planned.Result.Digest[:12])
	for { // until B is done, and A has begun
		done, err := filepath.Glob(filepath.Join(job, "*", "certificate.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(done) == 1 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit status is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit %d\n%s%s", code, &stdout, &stderr)
	}
	if !strings.Contains(stderr.String(), "stopping") || !strings.Contains(stdout.String(), "A: INTERRUPTED - holds data, resumable") || !strings.Contains(stdout.String(), "B: CLEARED verified") {
		t.Errorf("it said\n%s%s", &stdout, &stderr)
	}
	if certificates, err := filepath.Glob(filepath.Join(job, "*", "certificate.json")); err != nil || len(certificates) != 1 || holds("A") == 0 || holds("B") != 0 {
		t.Fatalf("%d canaries on A, %d on B, certificates %q, %v", holds("A"), holds("B"), certificates, err)
	}
	var by agent.Stopped
	data, err := os.ReadFile(filepath.Join(job, "stopped.json"))
	if err == nil {
		err = json.Unmarshal(data, &by)
	}
	if err != nil || by.By != "a signal to its command" {
		t.Fatalf("%+v, %v", by, err)
	}

	serve, c := startAgent(t, dir)
	j, err := c.Job(t.Context(), filepath.Base(job))
	if err != nil || j.State != api.JobStopped {
		t.Errorf("the agent: %+v, %v", j, err)
	}
	if err := serve.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Error(err)
	}
	if holds("A") == 0 {
		t.Error("the agent went on with it")
	}
	var ran runDocument
	call(t, exitOK, &ran, "--rack", dir, "run", "--plan", plan, "--confirm", planned.Result.Digest)
	if holds("A") != 0 || len(ran.Result.Drives) != 2 || ran.Result.Drives[0].Outcome != "sanitized" {
		t.Errorf("%d canaries, %+v", holds("A"), ran)
	}
}

// What an agent or a service tells of a job's end is success only where it adds up.
func TestPlausibleEnds(t *testing.T) {
	file := "certificate.json"
	good := api.JobDrive{ID: "a", Outcome: "sanitized", Certificate: &file, Verification: &api.Verification{}}
	open := api.JobDrive{ID: "b", Outcome: "interrupted", ExitStatus: exitInterrupted}
	begun := api.Job{ID: "j", Plan: "p", Drives: []api.JobDrive{{ID: "a"}, {ID: "b"}}}
	other := good
	other.ID = "b"
	bare := other
	bare.Certificate = nil
	for _, c := range []struct {
		name  string
		state string
		b     api.JobDrive
		ok    bool
	}{
		{"ended", api.JobEnded, other, true},
		{"one interrupted", api.JobInterrupted, open, true},
		{"one stopped", api.JobStopped, open, true},
		{"all done, and running", api.JobRunning, other, false},
		{"no certificate", api.JobEnded, bare, false},
		{"another drive", api.JobEnded, good, false},
	} {
		end := api.Job{ID: "j", Plan: "p", State: c.state, Drives: []api.JobDrive{good, c.b}}
		if err := plausible(begun, end); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
