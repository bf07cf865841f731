package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// heard is what a process said so far.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// commanded is a command that runs.
type commanded struct {
	*exec.Cmd
	t              *testing.T
	stdout, stderr heard
	ended          chan struct{}
}

func started(t *testing.T, cmd *exec.Cmd) *commanded {
	t.Helper()
	c := &commanded{Cmd: cmd, t: t, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &c.stdout, &c.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // its exit status is looked at
	}()
	return c
}

func (c *commanded) signal(s os.Signal) {
	c.t.Helper()
	if err := c.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// says waits until the command has said something to people.
func (c *commanded) says(words string) {
	c.t.Helper()
	c.until(func() bool { return strings.Contains(c.stderr.String(), words) }, words)
}

func (c *commanded) until(is func() bool, what string) {
	c.t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-c.ended:
			if !is() {
				c.t.Fatalf("it ended before %q:\n%s%s", what, &c.stdout, &c.stderr)
			}
		default:
		}
		if time.Now().After(until) {
			c.t.Fatalf("it does not come to %q:\n%s%s", what, &c.stdout, &c.stderr)
		}
	}
}

// ends waits for the exit status, and returns all that was said.
func (c *commanded) ends(code int) string {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		_ = c.Process.Kill()
		c.t.Fatalf("it does not end:\n%s%s", &c.stdout, &c.stderr)
	}
	all := c.stdout.String() + c.stderr.String()
	if got := c.ProcessState.ExitCode(); got != code {
		c.t.Errorf("%v: exit %d, want %d\n%s", c.Args[1:], got, code, all)
	}
	return all
}

// between is a way to an agent on which answers can be held up: the agent has done by then what it was asked.
type between struct {
	socket   string
	holds    string        // "METHOD path prefix suffix" of what is held up
	asked    chan struct{} // one for each that is
	released chan struct{}
	cuts     bool        // the connection breaks in place of an answer
	last     atomic.Bool // nothing is asked of the agent any more
}

func wayTo(t *testing.T, rack, holds string) *between {
	t.Helper()
	b := &between{socket: filepath.Join(t.TempDir(), "s"), holds: holds, asked: make(chan struct{}, 16), released: make(chan struct{})}
	agent := filepath.Join(rack, "agent", "agent.sock")
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "agent"})
	proxy.FlushInterval = -1
	proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", agent)
	}}
	proxy.ModifyResponse = func(r *http.Response) error {
		method, path, _ := strings.Cut(holds, " ")
		if r.Request.Method != method || !strings.HasSuffix(r.Request.URL.Path, path) {
			return nil
		}
		b.asked <- struct{}{}
		if b.cuts {
			panic(http.ErrAbortHandler)
		}
		<-b.released
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) } // somebody went away
	l, err := net.Listen("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.last.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	return b
}

func (b *between) waits(t *testing.T, c *commanded) {
	t.Helper()
	select {
	case <-b.asked:
	case <-c.ended:
		t.Fatalf("it ended before it asked %s:\n%s%s", b.holds, &c.stdout, &c.stderr)
	case <-time.After(time.Minute):
		t.Fatalf("it does not ask %s", b.holds)
	}
}

