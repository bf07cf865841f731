package e2e

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// image makes a file system or swap space of some megabytes on this machine, for a guest to write
// to a drive.
func (b *bench) image(name string, program, pkg string, args ...string) {
	b.t.Helper()
	file := filepath.Join(b.share, name)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Truncate(file, 2<<20); err != nil {
		b.t.Fatal(err)
	}
	if out, err := exec.Command(tool(b.t, program, pkg), append(args, file)...).CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v: %s", program, err, out)
	}
}

// A drive that is used in any way that a real kernel knows is not touched, and the reason is told.
func TestInUseInARealKernel(t *testing.T) {
	t.Parallel()
	ways := []struct {
		name, code string
		state      devices.State
		do         func(g *Guest, node string)
	}{
		{"ext4 is mounted", "mounted", devices.StateInUse, func(g *Guest, node string) {
			g.Must("copy", "/host/ext4", node)
			g.Must("mount", "ext4", node, "/mnt/a")
		}},
		{"a partition is mounted", "mounted", devices.StateInUse, func(g *Guest, node string) {
			g.Must("copy", "/host/mbr", node)
			g.Must("rereadpt", node)
			g.Must("copy", "/host/ext4", node+"1")
			g.Must("mount", "ext4", node+"1", "/mnt/b")
		}},
		{"it is swap space", "swap", devices.StateSystem, func(g *Guest, node string) {
			g.Must("copy", "/host/swap", node)
			g.Must("swapon", node)
		}},
		{"a volume is made of it", "held", devices.StateInUse, func(g *Guest, node string) {
			g.Must("dm", "volume", "LVM-0123456789", "0 8192 linear "+node+" 0")
		}},
		{"an encrypted volume is made of it", "held", devices.StateInUse, func(g *Guest, node string) {
			g.Must("dm", "secret", "CRYPT-PLAIN-secret", "0 8192 crypt aes-xts-plain64 "+strings.Repeat("0f", 32)+" 0 "+node+" 0")
		}},
		{"a file system on a volume of it is mounted", "mounted", devices.StateInUse, func(g *Guest, node string) {
			g.Must("dm", "below", "LVM-below", "0 8192 linear "+node+" 0")
			at := strings.TrimPrefix(strings.TrimSuffix(g.Must("ls", "/sys/block/"+filepath.Base(node)+"/holders/*"), "\n"), "/sys/block/"+filepath.Base(node)+"/holders/")
			g.Must("copy", "/host/ext4", "/dev/"+at)
			g.Must("mount", "ext4", "/dev/"+at, "/mnt/d")
		}},
		{"it is mounted in another mount namespace", "mounted", devices.StateInUse, func(g *Guest, node string) {
			g.Must("copy", "/host/ext4", node)
			g.Must("apart", "ext4", node, "/mnt/apart")
		}},
		{"another process has it open", "open", devices.StateInUse, func(g *Guest, node string) { g.Must("hold", node) }},
		{"another process has a partition open", "open", devices.StateInUse, func(g *Guest, node string) {
			g.Must("copy", "/host/mbr", node)
			g.Must("rereadpt", node)
			g.Must("hold", node+"1")
		}},
		{"an array is made of it", "held", devices.StateInUse, func(g *Guest, node string) { g.Must("md", node) }},
		{"it is exported to other hosts", "exported", devices.StateInUse, func(g *Guest, node string) {
			g.Must("mount", "configfs", "none", "/sys/kernel/config")
			g.Must("mkdir", "/sys/kernel/config/target/core/iblock_0/disk")
			g.Must("write", "/sys/kernel/config/target/core/iblock_0/disk/control", "udev_path="+node)
			g.Must("write", "/sys/kernel/config/target/core/iblock_0/disk/udev_path", node)
			g.Must("write", "/sys/kernel/config/target/core/iblock_0/disk/enable", "1")
		}},
	}
	b := newBench(t)
	b.image("ext4", "mkfs.ext4", "e2fsprogs", "-q", "-F", "-O", "^has_journal")
	b.image("swap", "mkswap", "util-linux")
	mbr := make([]byte, 512)
	mbr[446+4] = 0x83
	binary.LittleEndian.PutUint32(mbr[446+8:], 8)
	binary.LittleEndian.PutUint32(mbr[446+12:], 12000)
	mbr[510], mbr[511] = 0x55, 0xaa
	if err := os.WriteFile(filepath.Join(b.share, "mbr"), mbr, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range ways {
		b.add(virtual.Spec{Profile: []string{"sas-ssd", "sata-ssd"}[i%2], Serial: serialOf(i)})
	}
	g := startUML(t, b.target, b.share, []string{"ext4", "aes_generic", "cbc", "hmac", "sha256_generic", "ecb", "xts", "dm-mod", "dm-crypt", "raid1", "target_core_mod", "target_core_iblock"}, nil)
	for i, x := range ways {
		t.Run(x.name, func(t *testing.T) {
			g, serial := g.in(t), serialOf(i)
			node := "/dev/sd" + string(rune('a'+i))
			late := "/host/" + serial + ".json"
			if out, code := g.expunge("plan", serial, "--method", "purge", "--output", late); code != 0 {
				t.Fatalf("plan: exit %d: %s", code, out)
			}
			x.do(g, node)
			before, _ := b.left(serial)
			shown, _ := document[struct {
				Items []devices.Drive `json:"items"`
			}](g, "show", serial)
			d := shown.Items[0]
			if d.Serial != serial || d.State != x.state || !slices.ContainsFunc(d.Reasons, func(r devices.Reason) bool { return r.Code == x.code }) {
				t.Errorf("%s %s %+v", d.Serial, d.State, d.Reasons)
			}
			for _, args := range [][]string{
				{"run", serial, "--method", "purge", "--confirm", serial},
				{"run", serial, "--method", "clear", "--technique", "host-overwrite", "--confirm", serial},
				{"run", "--plan", late, "--confirm", serial},
			} {
				if out, code := g.expunge(args...); code != 5 {
					t.Errorf("%q: exit %d: %s", args, code, out)
				}
			}
			if after, _ := b.left(serial); after != before || after == 0 || len(b.begun(serial)) > 0 {
				t.Errorf("%d canaries, were %d; begun %q", after, before, b.begun(serial))
			}
		})
	}
}

// The disk that a machine runs from is the system's, and nothing makes that go away.
func TestRootDiskInARealKernel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.image("ext4", "mkfs.ext4", "e2fsprogs", "-q", "-F", "-O", "^has_journal")
	b.add(virtual.Spec{Profile: "sas-ssd", Serial: "ROOT"})
	g := startUML(t, b.target, b.share, []string{"ext4"}, nil)
	g.Must("copy", "/host/ext4", "/dev/sda")
	g.Must("mount", "ext4", "/dev/sda", "/mnt/root")
	for _, dir := range []string{"/proc", "/sys", "/dev", "/host", "/bin/expunge"} {
		g.Must("bind", dir, "/mnt/root"+dir)
	}
	before, _ := b.left("ROOT")
	out := g.Must("chroot", "/mnt/root", "/bin/expunge", "--state", "/host/state", "list")
	if !strings.Contains(out, "SYSTEM") {
		t.Errorf("%s", out)
	}
	out = g.Must("chroot", "/mnt/root", "/bin/expunge", "--state", "/host/state", "run", "ROOT", "--method", "purge", "--confirm", "ROOT")
	if after, _ := b.left("ROOT"); !strings.HasSuffix(out, "exit 5") || after != before || len(b.begun("ROOT")) > 0 {
		t.Errorf("%d canaries, were %d; begun %q: %s", after, before, b.begun("ROOT"), out)
	}
}
