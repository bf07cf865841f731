package devices

import (
	"os"
	"path/filepath"
	"testing"
)

// Drives of one host adapter are told from those of others by the function of the bus that they are behind.
func TestAdapter(t *testing.T) {
	root := t.TempDir()
	for name, dir := range map[string]string{
		"sda":     "pci0000:00/0000:00:01.0/0000:3b:00.0/host0/port-0:0/end_device-0:0/target0:0:0/0:0:0:0/block/sda",
		"sdb":     "pci0000:00/0000:00:01.0/0000:3b:00.0/host0/port-0:1/end_device-0:1/target0:0:1/0:0:1:0/block/sdb",
		"sdc":     "pci0000:00/0000:00:1f.2/ata1/host1/target1:0:0/1:0:0:0/block/sdc",
		"nvme0n1": "pci0000:00/0000:00:02.0/10000:01:00.0/nvme/nvme0/nvme0n1",
		"loop0":   "virtual/block/loop0",
	} {
		at := filepath.Join(root, "sys/devices", dir)
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(root, "sys/block"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(at, filepath.Join(root, "sys/block", name)); err != nil {
			t.Fatal(err)
		}
	}
	for node, want := range map[string]string{
		"/dev/sda": "0000:3b:00.0", "/dev/sdb": "0000:3b:00.0", "/dev/sdc": "0000:00:1f.2", "/dev/nvme0n1": "10000:01:00.0", "/dev/loop0": "", "/dev/gone": "",
	} {
		h := &Handle{host: &Host{fs: sysfs{root: root}}, spaces: []Space{{Node: node}}}
		if got := h.Adapter(); got != want {
			t.Errorf("%s is behind %q, want %q", node, got, want)
		}
	}
}
