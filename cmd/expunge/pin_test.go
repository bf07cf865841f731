package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
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
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.Process.Pid, of))
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
