package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/expunge-dev/expunge/attest"
)

// asProgram makes the test binary behave as expunge, for tests that kill it.
const asProgram = "EXPUNGE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"expunge": main})
}

// TestScripts runs the command line as people do, one file per topic.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
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

// program runs this test binary as expunge.
func program(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// call runs expunge and decodes what --json printed.
func call(t *testing.T, want int, into any, args ...string) {
	t.Helper()
	cmd := program(t.Context(), append([]string{"--json"}, args...)...)
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
