package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// damage puts something that is not a document into the place of a file, for as long as the test of that takes.
func damage(t *testing.T, name string, with func() error) (mend func()) {
	t.Helper()
	aside := name + ".aside"
	if err := errors.Join(os.Rename(name, aside), with()); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := errors.Join(os.RemoveAll(name), os.Rename(aside, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// A state that is there and cannot be read is no state without jobs: who lists drives is told.
func TestListWhereJobsCannotBeRead(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	const untold = "what jobs left of drives cannot be told"
	list := func(told bool) {
		t.Helper()
		for _, args := range [][]string{{"list"}, {"show", "A"}} {
			stdout, stderr, code := on(t, rack, args...)
			if code != exitOK || !strings.Contains(stdout, "A") || strings.Contains(stderr, untold) == told {
				t.Errorf("%v: exit %d\n%s%s", args, code, stdout, stderr)
			}
		}
	}
	list(true)
	call(t, exitOK, nil, "--rack", dir, "run", "A", "--confirm", "A")
	list(true)
	for _, name := range []string{"owner.json", "jobs"} {
		name = filepath.Join(dir, "agent", name)
		mend := damage(t, name, func() error { return os.WriteFile(name, []byte("{"), 0o600) })
		list(false)
		mend()
	}
	list(true)
}

// An agent's answer that does not say that nothing was done is not taken for that.
func TestOnlyARefusalIsNothing(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var answer *api.Problem
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(answer.Status)
		_ = json.NewEncoder(w).Encode(answer) // who asked sees to it
	})}
	go func() { _ = server.Serve(l) }() // until it is closed
	t.Cleanup(func() { _ = server.Close() })
	for _, x := range []struct {
		exit    int
		code    string
		nothing bool
		ends    int
	}{
		{exitUsage, "usage", true, exitUsage},
		{exitNotFound, "not_found", true, exitNotFound},
		{exitPermission, "forbidden", true, exitPermission},
		{exitPermission, "permission", false, exitPermission},
		{exitPermission, "read_only", false, exitPermission},
		{exitRefused, "refused", true, exitRefused},
		{exitCannot, "cannot", true, exitCannot},
		{exitInternal, "internal", false, exitInterrupted},
		{exitInternal, "no_room", false, exitInterrupted},
		{exitInternal, api.CodeNotBegun, true, exitInternal},
		{exitPermission, api.CodeNotBegun, true, exitPermission},
		{exitInternal, api.CodeAudit, true, exitInternal},
		{exitInternal, api.CodeNotRecorded, false, exitInterrupted},
		{exitInterrupted, "stopping", false, exitInterrupted},
		{exitFailed, "failed", false, exitFailed},
		{exitUnproven, "journal", false, exitUnproven},
	} {
		answer = api.NewProblem(x.exit, x.code, "what the agent advises", errors.New("in the agent's words"))
		c := &course{}
		p := patient{client.Unix(socket), c}
		for what, ask := range map[string]func() error{
			"start": func() error { _, err := p.Start(t.Context(), api.StartRequest{}); return err },
			"halt":  func() error { _, err := p.Halt(t.Context(), api.HaltRequest{Halted: true, Reason: "r"}); return err },
		} {
			err := ask()
			end := problemOf(err)
			if (c.may == "") != x.nothing || end.code != x.ends || !strings.Contains(end.Error(), "in the agent's words") || !strings.Contains(end.hint, "what the agent advises") {
				t.Errorf("%s, %s %d: %q is kept, %d %v, %s", what, x.code, x.exit, c.may, end.code, end, end.hint)
			}
			if may := x.ends != x.exit || x.code == "stopping"; may != strings.Contains(end.Error(), " may ") {
				t.Errorf("%s, %s %d: %v", what, x.code, x.exit, end)
			}
		}
		if _, err := p.Plan(t.Context(), api.PlanRequest{}); problemOf(err).code != x.exit || c.may != "" {
			t.Errorf("plan, %s: %v, %q", x.code, err, c.may)
		}
		p.Close()
	}
}

