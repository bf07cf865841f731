package e2e

import (
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

func TestUMLBoots(t *testing.T) {
	rack, err := virtual.Create(t.TempDir() + "/rack")
	if err != nil {
		t.Fatal(err)
	}
	target := newSCSITarget(t.Context())
	for i, p := range []string{"sas-ssd", "sata-ssd", "sata-hdd", "sas-hdd"} {
		node, err := rack.Add(virtual.Spec{Profile: p, Serial: p, SizeBytes: 8 << 20})
		if err != nil {
			t.Fatal(err)
		}
		tr, err := rack.Opener()(t.Context(), node, devices.Exclusive)
		if err != nil {
			t.Fatal(err)
		}
		target.attach(uint16(i), 0, tr)
	}
	g := startUML(t, target, t.TempDir(), nil, nil)
	t.Log(g.Must("ls", "/sys/block/*", "/dev/sd*", "/dev/sg*"))
	t.Log(g.Run("expunge", "list"))
	t.Log(g.Run("expunge", "show", "sata-ssd"))
	t.Log(g.Run("expunge", "run", "sas-ssd", "--method", "purge", "--confirm", "sas-ssd"))
	t.Log(g.Run("expunge", "run", "sata-ssd", "--method", "purge", "--confirm", "sata-ssd"))
	t.Log(g.Run("expunge", "run", "sata-hdd", "--method", "clear", "--technique", "host-overwrite", "--confirm", "sata-hdd"))
	t.Log(g.Must("dmesg"))
}
