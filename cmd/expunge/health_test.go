package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// saying is the socket of an agent that answers everything with one text; with none it hangs up.
func saying(t *testing.T, text string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if text == "" {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(text)) // who asked finds out
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = agent.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = agent.Close(); <-done })
	return socket
}

// What a user would lose: the evidence of a job, because a script took the host's power on the word of an exit status.
func TestOnlyWhatIsSafeMayBePoweredOff(t *testing.T) {
	run := func(socket string, args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		code := (&app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, ctx: t.Context()}).execute(append([]string{"--socket", socket, "health"}, args...))
		return code, stdout.String(), stderr.String()
	}
	for name, x := range map[string]struct {
		says         string
		plain, asked int
		words        string
	}{
		"safe":              {`{"status":"ok","safe_to_power_off":true,"power_off":[]}`, exitOK, exitOK, ""},
		"safe while halted": {`{"status":"halted","halted":true,"safe_to_power_off":true,"power_off":[]}`, exitOK, exitOK, ""},
		"unsafe": {`{"status":"ok","safe_to_power_off":false,"power_off":[{"code":"running","message":"job j is being run"},{"code":"x","message":"m"}]}`,
			exitOK, exitInterrupted, "job j is being run (and 1 reason more"},
		"unsafe, not why":        {`{"status":"ok","safe_to_power_off":false,"power_off":[]}`, exitOK, exitInterrupted, "does not say that it may"},
		"nothing of it":          {`{"status":"ok"}`, exitOK, exitInterrupted, "does not say that it may"},
		"a contradiction":        {`{"status":"ok","safe_to_power_off":true,"power_off":[{"code":"unknown","message":"nobody looked"}]}`, exitOK, exitInterrupted, "nobody looked"},
		"safe, and at work":      {`{"status":"ok","safe_to_power_off":true,"power_off":[],"running_jobs":2}`, exitOK, exitInterrupted, "2 jobs at work"},
		"what is no answer":      {`{}`, exitInternal, exitInternal, "no answer"},
		"an agent that hangs up": {"", exitInternal, exitInternal, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // broken connections are asked again, with pauses
			socket := saying(t, x.says)
			if code, _, said := run(socket); code != x.plain {
				t.Errorf("without the flag: exit status %d, want %d: %s", code, x.plain, said)
			}
			code, out, said := run(socket, "--safe-to-power-off")
			if code != x.asked || !strings.Contains(said, x.words) || x.asked == exitInterrupted && !strings.Contains(out, `"safe_to_power_off"`) {
				t.Errorf("exit status %d, want %d: %s%s", code, x.asked, out, said)
			}
		})
	}
	if code, _, said := run(filepath.Join(t.TempDir(), "s"), "--safe-to-power-off"); code != exitNotFound {
		t.Errorf("no agent: exit status %d: %s", code, said)
	}
}

// The same of an agent that runs: a job that a halt stopped is unsafe until it has come to its end.
func TestAHostMayNotLoseItsPowerWhileAJobIsOpen(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "SLOW", SizeBytes: 4 << 20})
	f, err := virtual.ParseFault("slow:6000000")
	if err == nil {
		err = rack.Fault("SLOW", f)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, c := startAgent(t, dir)
	call(t, exitOK, nil, "--rack", dir, "health", "--safe-to-power-off")
	j := begin(t, c, "SLOW")
	if _, err := c.Halt(t.Context(), api.HaltRequest{Halted: true, Reason: "the wrong rack"}); err != nil {
		t.Fatal(err)
	}
	call(t, exitOK, nil, "--rack", dir, "health")
	call(t, exitInterrupted, nil, "--rack", dir, "health", "--safe-to-power-off")
	if _, err := c.Halt(t.Context(), api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	ends(t, c, j.ID)
	call(t, exitOK, nil, "--rack", dir, "health", "--safe-to-power-off")
}
