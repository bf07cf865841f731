package devices_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// A kernel that does not ask takes every NVMe drive for solid; the drive's own word counts.
func TestMediaOfNVMe(t *testing.T) {
	for _, x := range []struct {
		name, profile, kernel string
		want                  devices.Media
	}{
		{"disk, kernel knows", "nvme-hdd", "1", devices.MediaMagnetic},
		{"disk, kernel does not ask", "nvme-hdd", "0", devices.MediaMagnetic},
		{"flash", "nvme-ssd", "0", devices.MediaFlash},
		{"flash, kernel says otherwise", "nvme-ssd", "1", devices.MediaMagnetic},
	} {
		t.Run(x.name, func(t *testing.T) {
			rack, err := virtual.Create(filepath.Join(t.TempDir(), "rack"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := rack.Add(virtual.Spec{Profile: x.profile, Serial: "A", SizeBytes: 1 << 20}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(rack.Root(), "sys/block/nvme0n1/queue/rotational"), []byte(x.kernel+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			list, err := rack.Host(nil).Drives(t.Context())
			if err != nil || len(list) != 1 || list[0].Media != x.want {
				t.Errorf("%+v %v, want %s", list, err, x.want)
			}
		})
	}
}
