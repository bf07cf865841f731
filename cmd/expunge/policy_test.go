package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

var update = flag.Bool("update", false, "write the golden files anew: look at them before they are committed")

// golden compares with what was looked at.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update makes it; then read it)", err)
	}
	if got != string(want) {
		t.Errorf("%s is otherwise (go test -update makes it anew; then read it):\n%s", file, got)
	}
}

// What a person reads about every kind of drive, and about the tables.
func TestPolicyGolden(t *testing.T) {
	for _, p := range virtual.Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
			if err != nil {
				t.Fatal(err)
			}
			node, err := rack.Add(virtual.Spec{Profile: p.Name, Serial: "SERIAL", SizeBytes: 1 << 20})
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for _, policy := range []string{sanitize.DefaultPolicy, "aus-ism"} {
				out, problems, code := on(t, rack, "policy", "explain", node, "--policy", policy)
				text += fmt.Sprintf("%s%sexit %d\n\n", out, problems, code)
			}
			text = strings.ReplaceAll(text, " --rack "+rack.Root(), "")
			golden(t, filepath.Join("policy", "explain-"+p.Name+".txt"), text)
		})
	}
	for _, p := range sanitize.Policies() {
		var b strings.Builder
		if err := policyText(&b, []shownPolicy{{p, p.Digest()}}); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("policy", "show-"+p.Name+".txt"), b.String())
	}
}