// left are the canaries on a drive.
func left(t *testing.T, rack *virtual.Rack, serial string) int64 {
	t.Helper()
	m, err := rack.Medium(serial)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := m.CountCanary(oldData)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stop(t *testing.T, agent *exec.Cmd) {
	t.Helper()
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := agent.Wait(); err != nil {
		t.Error(err)
	}
}

const nothingBegun = "nothing was begun"

// A command that is told to stop while an agent is asked to begin a job waits for the answer, and says then what became of the job: an
// agent begins it whoever goes away. One that goes without the answer says that it may have begun.
func TestSignalWhileAnAgentBegins(t *testing.T) {
	var specs []virtual.Spec
	for _, serial := range []string{"A", "B", "C", "D", "E"} {
		specs = append(specs, virtual.Spec{Serial: serial, SizeBytes: 1 << 20})
	}
	rack, dir := rackOf(t, specs...)
	agent, c := startAgent(t, dir)
	// become is the job of a drive, when it has ended.
	become := func(serial string) api.Job {
		t.Helper()
		jobs, err := c.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.Drives[0].Serial == serial {
				return ends(t, c, j.ID)
			}
		}
		t.Fatalf("there is no job of %s", serial)
		return api.Job{}
	}
	run := func(b *between, serial string, flags ...string) *commanded {
		return started(t, program(t, append(flags, "--rack", dir, "--socket", b.socket, "run", serial, "--confirm", serial)...))
	}

	t.Run("one signal", func(t *testing.T) {
		b := wayTo(t, dir, "POST /v1/jobs")
		cmd := run(b, "A")
		b.waits(t, cmd)
		cmd.signal(os.Interrupt)
		cmd.says("its answer is waited for")
		close(b.released)
		said := cmd.ends(exitInterrupted)
		if j := become("A"); strings.Contains(said, nothingBegun) || !strings.Contains(said, "job "+j.ID+" goes on without this command") || j.ExitStatus != exitOK {
			t.Errorf("%+v\n%s", j, said)
		}
	})
	for serial, second := range map[string]os.Signal{"B": os.Interrupt, "C": syscall.SIGQUIT} {
		t.Run("a second: "+second.String(), func(t *testing.T) {
			b := wayTo(t, dir, "POST /v1/jobs")
			defer close(b.released)
			cmd := run(b, serial, "--json")
			b.waits(t, cmd)
			if second == os.Interrupt {
				cmd.signal(syscall.SIGTERM)
				cmd.says("its answer is waited for")
			}
			cmd.signal(second)
			said := cmd.ends(exitInterrupted)
			var doc document
			if err := json.Unmarshal([]byte(cmd.stdout.String()), &doc); err != nil || doc.ExitStatus != exitInterrupted || len(doc.Errors) != 1 ||
				doc.Errors[0].Code != "may_be_done" || !strings.Contains(doc.Errors[0].Message, "may have begun") || !strings.Contains(doc.Errors[0].Hint, "expunge jobs") {
				t.Errorf("%v: %s", err, said)
			}
			if j := become(serial); j.ExitStatus != exitOK || strings.Contains(said, nothingBegun) || strings.Contains(said, "goroutine") {
				t.Errorf("%+v\n%s", j, said)
			}
		})
	}
	t.Run("one signal, and the agent tells no more", func(t *testing.T) {
		b := wayTo(t, dir, "POST /v1/jobs")
		cmd := run(b, "E")
		b.waits(t, cmd)
		cmd.signal(os.Interrupt)
		cmd.says("its answer is waited for")
		b.last.Store(true)
		close(b.released)
		said := cmd.ends(exitInterrupted)
		if j := become("E"); strings.Contains(said, nothingBegun) || !strings.Contains(said, j.ID) || j.ExitStatus != exitOK {
			t.Errorf("%+v\n%s", j, said)
		}
	})
	t.Run("the connection breaks", func(t *testing.T) {
		b := wayTo(t, dir, "POST /v1/jobs")
		b.cuts = true
		said := run(b, "D").ends(exitInterrupted)
		if j := become("D"); j.ExitStatus != exitOK || !strings.Contains(said, "may have begun") || strings.Contains(said, nothingBegun) {
			t.Errorf("%+v\n%s", j, said)
		}
	})
	for _, s := range specs {
		if n := left(t, rack, s.Serial); n != 0 {
			t.Errorf("%s: %d canaries: the agent did not do what it was asked", s.Serial, n)
		}
	}
	stop(t, agent)
}