// Whoever halts an agent whose audit file takes nothing is told that it is halted, and what is wrong; whoever ends the halt then, that it holds.
func TestHaltThatCannotBeRecorded(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "N", Profile: "nvme-ssd", SizeBytes: 4 << 20})
	stuck, err := virtual.ParseFault("progress-stuck:30")
	if err == nil {
		err = rack.Fault("N", stuck)
	}
	if err != nil {
		t.Fatal(err)
	}
	serve, c := startAgent(t, dir)
	p, err := c.Plan(t.Context(), api.PlanRequest{Drives: []string{"N"}, Request: sanitize.Request{Method: sanitize.Purge}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := c.Start(t.Context(), api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: 1})
	if err != nil {
		t.Fatal(err)
	}
	for { // until the drive is at it
		now, err := c.Job(t.Context(), j.ID)
		if err != nil || now.State != api.JobRunning {
			t.Fatalf("%+v, %v", now, err)
		}
		if r := now.Drives[0].Progress; r != nil && r.ByDrive && r.Done > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	name := filepath.Join(dir, "agent", "actions")
	if err := errors.Join(os.Rename(name, name+".kept"), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args          []string
		stdout, never string
		stderr        string
	}{
		{[]string{"halt", "--reason", "stop all"}, "HALTED by ", "nothing was touched", "the agent is halted; it could not be recorded"},
		{[]string{"halt", "--end"}, "", "may have been ended", "nothing was touched"},
	} {
		stdout, stderr, code := on(t, rack, x.args...)
		if code != exitInternal || !strings.HasPrefix(stdout, x.stdout) || !strings.Contains(stderr, x.stderr) || strings.Contains(stderr, x.never) || strings.Contains(stderr, "may be halted") {
			t.Errorf("%v: exit %d\n%s%s", x.args, code, stdout, stderr)
		}
		if !strings.Contains(stdout, "N: the drive erases itself") == (x.stdout != "") {
			t.Errorf("%v: %s", x.args, stdout)
		}
	}
	if h, err := c.Halted(t.Context()); err != nil || !h.Halted || len(h.GoesOn) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	stop(t, serve)
}

// full takes nothing, as a disk without room or a reader that is gone.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("nobody takes it") }

// What came of a job is told by the exit status also where it cannot be printed, and to those who read standard error.
func TestOutcomeThatNobodyTakes(t *testing.T) {
	rack, _ := rackOf(t, virtual.Spec{Serial: "LIAR", Profile: "nvme-ssd", SizeBytes: 4 << 20}, virtual.Spec{Serial: "GOOD", SizeBytes: 1 << 20})
	lie, err := virtual.ParseFault("lie:nothing")
	if err == nil {
		err = rack.Fault("LIAR", lie)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		serial, method, words string
		code                  int
	}{{"LIAR", "purge", "UNPROVEN", exitUnproven}, {"GOOD", "clear", "CLEARED verified", exitInternal}} {
		for _, flags := range [][]string{nil, {"--json"}} {
			var stderr bytes.Buffer
			a := &app{stdin: strings.NewReader(""), stdout: full{}, stderr: &stderr, ctx: t.Context()}
			code := a.execute(append(flags, "--rack", rack.Root(), "run", x.serial, "--method", x.method, "--confirm", x.serial))
			if code != x.code || !strings.Contains(stderr.String(), x.serial+": "+x.words) || !strings.Contains(stderr.String(), "nobody takes it") {
				t.Errorf("%s: exit %d, want %d\n%s", x.serial, code, x.code, &stderr)
			}
		}
	}
}

// Where it cannot be told whether there is a job, it is not said that no drive was touched.
func TestJobOfWhichNothingCanBeTold(t *testing.T) {
	rack, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	a := &app{rack: rack.Root(), stderr: &bytes.Buffer{}, course: &course{}}
	svc, err := a.service(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here := svc.(*service.Service)
	t.Cleanup(func() { _ = here.Close(t.Context()) })
	made, err := here.Plan(byHand(t.Context()), api.PlanRequest{Drives: []string{"A"}, Request: sanitize.Request{Method: sanitize.Clear}})
	if err != nil {
		t.Fatal(err)
	}
	why := errors.New("a test")
	judged := func() bool {
		a.course.may = "the job may have begun"
		var early *beforeError
		return errors.As(a.notBegun(here, made.Plan, why), &early) && a.course.may == ""
	}
	if !judged() {
		t.Error("there is no job, and it is not said")
	}
	jobs := filepath.Join(dir, "agent", "jobs")
	if err := errors.Join(os.RemoveAll(jobs), os.WriteFile(jobs, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if judged() || a.course.may == "" {
		t.Error("where jobs should be is a file, and it is said that no drive was touched")
	}
}
