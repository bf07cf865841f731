package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// archive is an initramfs in the making: a cpio archive of the format "newc", which the kernel unpacks
// into its first root (Documentation/driver-api/early-userspace/buffer-format.rst).
type archive struct {
	bytes.Buffer
	inode int
	made  map[string]bool // directories
}

// entry adds a header with the name and the data of one file. mode is the inode's, with its type.
func (a *archive) entry(name string, mode, major, minor uint32, data []byte) {
	a.inode++
	fields := []int{a.inode, int(mode), 0, 0, 1, 0, len(data), 0, 0, int(major), int(minor), len(name) + 1, 0}
	a.WriteString("070701")
	for _, f := range fields {
		fmt.Fprintf(a, "%08x", f)
	}
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(data)
	a.pad()
}

func (a *archive) pad() {
	for a.Len()%4 != 0 {
		a.WriteByte(0)
	}
}

// dir adds a directory and those that it is in.
func (a *archive) dir(name string) {
	if name == "." || name == "/" || a.made[name] {
		return
	}
	a.dir(path.Dir(name))
	if a.made == nil {
		a.made = map[string]bool{}
	}
	a.made[name] = true
	a.entry(name, 0o040755, 0, 0, nil)
}

// file adds a file with the directories that it is in.
func (a *archive) file(name string, perm fs.FileMode, data []byte) {
	name = strings.TrimPrefix(name, "/")
	a.dir(path.Dir(name))
	a.entry(name, 0o100000|uint32(perm.Perm()), 0, 0, data)
}

// link adds a symbolic link.
func (a *archive) link(name, target string) {
	name = strings.TrimPrefix(name, "/")
	a.dir(path.Dir(name))
	a.entry(name, 0o120777, 0, 0, []byte(target))
}

// device adds a character device, for what runs before /dev is mounted.
func (a *archive) device(name string, major, minor uint32) {
	a.dir(path.Dir(name))
	a.entry(name, 0o020600, major, minor, nil)
}

// copy adds a file of this machine, and where it is a link what that leads to.
func (a *archive) copy(name, from string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	a.file(name, 0o755, data)
	return nil
}

// finish writes the archive to a file.
func (a *archive) finish(name string) error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return os.WriteFile(name, a.Bytes(), 0o600)
}
