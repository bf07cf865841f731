package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// hastyAgent starts an agent of which jobs are hardly given time to stop.
func hastyAgent(t *testing.T, rack string, args ...string) (*commanded, *client.Client) {
	t.Helper()
	cmd := started(t, exec.CommandContext(t.Context(), hasty, append([]string{"--json", "--rack", rack, "serve"}, args...)...))
	c := client.Unix(filepath.Join(rack, "agent", "agent.sock"))
	t.Cleanup(c.Close)
	cmd.until(func() bool { _, err := c.Health(t.Context()); return err == nil }, "an answer")
	return cmd, c
}

// notStopped is what an agent says that ended with something that has not stopped.
func (c *commanded) notStopped() documentError {
	c.t.Helper()
	all := c.ends(exitInterrupted)
	var doc document
	if err := json.Unmarshal([]byte(c.stdout.String()), &doc); err != nil || doc.ExitStatus != exitInterrupted || len(doc.Errors) != 1 || doc.Errors[0].Code != "not_stopped" ||
		strings.Contains(all, "context") || strings.Contains(all, "internal") {
		c.t.Fatalf("%v\n%s", err, all)
	}
	return doc.Errors[0]
}

// What a user would lose: whoever told the agent to stop believes that it broke, while a drive erases itself by a command that
// nothing interrupts. With the next agent the job comes to its end.
func TestStopWhileADriveErasesItself(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "S", Profile: "sata-ssd-basic", SizeBytes: 1 << 20, EraseSeconds: 4})
	agent, c := hastyAgent(t, dir)
	p, err := c.Plan(t.Context(), api.PlanRequest{Drives: []string{"S"}, Request: sanitize.Request{Technique: "security-erase"}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.Start(t.Context(), api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: 1})
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Events(t.Context(), j.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == "operation_begun" {
			break
		}
	}
	time.Sleep(300 * time.Millisecond) // the drive gets it
	agent.signal(syscall.SIGTERM)
	told := agent.notStopped()
	if !strings.Contains(told.Message, j.ID) || !strings.HasSuffix(told.Message, "erase themselves, which nothing stops: S") || !strings.Contains(told.Hint, "next agent") {
		t.Errorf("%+v", told)
	}
	next, c := startAgent(t, dir)
	// The drive takes nothing before it is through, and the job is resumed then.
	for until := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		now, err := c.Job(t.Context(), j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now.State == api.JobEnded {
			if now.ExitStatus != exitOK || left(t, rack, "S") != 0 {
				t.Errorf("%+v; %d canaries", now, left(t, rack, "S"))
			}
			break
		}
		if time.Now().After(until) {
			t.Fatalf("it does not come to an end: %+v", now)
		}
		if _, err := c.Resume(t.Context(), j.ID, api.ResumeRequest{}); err != nil {
			t.Logf("too early: %v", err)
		}
	}
	stop(t, next)
}

// A drive that answers nothing is no drive that erases itself.
func TestStopWhileADriveDoesNotAnswer(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "H", SizeBytes: 1 << 20})
	f, err := virtual.ParseFault("hang:5")
	if err == nil {
		err = rack.Fault("H", f)
	}
	if err != nil {
		t.Fatal(err)
	}
	agent, c := hastyAgent(t, dir)
	j := begin(t, c, "H")
	agent.until(func() bool {
		now, err := c.Job(t.Context(), j.ID)
		return err == nil && now.Drives[0].Progress != nil && now.Drives[0].Progress.Stage != ""
	}, "the pass")
	time.Sleep(300 * time.Millisecond) // the drive gets its first write
	agent.signal(syscall.SIGTERM)
	if told := agent.notStopped(); !strings.Contains(told.Message, "job "+j.ID+" did not stop in time") || strings.Contains(told.Message, "themselves") {
		t.Errorf("%+v", told)
	}
}

// An agent whose state was replaced says so when it ends, and takes nothing away from what is there.
func TestStopWhileTheStateIsAnother(t *testing.T) {
	_, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	agent, _ := hastyAgent(t, dir)
	state := filepath.Join(dir, "agent")
	if err := errors.Join(os.Rename(state, state+"-moved"), os.Mkdir(state, 0o700), os.WriteFile(filepath.Join(state, servingFile), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	agent.signal(syscall.SIGTERM)
	if said := agent.ends(exitInternal); !strings.Contains(said, "another than the one that this agent opened") || !strings.Contains(said, "put back the one") {
		t.Error(said)
	}
	if _, err := os.Stat(filepath.Join(state, servingFile)); err != nil {
		t.Error(err)
	}
}
