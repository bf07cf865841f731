package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// umlModules are what a guest of User Mode Linux loads at its start.
var umlModules = []string{"virtio_scsi", "sd_mod", "sg"}

// startUML boots User Mode Linux with the drives of a target behind a virtio SCSI host, and a directory
// of this machine at /host. more is of the kernel's command line.
func startUML(t *testing.T, target *scsiTarget, share string, load []string, files map[string]string, more ...string) *Guest {
	t.Helper()
	dir := need(t, "uml")
	kernel, err := readModules(filepath.Join(dir, "usr/lib/uml/modules"))
	if err != nil {
		t.Fatal(err)
	}
	initrd := initramfs(t, kernel, append(umlModules, load...), files)
	run := serveSocket(t, target)
	// The archive is in memory with what is unpacked from it: the program and other people's tools.
	c := exec.Command(filepath.Join(dir, "usr/bin/linux.uml"), "mem=320M", "initrd="+initrd, "virtio_uml.device="+filepath.Join(run, "scsi")+":8",
		"con=null", "con0=fd:0,fd:1", "quiet", "loglevel=4", "panic=1", "uml_dir="+run, "share=hostfs:"+share)
	c.Args = append(c.Args, more...)
	c.Dir = run
	c.Env = append(os.Environ(), "TMPDIR="+run)
	return start(t, "User Mode Linux", c)
}

// serveSocket serves a target's guests, one after another, on the socket "scsi" in a new directory. Its name is
// short: a kernel takes 107 characters.
func serveSocket(t *testing.T, target *scsiTarget) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "scsi"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	target.forget()
	go serveVhost(l, target.device())
	return dir
}