// That nothing was begun is said where it is so: nothing was asked that begins anything, and what was asked ends at once.
func TestSignalBeforeAnAgentBegins(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	full := left(t, rack, "A")
	agent, c := startAgent(t, dir)
	for _, args := range [][]string{{"run", "A", "--confirm", "A"}, {"list"}} {
		b := wayTo(t, dir, "GET /v1/drives") // to confirm
		cmd := started(t, program(t, append([]string{"--rack", dir, "--socket", b.socket}, args...)...))
		b.waits(t, cmd)
		cmd.signal(syscall.SIGHUP)
		if said := cmd.ends(exitSignal); !strings.Contains(said, nothingBegun) {
			t.Errorf("%v: %s", args, said)
		}
		close(b.released)
	}
	if jobs, err := c.Jobs(t.Context()); err != nil || len(jobs) != 0 || left(t, rack, "A") != full {
		t.Errorf("%+v, %v, %d canaries of %d", jobs, err, left(t, rack, "A"), full)
	}
	stop(t, agent)
}

// All that an agent can be asked to do is waited for, and never said not to have been done where it may have been.
func TestSignalWhileAnAgentActs(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 64 << 20})
	full := left(t, rack, "A")
	slow, err := virtual.ParseFault("slow:4000000")
	if err == nil {
		err = rack.Fault("A", slow)
	}
	if err != nil {
		t.Fatal(err)
	}
	agent, c := startAgent(t, dir)
	job := begin(t, c, "A").ID
	state := func() string {
		t.Helper()
		j, err := c.Job(t.Context(), job)
		if err != nil {
			t.Fatal(err)
		}
		return j.State
	}
	halted := func() bool {
		t.Helper()
		h, err := c.Halted(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h.Halted
	}
	for _, x := range []struct {
		asks string
		args []string
		code int // with the answer
		may  string
		done func() bool
	}{
		{"POST /cancel", []string{"jobs", "cancel", job}, exitInterrupted, "may have been stopped", func() bool { return state() == api.JobStopped }},
		{"POST /resume", []string{"jobs", "resume", job}, exitInterrupted, "may have been resumed", func() bool { return state() == api.JobRunning }},
		{"PUT /halt", []string{"halt", "--reason", "a test"}, exitOK, "may be halted", halted},
		{"PUT /halt", []string{"halt", "--end"}, exitOK, "may have been ended", func() bool { return !halted() }},
		{"POST /plans", []string{"plan", "A"}, exitRefused, "plan may have been made", func() bool { return true }},
		{"POST /cancel", []string{"jobs", "cancel", job}, exitInterrupted, "may have been stopped", func() bool { return state() == api.JobStopped }},
		{"POST /abandon", []string{"jobs", "abandon", job}, exitFailed, "may have been given up", func() bool { return state() == api.JobEnded }},
	} {
		b := wayTo(t, dir, x.asks)
		args := append([]string{"--rack", dir, "--socket", b.socket}, x.args...)
		cmd := started(t, program(t, args...))
		b.waits(t, cmd)
		cmd.signal(os.Interrupt)
		cmd.says("its answer is waited for")
		cmd.signal(os.Interrupt)
		if said := cmd.ends(exitInterrupted); !strings.Contains(said, x.may) || strings.Contains(said, nothingBegun) {
			t.Errorf("%v, without its answer: %s", x.args, said)
		}
		if !x.done() {
			t.Errorf("%v was not done: job %s is %s", x.args, job, state())
		}
		close(b.released)
		if slices.Contains(x.args, "abandon") {
			continue // of one that has ended there is nothing to give up
		}
		b = wayTo(t, dir, x.asks)
		args[3] = b.socket
		cmd = started(t, program(t, args...))
		b.waits(t, cmd)
		cmd.signal(os.Interrupt)
		cmd.says("its answer is waited for")
		close(b.released)
		if said := cmd.ends(x.code); strings.Contains(said, "may have been") || strings.Contains(said, nothingBegun) {
			t.Errorf("%v, with its answer: %s", x.args, said)
		}
	}
	if n := left(t, rack, "A"); n == 0 || n == full {
		t.Errorf("%d canaries of %d: the job was never in its middle, and the test shows nothing", n, full)
	}
	stop(t, agent)
}
