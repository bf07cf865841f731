package e2e

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

func TestQEMUBoots(t *testing.T) {
	rack, err := virtual.Create(t.TempDir() + "/rack")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = rack.Add(virtual.Spec{Profile: "nvme-ssd", Serial: "A", SizeBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	node, err := rack.Add(virtual.Spec{Profile: "sas-ssd", Serial: "B", SizeBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	target := newSCSITarget(t.Context())
	tr, err := rack.Opener()(t.Context(), node, devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	target.attach(0, 0, tr)
	n := newNVMeTarget(t, rack, "A")
	g := startQEMU(t, machine{target: target, disk: newDisk(t)})
	c := g.connect(n)
	t.Log(g.Must("ls", "/sys/block/*", "/dev/nvme*", "/dev/sd*", "/host/*"))
	t.Log(g.Run("expunge", "list"))
	t.Log(g.Run("expunge", "show", "A"))
	t.Log(g.Run("expunge", "run", "A", "--method", "purge", "--allow-fabric", "--confirm", "A", "--state", "/host/state"))
	t.Log(g.Run("expunge", "run", "B", "--method", "purge", "--confirm", "B", "--state", "/host/state"))
	g.disconnect(c)
	t.Log(g.Must("dmesg"))
}
