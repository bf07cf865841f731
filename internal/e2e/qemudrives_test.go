package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// imageOf makes a file of so many megabytes, full of customer data, for a device of QEMU's.
func imageOf(t *testing.T, name string, megabytes int) string {
	t.Helper()
	data := bytes.Repeat(canary, megabytes<<20/len(canary)+1)[:megabytes<<20]
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Drives that nobody here wrote: QEMU's own. What they cannot do is refused for the right reason, and changes
// nothing; what they can ends in a certificate that the image on this machine bears out.
func TestDrivesOfQEMU(t *testing.T) {
	t.Parallel()
	need(t, "kernel")
	image := map[string]string{}
	for _, serial := range []string{"QATA", "QTHIN", "QSCSI", "QNVME", "QFORMAT"} {
		image[serial] = imageOf(t, serial, 8)
	}
	drive := func(serial, device string) []string {
		return []string{"-drive", "if=none,format=raw,id=" + serial + ",file=" + image[serial], "-device", device + ",drive=" + serial + ",serial=" + serial}
	}
	g := startQEMU(t, hardware{disk: newDisk(t), load: []string{"ahci", "virtio_scsi", "sd_mod", "sg"}, args: slices.Concat(
		[]string{"-device", "ich9-ahci,id=ahci", "-device", "virtio-scsi-pci,id=scsi"},
		drive("QATA", "ide-hd,bus=ahci.0,wwn=0x5000c50000000001"), drive("QTHIN", "scsi-hd,bus=scsi.0"), drive("QSCSI", "scsi-hd,bus=scsi.0,discard_granularity=0"),
		drive("QNVME", "nvme"), drive("QFORMAT", "nvme"),
	)})
	for _, x := range []struct {
		serial, method, technique string
		code                      int
		says                      string // in reasons, or of the technique
	}{
		{"QATA", "purge", "", 6, "no technique reaches purge"},
		{"QATA", "clear", "security-erase", 6, "no ATA security commands"},
		{"QATA", "clear", "", 0, "host overwrite"},
		{"QTHIN", "clear", "", 5, "thin-provisioned"},
		{"QSCSI", "purge", "", 6, "no technique reaches purge"},
		{"QSCSI", "clear", "drive-overwrite", 6, "cannot be asked"},
		{"QSCSI", "clear", "", 0, "host overwrite"},
		{"QNVME", "purge", "", 6, "no technique reaches purge"},
		{"QNVME", "clear", "format-crypto", 6, "cannot erase cryptographically"},
		{"QNVME", "clear", "host-overwrite", 0, "host overwrite"},
		{"QFORMAT", "clear", "", 0, "format"},
	} {
		t.Run(x.serial+" "+x.method+" "+x.technique, func(t *testing.T) {
			g := g.in(t)
			args := []string{"expunge", "--state", "/host/state", "run", x.serial, "--method", x.method, "--confirm", x.serial, "--json"}
			if x.technique != "" {
				args = append(args, "--technique", x.technique)
			}
			out, code := g.Run(args...)
			if code != x.code || !strings.Contains(out, x.says) {
				t.Fatalf("exit %d: %s", code, out)
			}
			data, err := os.ReadFile(image[x.serial])
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, canary); (n == 0) != (x.code == 0) || x.code != 0 && n != len(data)/len(canary) {
				t.Errorf("%d canaries are in the image", n)
			}
			var r struct {
				Result struct {
					Drives []done `json:"drives"`
				} `json:"result"`
			}
			answerOf(t, out, &r)
			if x.code != 0 {
				if len(r.Result.Drives) != 1 || r.Result.Drives[0].Certificate != "" {
					t.Errorf("refused, and: %s", out)
				}
				return
			}
			result, _ := certified(t, g, r.Result.Drives[0])
			if result.Device.Serial != x.serial || result.Outcome.Method != "clear" || result.Sanitization.Technique != x.says || result.Device.Fabric != "" {
				t.Errorf("certificate: %+v %+v", result.Outcome, result.Device)
			}
		})
	}
}
