package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// In the middle of a job of the command itself no second signal makes it end as one that had begun nothing, whatever ends it. A closed
// terminal is a first one, unless the command was started so that it outlives that.
func TestSignalsInTheMiddleOfAJob(t *testing.T) {
	for _, x := range []struct {
		name    string
		signals []os.Signal
		hangs   bool // the drive answers nothing any more: only a second signal ends it
		nohup   bool
		code    int
	}{
		{"closed terminal", []os.Signal{syscall.SIGHUP}, false, false, exitInterrupted},
		{"closed terminal, nohup", []os.Signal{syscall.SIGHUP}, false, true, exitOK},
		{"twice", []os.Signal{os.Interrupt, os.Interrupt}, true, false, exitInterrupted},
		{"quit", []os.Signal{syscall.SIGQUIT}, true, false, exitInterrupted},
	} {
		t.Run(x.name, func(t *testing.T) {
			rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 16 << 20})
			full := left(t, rack, "A")
			fault := func(text string) {
				t.Helper()
				f, err := virtual.ParseFault(text)
				if err == nil {
					err = rack.Fault("A", f)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			fault("slow:8000000")
			cmd := program(t, "--rack", dir, "--json", "run", "A", "--confirm", "A")
			if x.nohup {
				cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, cmd.Args...)
				cmd.Path = "/bin/sh"
			}
			run := started(t, cmd)
			run.until(func() bool { n := left(t, rack, "A"); return 0 < n && n < full }, "the first block that is written")
			if x.hangs {
				fault("slow:1")
			}
			for n, s := range x.signals {
				run.signal(s)
				if n == 0 && len(x.signals) > 1 {
					run.says("stopping")
				}
			}
			said := run.ends(x.code)
			var doc struct {
				document
				Result api.Job
			}
			if err := json.Unmarshal([]byte(run.stdout.String()), &doc); err != nil || doc.ExitStatus != x.code {
				t.Errorf("%v", err)
			}
			if strings.Contains(said, nothingBegun) || strings.Contains(said, "goroutine") {
				t.Errorf("it said\n%s", said)
			}
			if n := left(t, rack, "A"); (n == 0) != (x.code == exitOK) {
				t.Errorf("%d canaries\n%s", n, said)
			}
			if x.code == exitOK {
				return
			}
			if x.hangs && !strings.Contains(said, "may be under way") {
				t.Errorf("it said\n%s", said)
			}
			notes, err := filepath.Glob(filepath.Join(dir, "agent", "jobs", "*", "stopped.json"))
			if err != nil || (len(notes) == 1) == x.hangs {
				t.Errorf("notes %q, %v", notes, err)
			}
			if err := rack.ClearFaults("A"); err != nil {
				t.Fatal(err)
			}
			jobs, err := os.ReadDir(filepath.Join(dir, "agent", "jobs"))
			if err != nil || len(jobs) != 1 {
				t.Fatalf("%v, %v", jobs, err)
			}
			call(t, exitOK, nil, "--rack", dir, "jobs", "resume", jobs[0].Name())
			if n := left(t, rack, "A"); n != 0 {
				t.Errorf("resumed: %d canaries", n)
			}
		})
	}
}

// With a terminal, whoever reads what is printed goes, too: the job stops resumably all the same, and is noted as stopped by a person.
func TestSignalWhereNobodyReads(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 16 << 20})
	full := left(t, rack, "A")
	slow, err := virtual.ParseFault("slow:8000000")
	if err == nil {
		err = rack.Fault("A", slow)
	}
	if err != nil {
		t.Fatal(err)
	}
	read, unread, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "--rack", dir, "run", "A", "--confirm", "A")
	cmd.Stdout, cmd.Stderr = unread, unread
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for n := full; n == 0 || n == full; n = left(t, rack, "A") {
		select {
		case err := <-ended:
			t.Fatalf("it ended before it wrote a block: %v", err)
		case <-time.After(2 * time.Millisecond):
		}
	}
	if err := errors.Join(read.Close(), unread.Close(), cmd.Process.Signal(syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	<-ended // its exit status is looked at: that it is interrupted, which says more than that nothing could be printed
	notes, err := filepath.Glob(filepath.Join(dir, "agent", "jobs", "*", "stopped.json"))
	if code := cmd.ProcessState.ExitCode(); err != nil || len(notes) != 1 || code != exitInterrupted || left(t, rack, "A") == 0 {
		t.Errorf("%v, notes %q, %d canaries, %v", cmd.ProcessState, notes, left(t, rack, "A"), err)
	}
}

// An agent whose terminal is closed stops its jobs resumably, as when it is told to stop. One that is told twice, or by SIGQUIT, does not
// end as if it had begun nothing.
func TestSignalsToAnAgent(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 16 << 20})
	slow, err := virtual.ParseFault("slow:4000000")
	if err == nil {
		err = rack.Fault("A", slow)
	}
	if err != nil {
		t.Fatal(err)
	}
	serve := func() (*commanded, api.Service) {
		cmd := started(t, program(t, "--rack", dir, "serve"))
		cmd.says(`"@message":"serving"`)
		c := (&app{course: &course{}}).patient(filepath.Join(dir, "agent", "agent.sock"))
		return cmd, c
	}
	agent, c := serve()
	job := begin(t, c, "A").ID
	agent.signal(syscall.SIGHUP)
	if said := agent.ends(exitOK); !strings.Contains(said, "told to stop: hangup") || !strings.Contains(said, `"@message":"stopped"`) {
		t.Errorf("it said\n%s", said)
	}
	if left(t, rack, "A") == 0 {
		t.Fatal("the job had ended: the test shows nothing")
	}
	agent, c = serve()
	agent.until(func() bool { j, err := c.Job(t.Context(), job); return err == nil && j.State == api.JobRunning }, "the job goes on")
	agent.signal(syscall.SIGQUIT)
	if said := agent.ends(exitInterrupted); strings.Contains(said, "goroutine") || !strings.Contains(said, "stops at once") {
		t.Errorf("it said\n%s", said)
	}
	if err := rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	agent, c = serve()
	if j := ends(t, c, job); j.ExitStatus != exitOK || left(t, rack, "A") != 0 {
		t.Errorf("%+v, %d canaries", j, left(t, rack, "A"))
	}
	agent.signal(syscall.SIGTERM)
	agent.ends(exitOK)
}

// SIGQUIT is taken before all that the program links is ready: a trace of goroutines would read as a fault of the program.
func TestQuitAtTheVeryBeginning(t *testing.T) {
	cmd := program(t, "verify", "-")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	stdin, err := cmd.StdinPipe() // what it reads does not end, so neither does it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }() // it is gone
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	sent := false
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if !sent && strings.HasPrefix(lines.Text(), "init google.golang.org/protobuf/types/known/") { // of a library, long before main
			sent = true
			if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // its exit status is looked at
	if code := cmd.ProcessState.ExitCode(); !sent || code != exitSignal || strings.Contains(said.String(), "goroutine") {
		t.Errorf("sent: %v, exit %d\n%s", sent, code, &said)
	}
}
