package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/expunge-dev/expunge/attest"
)

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"expunge": main, hasty: func() {
		os.Exit((&app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, testOnlyCloses: 100 * time.Millisecond}).execute(os.Args[1:]))
	}})
}

// hasty is the program as an agent of which jobs are hardly given time to stop.
const hasty = "expunge-hasty"

// tidy removes what the tests share when they have ended.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	if signal.Ignored(syscall.SIGHUP) {
		// As nohup leaves it. What the tests start would not hear of a closed terminal either.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	code := m.M.Run()
	if builtIn != "" {
		if err := os.RemoveAll(builtIn); err != nil {
			return 1
		}
	}
	return code
}

// TestScripts runs the command line as people do, one file per topic.
func TestScripts(t *testing.T) {
	dir, files := "testdata", []string(nil)
	if testing.Short() {
		// With the race detector: those in which several things happen at once. The others say the same with it and without.
		dir = ""
		for _, name := range []string{"faults", "many", "serve", "session"} {
			files = append(files, filepath.Join("testdata", name+".txtar"))
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, Files: files,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state-home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// code N command...: the command ends with exactly this exit code.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				code := 0
				if exit, ok := err.(*exec.ExitError); ok {
					code = exit.ExitCode()
				} else if err != nil {
					ts.Fatalf("%v", err)
				}
				if want := args[0]; want != jsonText(code) {
					ts.Fatalf("exit code %d, want %s", code, want)
				}
			},
			// confirm FILE: $DIGEST is the digest of a plan file.
			"digest": func(ts *testscript.TestScript, _ bool, args []string) {
				var plan struct{ Digest string }
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &plan))
				ts.Setenv("DIGEST", plan.Digest)
			},
			// intact FILE: a medium holds what it was filled with, to the last byte.
			"intact": func(ts *testscript.TestScript, _ bool, args []string) {
				data := []byte(ts.ReadFile(args[0]))
				want := bytes.Repeat(oldData, len(data)/len(oldData)+1)
				if !bytes.HasPrefix(want, data) {
					ts.Fatalf("%s was written to", args[0])
				}
			},
			// jobof FILE: $JOB is the job that a run printed, $ALPHA the id of its first drive.
			"jobof": func(ts *testscript.TestScript, _ bool, args []string) {
				var run struct {
					Result struct {
						Job    string
						Drives []struct{ Certificate string }
					}
				}
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &run))
				ts.Setenv("JOB", run.Result.Job)
				ts.Setenv("ALPHA", filepath.Base(filepath.Dir(run.Result.Drives[0].Certificate)))
			},
			// opened PAGE FILE: the certificate that a page carries. It may be without a seal.
			"opened": func(ts *testscript.TestScript, _ bool, args []string) {
				p, err := attest.OpenPDF([]byte(ts.ReadFile(args[0])))
				var without *attest.PDFError
				if err != nil && !(errors.As(err, &without) && without.Reason == attest.PDFUnsealed) {
					ts.Fatalf("%v", err)
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), p.Bundle, 0o600))
			},
			// await FILE: it is there within half a minute.
			"await": func(ts *testscript.TestScript, _ bool, args []string) {
				for n := 0; ; n++ {
					if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
						return
					}
					if n == 3000 {
						ts.Fatalf("%s does not appear", args[0])
					}
					time.Sleep(10 * time.Millisecond)
				}
			},
			// flip FILE: one bit of a file is changed.
			"flip": func(ts *testscript.TestScript, _ bool, args []string) {
				data := []byte(ts.ReadFile(args[0]))
				data[len(data)/2] ^= 1
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
			},
		},
	})
}

func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

var builtIn string

// built is the program as it is shipped, for tests that kill it: without the race detector it
// starts in no time, so that moments in a run can be chosen.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "expunge-test-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	name := filepath.Join(dir, "expunge")
	if out, err := exec.Command("go", "build", "-o", name, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return name, nil
})

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("the program as it is shipped has no race detector: it is run whole without")
	}
	name, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), name, args...)
}

// call runs expunge and decodes what --json printed.
func call(t *testing.T, want int, into any, args ...string) {
	t.Helper()
	cmd := program(t, append([]string{"--json"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("expunge %v: exit code %d, want %d (%v)\n%s\n%s", args, got, want, err, &stdout, &stderr)
	}
	if into != nil {
		if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
			t.Fatalf("expunge %v: %v\n%s", args, err, &stdout)
		}
	}
}

// listing, planning and running, as --json prints them.
type (
	listDocument struct {
		Items []struct {
			ID, Serial, State string
			Nodes             []string
			Reasons           []struct{ Code string }
		}
	}
	planDocument struct{ Result struct{ Digest string } }
	runDocument  struct {
		Result struct {
			Job    string
			Drives []struct {
				Serial, Outcome, Method string
				Attempts                int
				Certificate             string
			}
		}
	}
)

// trustOf reads the public key of a state.
func trustOf(t *testing.T, file string) attest.Trust {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := attest.ParseTrust(data)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}
