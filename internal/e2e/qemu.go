package e2e

import (
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// hardware is what a guest of QEMU is made of. Its processor is emulated: slow, and the same everywhere.
type hardware struct {
	target *scsiTarget       // behind a virtio SCSI host; may be nil
	disk   string            // an image with a file system, at /host; "" when there is none
	files  map[string]string // more of them, by where they go in the guest
	line   string            // more of the kernel's command line
	load   []string          // more modules
	args   []string          // more of QEMU's own devices
}

// qemuModules are what guests of QEMU load at their start.
var qemuModules = []string{"virtio_blk", "virtio_net", "nvme_tcp"}

// startQEMU boots Debian's kernel in QEMU. This machine is 10.0.2.2 there.
func startQEMU(t *testing.T, m hardware) *Guest {
	t.Helper()
	qemu, dir := tool(t, "qemu-system-x86_64", "qemu-system-x86"), need(t, "kernel")
	images, err := filepath.Glob(filepath.Join(dir, "boot/vmlinuz-*"))
	if err == nil && len(images) != 1 {
		err = errors.New("no kernel, or several")
	}
	kernel, errModules := readModules(filepath.Join(dir, "lib/modules"))
	if err = errors.Join(err, errModules); err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	load := slices.Clone(qemuModules)
	// On a busy machine the emulated timer may not tick while the kernel tries it out, which makes it panic.
	line := "console=ttyS0 no_timer_check quiet loglevel=4 panic=-1 " + m.line
	args := []string{"-accel", "tcg", "-M", "pc", "-nodefaults", "-display", "none", "-no-reboot", "-m", "256M",
		"-object", "memory-backend-memfd,id=m,size=256M,share=on", "-numa", "node,memdev=m",
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="}
	if m.disk != "" {
		args = append(args, "-drive", "if=none,id=disk,format=raw,file="+m.disk, "-device", "virtio-blk-pci,drive=disk")
		line += " share=ext4:/dev/vda"
	}
	if m.target != nil {
		socket := filepath.Join(serveSocket(t, m.target), "scsi")
		args = append(args, "-chardev", "socket,id=scsi,path="+socket, "-device", "vhost-user-scsi-pci,chardev=scsi")
		load = append([]string{"virtio_scsi", "sd_mod", "sg"}, load...)
	}
	args, load = append(args, m.args...), append(load, m.load...)
	args = append(args, "-kernel", images[0], "-initrd", initramfs(t, kernel, load, m.files), "-append", line)
	g := start(t, "QEMU", exec.Command(qemu, args...))
	g.Must("address", "eth0", "10.0.2.15/24")
	return g
}

// newDisk makes an image with an empty file system. What a guest wrote and synchronized there is there for
// the next one, however the first one ended.
func newDisk(t *testing.T) string {
	t.Helper()
	mke2fs, name := tool(t, "mke2fs", "e2fsprogs"), filepath.Join(t.TempDir(), "disk")
	if out, err := exec.Command(mke2fs, "-q", "-t", "ext4", name, "64M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v: %s", err, out)
	}
	return name
}

// until waits for something that happens in a guest by itself.
func (g *Guest) until(what string, so func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			g.t.Fatalf("%s: not so in %v: %s", g.name, patience, what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// connect has the guest connect a drive, waits for a node of each of its namespaces, and returns the name
// of its controller.
func (g *Guest) connect(n *nvmeTarget, options ...string) (controller string) {
	g.t.Helper()
	n.mu.Lock()
	all := len(n.units)
	n.mu.Unlock()
	controller = g.connectPath(n, options...)
	g.until("nodes of "+n.serial, func() bool { return len(strings.Fields(g.Must("ls", "/dev/"+controller+"n*"))) == all })
	return controller
}

// connectPath has it connect a controller whose namespaces may have nodes already.
func (g *Guest) connectPath(n *nvmeTarget, options ...string) (controller string) {
	g.t.Helper()
	said := g.Must("nvme-connect", strings.Join(append([]string{n.options()}, options...), ","))
	instance, _, _ := strings.Cut(strings.TrimPrefix(said, "instance="), ",")
	return "nvme" + instance
}

// disconnect takes a controller away, in good order.
func (g *Guest) disconnect(controller string) {
	g.t.Helper()
	g.Must("write", "/sys/class/nvme/"+controller+"/delete_controller", "1")
}
