package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// file makes a file of so many megabytes in the share, full of customer data.
func (b *bench) file(name string, megabytes int) string {
	b.t.Helper()
	data := bytes.Repeat(canary, megabytes<<20/len(canary)+1)[:megabytes<<20]
	if err := os.WriteFile(filepath.Join(b.share, name), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
	return "/host/" + name
}

// leftIn counts what is left of the customer's data in a file of the share.
func (b *bench) leftIn(name string) int {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.share, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return bytes.Count(data, canary)
}

// The kernel's own SCSI drive says that an ATA drive is behind it (VPD page 89h), and passes no ATA command:
// what it may hide cannot be told, and it is refused for that.
func TestDriveOfTheKernel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	g := startUML(t, b.target, b.share, []string{"scsi_debug dev_size_mb=8"}, nil)
	g.Must("copy", b.file("full", 8), "/dev/sda")
	for _, args := range [][]string{{"--method", "purge"}, {"--method", "clear"}, {"--method", "clear", "--technique", "host-overwrite"}} {
		serial := serialAt(g, "/dev/sda")
		a, err := g.do(t.Context(), request{Args: append([]string{"expunge", "--state", "/host/state", "run", serial, "--confirm", serial}, args...)})
		if err != nil || a.Code != 5 || !strings.Contains(string(a.Stdout)+string(a.Stderr), "IDENTIFY DEVICE") {
			t.Errorf("%q: %v, exit %d: %s%s", args, err, a.Code, a.Stdout, a.Stderr)
		}
	}
	g.Must("copy", "/dev/sda", "/host/refused")
	if b.leftIn("refused") != b.leftIn("full") {
		t.Error("a refused drive was written")
	}
}

// What device mapper makes of a file is as bad as a drive can be; a loop device over it is overwritten,
// and what comes out is what the file shows.
func TestBadDrivesOfTheKernel(t *testing.T) {
	t.Parallel()
	// Tables over an 8 MiB device; the last 4 KiB of the first megabyte are at sector 2040.
	for _, x := range []struct {
		name, module string
		table        []string
		code         int
		says         string
		left         bool // of the customer's data
	}{
		{"whole", "dm-mod", []string{"0 16384 linear %s 0"}, 0, "CLEARED verified", false},
		{"slow", "dm-delay", []string{"0 16384 delay %s 0 20"}, 0, "CLEARED verified", false},
		{"bad in the middle", "dm-mod", []string{"0 2040 linear %s 0", "2040 8 error", "2048 14336 linear %s 2048"}, 9, "but for 4096 bytes", true},
		{"what cannot be read until it is written", "dm-dust", []string{"0 16384 dust %s 0 512"}, 0, "CLEARED verified", false},
		{"writes are lost", "dm-flakey", []string{"0 16384 flakey %s 0 0 100 1 drop_writes"}, 8, "UNPROVEN", true},
		{"writes fail", "dm-flakey", []string{"0 16384 flakey %s 0 0 100 1 error_writes"}, 7, "FAILED", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			modules := []string{"loop", "dm-mod"}
			if x.module != "dm-mod" {
				modules = append(modules, x.module)
			}
			g := startUML(t, b.target, b.share, modules, nil)
			lower := g.Must("loop", b.file("disk", 8))
			var table []string
			for _, line := range x.table {
				if strings.Contains(line, "%s") {
					line = fmt.Sprintf(line, lower)
				}
				table = append(table, line)
			}
			g.Must(append([]string{"dm", "bad", ""}, table...)...)
			if x.module == "dm-dust" {
				g.Must("dmmessage", "bad", "addbadblock 2040")
				g.Must("dmmessage", "bad", "enable")
				if _, code := g.Run("cat", "/dev/dm-0"); code == 0 {
					t.Fatal("all of it can be read")
				}
			}
			upper := g.Must("loop", "/dev/dm-0", "direct")
			out, code := g.expunge("run", upper, "--method", "clear", "--verify", "full", "--confirm", serialAt(g, upper))
			if code != x.code || !strings.Contains(out, x.says) {
				t.Errorf("exit %d: %s", code, out)
			}
			if n := b.leftIn("disk"); (n > 0) != x.left || x.code == 9 && n > 4096/len(canary) {
				t.Errorf("%d canaries are left in the file", n)
			}
			// What the loop devices are made of is not to be had beside them.
			if out, code := g.expunge("run", lower, "--method", "clear", "--confirm", serialAt(g, lower)); code != 5 {
				t.Errorf("the device below: exit %d: %s", code, out)
			}
		})
	}
}

// serialAt is the serial number of the drive at a node.
func serialAt(g *Guest, node string) string {
	g.t.Helper()
	shown, _ := document[struct {
		Items []devices.Drive `json:"items"`
	}](g, "show", node)
	if len(shown.Items) != 1 {
		g.t.Fatalf("%s: %+v", node, shown.Items)
	}
	return shown.Items[0].Serial
}
