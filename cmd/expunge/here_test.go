package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
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

// A halt stops the job of a command that no agent runs. Both say so, and the agent goes on with it when the halt is ended.
func TestHaltOfACommandWithoutAnAgent(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 64 << 20})
	slow, err := virtual.ParseFault("slow:4000000")
	if err == nil {
		err = rack.Fault("A", slow)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "--rack", dir, "run", "A", "--confirm", "A")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for { // until it has begun
		begun, err := filepath.Glob(filepath.Join(dir, "agent", "jobs", "*", "*", "journal*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(begun) == 1 {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("%v\n%s%s", err, &stdout, &stderr)
		case <-time.After(2 * time.Millisecond):
		}
	}
	serve, c := startAgent(t, dir)
	var told bytes.Buffer
	halt := program(t, "--rack", dir, "halt", "--reason", "stop all")
	halt.Stdout = &told
	if err := halt.Run(); err != nil || !strings.Contains(told.String(), "HALTED") || !strings.Contains(told.String(), "A: another process runs its job") {
		t.Errorf("halt said %s, %v", &told, err)
	}
	_ = <-ended // its exit status is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || !strings.Contains(stdout.String(), "A: INTERRUPTED - holds data, resumable") ||
		!strings.Contains(stderr.String(), "stop all") || !strings.Contains(stderr.String(), "expunge --rack "+dir+" halt --end") {
		t.Errorf("exit %d\n%s%s", code, &stdout, &stderr)
	}
	m, err := rack.Medium("A")
	if err != nil {
		t.Fatal(err)
	}
	if left, _, err := m.CountCanary(oldData); err != nil || left == 0 {
		t.Errorf("%d canaries, %v", left, err)
	}
	if err := rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	jobs, err := c.Jobs(t.Context())
	if err != nil || len(jobs) != 1 || jobs[0].State != api.JobInterrupted {
		t.Fatalf("%+v, %v", jobs, err)
	}
	call(t, exitOK, nil, "--rack", dir, "halt", "--end")
	if end := ends(t, c, jobs[0].ID); end.ExitStatus != exitOK {
		t.Errorf("%+v", end)
	}
	if left, _, err := m.CountCanary(oldData); err != nil || left != 0 {
		t.Errorf("%d canaries, %v", left, err)
	}
	if err := serve.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Error(err)
	}
}

// A command waits for an agent that starts or stops: until it is gone, or listens. One that does neither is no error of the program.
func TestWaitsForAnAgentThatStartsOrStops(t *testing.T) {
	_, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	state := filepath.Join(dir, "agent")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	hold := func() *durable.Lock {
		t.Helper()
		lock, err := durable.TryLock(filepath.Join(state, service.LockName))
		if err != nil {
			t.Fatal(err)
		}
		return lock
	}
	// asks runs a command, and does something when that has found that the agent starts or stops.
	asks := func(ctx context.Context, found func()) (code, waited int, said string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code = (&app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, ctx: ctx, testOnlyWaiting: func() {
			if waited++; waited == 3 {
				found()
			}
		}}).execute([]string{"--rack", dir, "list"})
		return code, waited, stdout.String() + stderr.String()
	}
	lock := hold()
	code, waited, said := asks(t.Context(), func() {
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	})
	if code != exitOK || waited != 3 || !strings.Contains(said, "READY") {
		t.Errorf("an agent that was gone the third time: exit %d after %d looks\n%s", code, waited, said)
	}

	// A person who does not want to wait any more need not.
	lock = hold()
	ctx, cancel := context.WithCancelCause(t.Context())
	if code, waited, said := asks(ctx, func() { cancel(errStopped) }); code != exitSignal || waited != 3 || !strings.Contains(said, "nothing was begun") {
		t.Errorf("told to stop at the third look: exit %d after %d\n%s", code, waited, said)
	}

	socket := filepath.Join(t.TempDir(), "s")
	stale, err := net.Listen("unix", socket)
	if err == nil {
		stale.(*net.UnixListener).SetUnlinkOnClose(false)
		var word *announcement
		word, err = announcementOf(state, socket)
		err = errors.Join(stale.Close(), err, word.keep())
	}
	if err != nil {
		t.Fatal(err)
	}
	var told struct{ Errors []documentError }
	call(t, exitInterrupted, &told, "--rack", dir, "list")
	if len(told.Errors) != 1 || told.Errors[0].Code != "stopping" || !strings.Contains(told.Errors[0].Hint, "try again") {
		t.Errorf("%+v", told)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// What speaks against a plan is said before somebody types a confirmation in vain, by an agent and without one.
func TestWhatSpeaksAgainstAPlanIsSaidFirst(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	file := filepath.Join(t.TempDir(), "plan.json")
	call(t, exitOK, nil, "--rack", dir, "plan", "A", "-o", file)
	plan, err := readPlan(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(change func(*sanitize.Plan)) string {
		t.Helper()
		p, name := plan, filepath.Join(t.TempDir(), "plan.json")
		change(&p)
		data, err := sanitize.MarshalPlan(p)
		if err == nil {
			err = os.WriteFile(name, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	expired := write(func(p *sanitize.Plan) {
		p.Created, p.Expires = p.Created.Add(-48*time.Hour), p.Expires.Add(-48*time.Hour)
	})
	foreign := write(func(p *sanitize.Plan) { p.Host = "another" })
	says := func(word string, args ...string) { // without --confirm, and without a terminal to ask at
		t.Helper()
		_, stderr, code := on(t, rack, append([]string{"run"}, args...)...)
		if code != exitRefused || !strings.Contains(stderr, word) || strings.Contains(stderr, "not confirmed") {
			t.Errorf("run %v: exit %d, %s", args, code, stderr)
		}
	}
	says("expired", "--plan", expired)
	says("another host", "--plan", foreign)

	serve, c := startAgent(t, dir)
	if _, err := c.Halt(t.Context(), api.HaltRequest{Halted: true, Reason: "the wrong rack"}); err != nil {
		t.Fatal(err)
	}
	says("the wrong rack", "A")
	if err := serve.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Error(err)
	}
	says("the wrong rack", "A")
	says("the wrong rack", "--plan", file)
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
