package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// certificate makes one of a virtual drive, and the trust file for it.
func certificate(t *testing.T) (file, trust string) {
	t.Helper()
	dir := t.TempDir()
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rack.Add(virtual.Spec{Serial: "A", SizeBytes: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	a, err := agent.Open(agent.Options{Host: rack.Host(nil), StateDir: filepath.Join(dir, "state"), Owner: agent.Owner{Kind: "rack", ID: rack.ID()}, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Plan(t.Context(), []string{"A"}, sanitize.Request{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := a.Start(t.Context(), p, agent.Started{}, agent.Observer{})
	if err != nil || j.Drives[0].Certificate == "" {
		t.Fatalf("%+v, %v", j, err)
	}
	return j.Drives[0].Certificate, filepath.Join(dir, "state/keys/simulation.pub")
}

// The small program says what the large one says, with its exit codes.
func TestVerifier(t *testing.T) {
	file, trust := certificate(t)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	forged := filepath.Join(t.TempDir(), "forged.json")
	if err := os.WriteFile(forged, bytes.Replace(good, []byte("result"), []byte("Result"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	listed := filepath.Join(t.TempDir(), "assets.csv")
	if err := os.WriteFile(listed, []byte("serial\nA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		args  []string
		stdin string
		want  int
		says  string
	}{
		{"good", []string{"--trust", trust, "--allow-simulated", file}, "", 0, "VALID (SIMULATED)"},
		{"flags behind", []string{file, "--trust", trust, "--allow-simulated"}, "", 0, "VALID (SIMULATED)"},
		{"from standard input", []string{"--trust", trust, "--allow-simulated", "-"}, string(good), 0, "VALID"},
		{"simulated", []string{"--trust", trust, file}, "", 12, "SIMULATED"},
		{"no trust", []string{"--allow-simulated", file}, "", 12, "not among the trusted"},
		{"forged", []string{"--trust", trust, "--allow-simulated", forged}, "", 11, "INVALID"},
		{"worst of two", []string{"--trust", trust, "--allow-simulated", "--json", file, forged}, "", 11, `"exit_status": 11`},
		{"a directory", []string{"--json", filepath.Dir(file), "--trust", trust, "--allow-simulated"}, "", 0, `"sanitized": 1`},
		{"as lines", []string{"--json=stream", file, forged, "--trust", trust, "--allow-simulated"}, "", 11, `"type":"result"`},
		{"as what?", []string{"--json=yaml", file}, "", 2, "usage:"},
		{"against", []string{file, "--against", listed, "--trust", trust, "--allow-simulated"}, "", 0, "1 of 1 listed"},
		{"against, missing", []string{file, "--against", file + ".csv", "--trust", trust}, "", 2, "no such file"},
		{"missing", []string{"--trust", trust, "none.json"}, "", 3, "no such file"},
		{"no file", []string{"--trust", trust}, "", 2, "no certificate is named"},
		{"demands that are empty", []string{"--trust", trust, "--allow-simulated", "--policy", "", file}, "", 2, "--policy is empty"},
		{"no such flag", []string{"--force", file}, "", 2, "usage:"},
		{"trust that is a certificate", []string{"--trust", file, file}, "", 2, "no public key"},
		{"help", []string{"--help"}, "", 0, "exit status"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			got := run(c.args, strings.NewReader(c.stdin), &out, &errs)
			if got != c.want || !strings.Contains(out.String()+errs.String(), c.says) {
				t.Fatalf("exit %d, want %d\n%s%s", got, c.want, &out, &errs)
			}
		})
	}
}

// A trust root is taken by the fingerprint of its first version, and by nothing else.
func TestVerifierTakesARoot(t *testing.T) {
	file, pem := certificate(t)
	data, err := os.ReadFile(pem)
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.NewKey(ed25519.NewKeyFromSeed(make([]byte, 32)), attest.RoleRoot)
	if err != nil {
		t.Fatal(err)
	}
	draft, err := attest.NewRootDraft([]attest.Public{key.Public}, 1)
	if err != nil {
		t.Fatal(err)
	}
	write := func(change func(r *attest.Root) error) string {
		if err := draft.Edit(change); err != nil {
			t.Fatal(err)
		}
		if err := draft.Sign(key); err != nil {
			t.Fatal(err)
		}
		text, err := draft.Bytes()
		name := filepath.Join(t.TempDir(), "root.json")
		if err := errors.Join(err, os.WriteFile(name, text, 0o600)); err != nil {
			t.Fatal(err)
		}
		if draft, err = attest.ParseRootDraft(text); err != nil {
			t.Fatal(err)
		}
		return name
	}
	entry, err := attest.ParseRootEntry(data, "")
	if err != nil {
		t.Fatal(err)
	}
	root := write(func(r *attest.Root) error { return r.Add(entry, nil) })
	pin := draft.Pin()
	revoked := write(func(r *attest.Root) error { return r.Revoke(entry.Keys[0].KeyID, "lost", nil) })
	for _, c := range []struct {
		name string
		args []string
		want int
		say  string
	}{
		{"pinned", []string{"--trust", root, "--pin", pin}, 0, ""},
		{"newer", []string{"--trust", revoked, "--pin", pin}, 12, "was revoked: lost"},
		{"not pinned", []string{"--trust", root}, 2, "--pin"},
		{"another", []string{"--trust", root, "--pin", strings.Repeat("0", 64)}, 2, "not the one"},
		{"PEM", []string{"--trust", pem, "--pin", pin}, 2, "this is none"},
		{"no file", []string{"--pin", pin}, 2, "names none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := run(append(c.args, "--allow-simulated", file), strings.NewReader(""), &out, &errs); got != c.want || !strings.Contains(errs.String(), c.say) {
				t.Fatalf("exit %d, want %d: %s%s", got, c.want, &out, &errs)
			}
		})
	}
}
