package e2e

import (
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// A second kernel finds the same SCSI drive, beside one on a fabric, and what a guest keeps at /host is
// there for the next one although it was killed.
func TestQEMU(t *testing.T) {
	t.Parallel()
	need(t, "kernel")
	rack, err := virtual.Create(t.TempDir() + "/rack")
	if err != nil {
		t.Fatal(err)
	}
	node, err := rack.Add(virtual.Spec{Profile: "sas-ssd", Serial: "SCSI", SizeBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := rack.Populate("SCSI", canary); err != nil {
		t.Fatal(err)
	}
	target := newSCSITarget(t.Context())
	door, err := rack.Opener()(t.Context(), node, devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	target.attach(0, 0, door)
	m := hardware{target: target, disk: newDisk(t)}
	f := &fabric{t, rack, m.disk, startQEMU(t, m)}
	f.g.connect(f.add(t, virtual.Spec{Profile: "nvme-ssd", Serial: "NVME", SizeBytes: 8 << 20}))
	out := f.g.Must("expunge", "--state", "/host/state", "list")
	for _, serial := range []string{"SCSI", "NVME"} {
		if !strings.Contains(out, serial) {
			t.Errorf("%s is not in the list: %s", serial, out)
		}
	}
	d, _, code := f.run(t, "SCSI", "--method", "purge")
	if code != 0 || d.Outcome != "sanitized" {
		t.Fatalf("exit status %d: %+v", code, d)
	}
	if addressable, hidden := left(t, f.medium(t, "SCSI")); addressable != 0 || hidden != 0 {
		t.Errorf("customer data is left: %d and %d", addressable, hidden)
	}
	before, _ := certified(t, f.g, d)
	f.g.Kill()
	target.forget()
	f.g = startQEMU(t, m)
	if after, _ := certified(t, f.g, d); after.Evidence != before.Evidence {
		t.Errorf("%+v, was %+v", after.Evidence, before.Evidence)
	}
}
