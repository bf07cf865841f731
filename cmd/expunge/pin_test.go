package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// A PSID that comes over the standard input is seen by nobody: not in the list of processes, not in what is said in
// any form at any level, not in the journal or certificate, and when all is over in no file of the state at all.
func TestNobodySeesAPSID(t *testing.T) {
	dir := t.TempDir()
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rack.Add(virtual.Spec{Profile: "sata-opal", Serial: "A", SizeBytes: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	label, err := rack.Label("A")
	if err != nil {
		t.Fatal(err)
	}
	c := program(t, "--rack", rack.Root(), "--log-level", "trace", "run", "A", "--method", "purge", "--tcg", "psid-revert", "--pin-file", "-", "--confirm", "A", "--json")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(in, label.PSID); err != nil {
		t.Fatal(err)
	}
	// It cannot end before its input does.
	for _, of := range []string{"cmdline", "environ"} {
		name := fmt.Sprintf("/proc/%d/%s", c.Process.Pid, of)
		data, err := os.ReadFile(name)
		for range 1000 {
			if err != nil || len(data) > 0 {
				break
			}
			time.Sleep(time.Millisecond) // it is about to begin
			data, err = os.ReadFile(name)
		}
		if err != nil || strings.Contains(string(data), label.PSID) || of == "cmdline" && !strings.Contains(string(data), "psid-revert") {
			t.Errorf("%s: %v, %q", of, err, data)
		}
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil || !strings.Contains(out.String(), `"sanitized"`) || strings.Contains(out.String(), label.PSID) {
		t.Errorf("%v: %s", err, out.String())
	}
	err = filepath.WalkDir(filepath.Join(rack.Root(), "agent"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if bytes.Contains(data, []byte(label.PSID)) {
			t.Errorf("it is in %s", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What a user would lose: a drive that was half way through its revert. Its job gets the PSID when it is resumed, from an agent as from this
// process; what is no PSID of its drives is refused before the drive counts a wrong one.
func TestAResumedJobGetsItsPSID(t *testing.T) {
	for _, served := range []bool{true, false} {
		t.Run(fmt.Sprintf("served %v", served), func(t *testing.T) {
			rack, dir := rackOf(t, virtual.Spec{Profile: "sata-opal", Serial: "A", SizeBytes: 4 << 20}, virtual.Spec{Serial: "B", SizeBytes: 1 << 20})
			label, err := rack.Label("A")
			if err != nil {
				t.Fatal(err)
			}
			f, err := virtual.ParseFault("revert-power-cut:50")
			if err == nil {
				err = rack.Fault("A", f)
			}
			if err != nil {
				t.Fatal(err)
			}
			if served {
				startAgent(t, dir)
			}
			file := func(text string) string {
				name := filepath.Join(t.TempDir(), "pins")
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return name
			}
			var cut, again struct {
				Result runResult
				Errors []documentError
			}
			plan := filepath.Join(t.TempDir(), "plan.json")
			call(t, exitOK, nil, "--rack", dir, "plan", "A", "--method", "purge", "--tcg", "psid-revert", "-o", plan)
			call(t, exitInterrupted, &cut, "--rack", dir, "run", "--plan", plan, "--pin-file", file("A "+label.PSID), "--confirm", "A")
			if err := rack.ClearFaults("A"); err != nil {
				t.Fatal(err)
			}
			job, drive := cut.Result.Job, cut.Result.Drives[0].ID
			secrets := filepath.Join(dir, "agent", "jobs", job, string(drive), "secrets")
			if err := sanitize.ForgetPINs(secrets); err != nil { // as where the agent was ended before they were kept
				t.Fatal(err)
			}
			resume := func(want int, args ...string) {
				t.Helper()
				again.Errors = nil
				call(t, want, &again, append([]string{"--rack", dir, "jobs", "resume", job}, args...)...)
			}
			resume(exitInterrupted)
			if d := again.Result.Drives[0]; !strings.Contains(d.Error, "its PSID is wanted and was not given") {
				t.Errorf("without it: %+v", d)
			}
			for text, why := range map[string]string{
				"A 1 2\n":                             "line 1 is neither",
				"B " + label.PSID:                     "names 1 drive that the job does not have",
				"A " + label.PSID + "\n12345678 1234": "names 1 drive that the job does not have",
			} {
				resume(exitRefused, "--pin-file", file(text))
				if e := again.Errors; len(e) != 1 || e[0].Code != "pin_file" || !strings.Contains(e[0].Message, why) || strings.Contains(e[0].Message, "12345678") {
					t.Errorf("%q: %+v", text, e)
				}
			}
			resume(exitInterrupted, "--pin-file", file("A SHORT"))
			if d := again.Result.Drives[0]; !strings.Contains(d.Error, "what was given has 5 characters: a PSID has 32") {
				t.Errorf("no PSID: %+v", d)
			}
			if served {
				// A plan that was begun is only told of: nobody is to think that its drive has the PSID now.
				said, err := program(t, "--rack", dir, "run", "--plan", plan, "--pin-file", file(label.PSID), "--confirm", "A").CombinedOutput()
				if err == nil || !strings.Contains(string(said), "--pin-file is not used") {
					t.Errorf("%v: %s", err, said)
				}
			}
			resume(exitOK, "--pin-file", file(label.PSID))
			if d := again.Result.Drives[0]; d.Outcome != sanitize.Sanitized {
				t.Errorf("%+v", d)
			}
			if data, err := os.ReadFile(secrets); strings.Contains(string(data), label.PSID) {
				t.Errorf("it is still in the secrets, %v", err)
			}
		})
	}
}

// Each drive that has not come to its end gets its own PIN, and one PIN alone never goes to a drive by chance: drives count wrong ones.
func TestPINsOfAJob(t *testing.T) {
	drive := func(id, serial string, o sanitize.Outcome) api.JobDrive {
		return api.JobDrive{ID: devices.ID(id), Serial: serial, Outcome: o}
	}
	one := []api.JobDrive{drive("a", "A", sanitize.Interrupted), drive("b", "B", sanitize.Sanitized), drive("c", "C", sanitize.RefusedRun)}
	two := append(one[:len(one):len(one)], drive("d", "D", sanitize.Interrupted))
	for name, x := range map[string]struct {
		text   string
		drives []api.JobDrive
		want   string // or why not
	}{
		"each its own":       {"A 1\nB 2\nD 4\n", two, "map[a:1 d:4]"},
		"one of two":         {"D 4", two, "map[d:4]"},
		"alone, for one":     {"1", one, "map[a:1]"},
		"alone, for two":     {"1", two, "has one for one drive, and 2 have not come to their end"},
		"of another job":     {"A 1\nX 9", one, "names 1 drive that the job does not have"},
		"nothing":            {"", one, "neither one PIN alone nor lines"},
		"the same one twice": {"A 1\nA 2", one, "line 2 has a second one"},
	} {
		a := &app{stdin: strings.NewReader(x.text), pins: pins{file: "-"}}
		got, err := a.pinsOfJob(api.Job{ID: "j", Drives: x.drives})
		if said := fmt.Sprint(got); err == nil && said != x.want || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, err := (&app{}).pinsOfJob(api.Job{Drives: one}); got != nil || err != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
}
