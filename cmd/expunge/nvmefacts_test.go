package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices/virtual"
)

// What a drive would refuse is said before it is touched, with what to do; what it refuses all the same, with
// what was done to it. The medium below the codecs is what it was, or is not.
func TestWhatAnNVMeDriveRefuses(t *testing.T) {
	for _, x := range []struct {
		name    string
		spec    virtual.Spec
		fault   string
		code    int
		says    []string
		touched bool
	}{
		{"firmware that waits", virtual.Spec{Profile: "nvme-firmware-pending"}, "", exitCannot, []string{"REFUSED - not touched", "waits to be activated", "take power from the drive", "--technique host-overwrite is possible"}, false},
		{"reserved", virtual.Spec{Profile: "nvme-ssd", ReservedBy: "abcd"}, "", exitRefused, []string{"REFUSED - not touched", "1 registered for namespace 1, one with key 000000000000abcd", "unregister them there"}, false},
		{"read-only media", virtual.Spec{Profile: "nvme-ssd"}, "smart-critical:8", exitCannot, []string{"REFUSED - not touched", "its media are read-only", "--verify status"}, false},
		{"region", virtual.Spec{Profile: "nvme-pmr"}, "", exitFailed, []string{"FAILED - holds data", "blocks had been overwritten with markers", "disable the persistent memory region"}, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
			if err != nil {
				t.Fatal(err)
			}
			x.spec.Serial, x.spec.SizeBytes, x.spec.EraseSeconds = "A", 4<<20, 1
			if _, err := rack.Add(x.spec); err != nil {
				t.Fatal(err)
			}
			if err := rack.Populate("A", []byte("somebody's data ")); err != nil {
				t.Fatal(err)
			}
			if f, err := virtual.ParseFault(x.fault); x.fault != "" && (err != nil || rack.Fault("A", f) != nil) {
				t.Fatal(err)
			}
			content := func() []byte {
				m, err := rack.Medium("A")
				if err != nil {
					t.Fatal(err)
				}
				b := make([]byte, m.Addressable)
				if _, err := m.ReadAt(b, 0); err != nil {
					t.Fatal(err)
				}
				return b
			}
			before := content()
			stdout, stderr, code := on(t, rack, "run", "A", "--method", "purge", "--confirm", "A")
			if code != x.code {
				t.Errorf("exit %d", code)
			}
			for _, words := range x.says {
				if !strings.Contains(stdout+stderr, words) {
					t.Errorf("%q is not in\n%s%s", words, stdout, stderr)
				}
			}
			if bytes.Equal(before, content()) == x.touched {
				t.Errorf("touched %v, want %v", !x.touched, x.touched)
			}
		})
	}
}
