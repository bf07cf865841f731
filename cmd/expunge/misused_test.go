package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// Whoever types a name wrong is told the right one, and whoever forgets the job, how to name it.
func TestNearlyRight(t *testing.T) {
	for line, want := range map[string]string{
		"runn X": "did you mean expunge run?", "jobs sho": "did you mean expunge jobs show?", "run --metod clear X": "did you mean --method?", "plan X --jsn": "did you mean --json?",
		"jobs show": "which job? expunge jobs show JOB", "jobs cancel": "expunge jobs lists them", "jobs resume a b": "2 jobs are named",
	} {
		var stdout, stderr bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, ctx: t.Context()}
		if code := a.execute(strings.Fields(line)); code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: %d\n%s", line, code, &stderr)
		}
	}
	// What is given and empty is never taken for what was not given.
	for _, line := range []string{"plan X --technique", "run X --method", "plan X --policy", "plan X --verify", "policy explain X --disposition", "verify c.json --policy", "verify c.json --against", "validate X --policy"} {
		var stdout, stderr bytes.Buffer
		a := &app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, ctx: t.Context()}
		if code := a.execute(append(strings.Fields(line), "")); code != exitUsage || !strings.Contains(stderr.String(), "it is empty") {
			t.Errorf("%s '': %d\n%s", line, code, &stderr)
		}
	}
	for words, want := range map[[2]string]int{{"", ""}: 0, {"run", "runn"}: 1, {"list", "lst"}: 1, {"show", "hsow"}: 2, {"abc", ""}: 3} {
		if d := distance(words[0], words[1]); d != want || distance(words[1], words[0]) != want {
			t.Errorf("%q: %d", words, d)
		}
	}
}

// A job that a command runs is not stopped from elsewhere, and who tries is told where it can be. The beginning of its id is enough to look
// at it, and never to act on it.
func TestAJobOfACommandSeenFromElsewhere(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 16 << 20})
	f, err := virtual.ParseFault("slow:800000")
	if err == nil {
		err = rack.Fault("A", f)
	}
	if err != nil {
		t.Fatal(err)
	}
	full := left(t, rack, "A")
	run := started(t, program(t, "--rack", dir, "run", "A", "--confirm", "A"))
	run.until(func() bool { n := left(t, rack, "A"); return 0 < n && n < full }, "the first block that is written")
	jobs, err := filepath.Glob(filepath.Join(dir, "agent", "jobs", "j-*"))
	if err != nil || len(jobs) != 1 {
		t.Fatalf("%v, %v", jobs, err)
	}
	id := filepath.Base(jobs[0])
	// While an agent that stops has the state, the job is the agent's: there is no command that one could be sent to.
	lock, err := durable.TryLock(filepath.Join(dir, "agent", service.LockName))
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &stderr, ctx: t.Context()}
	if code := a.execute([]string{"--rack", dir, "jobs", "cancel", id}); code != exitInterrupted || !strings.Contains(stderr.String(), "it starts or stops") || strings.Contains(stderr.String(), "Ctrl-C") {
		t.Errorf("exit %d\n%s", code, &stderr)
	}
	// The same where it was looked for before it began.
	if p := problemOf(a.notCancelled(id, &problem{code: exitNotFound, name: "no_agent", err: os.ErrNotExist})); p.code != exitInterrupted || p.name != "stopping" {
		t.Errorf("%+v", p)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		verb, name string
		code       int
		want       string
	}{
		{"cancel", id, exitRefused, "Ctrl-C where that command runs"}, {"resume", id, exitRefused, "watch " + id}, {"cancel", id[:8], exitNotFound, ""},
		{"show", id[:shortestID], exitOK, "RUNNING"}, {"show", id[:shortestID-1], exitNotFound, "no such job"}, {"show", "j-zzzzzz", exitNotFound, "no such job"},
	} {
		if said := started(t, program(t, "--rack", dir, "jobs", c.verb, c.name)).ends(c.code); !strings.Contains(said, c.want) {
			t.Errorf("%s %s:\n%s", c.verb, c.name, said)
		}
	}
	run.signal(os.Interrupt)
	run.ends(exitInterrupted)
	for _, verb := range []string{"resume", "abandon"} {
		started(t, program(t, "--rack", dir, "jobs", verb, id[:8])).ends(exitNotFound)
	}
	if left(t, rack, "A") == 0 {
		t.Error("a job was resumed by a part of its name")
	}
}

// What a user who is not root cannot be told comes as what to do about it, wherever it stands among the reasons.
func TestWhatOnlyRootCanTell(t *testing.T) {
	hidden := devices.Reason{Code: "undetermined", Message: "open descriptors cannot be read: open /proc/1/fd: permission denied", Hint: asRoot}
	other := devices.Reason{Code: "mounted", Message: "it is mounted"}
	for want, reasons := range map[string][]devices.Reason{
		"what uses it can be told by root only: run as root": {hidden, hidden}, "it is mounted (run as root to see all)": {hidden, other},
		"it is mounted (and 1 more; run as root to see all)": {other, hidden, other}, "it is mounted (and 1 more)": {other, other},
	} {
		if why := whyNot(reasons); why != want {
			t.Errorf("%q, want %q", why, want)
		}
	}
}

// Whoever is asked to confirm reads what will be done, by what, and what that does not reach.
func TestWhatIsConfirmedIsSaid(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{stderr: &stderr}
	a.announce(sanitize.Plan{Drives: []sanitize.DrivePlan{{Serial: "A", Model: "M", Method: sanitize.Clear, Technique: sanitize.HostOverwrite, Passes: []sanitize.Pass{{Pattern: "zero"}},
		Verification: sanitize.VerifySampled, Scope: sanitize.ScopeLogical, Excludes: []devices.Reason{{Message: "spare blocks"}}}}})
	for _, want := range []string{"ALL DATA on M A", "clear by host", "with zero", "a tenth read back in samples", "scope " + string(sanitize.ScopeLogical), "not reached spare blocks"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in\n%s", want, &stderr)
		}
	}
}
