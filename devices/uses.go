package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// uses is everything that speaks against touching a host's drives, by drive name.
type uses struct {
	fs      sysfs
	drives  []blockdev
	owner   map[string]string // kernel name of a drive or partition to the drive's
	numbers map[Number]string // device number to the drive's or partition's kernel name
	generic map[Number]generic
	found   map[string][]use
	// unknown speaks against every drive: something that had to be read could not be.
	unknown []Reason
}

// generic is the character device that takes a drive's SCSI commands beside its block device.
type generic struct{ node, drive string }

type use struct {
	system bool // this machine runs from it
	Reason
}

// readUses looks at everything that can hold a drive: mounts of every process, swap, hibernation,
// holders and slaves, open descriptors, exports.
func (s sysfs) readUses(drives []blockdev) *uses {
	u := &uses{fs: s, drives: drives, owner: map[string]string{}, numbers: map[Number]string{}, generic: map[Number]generic{}, found: map[string][]use{}}
	for _, b := range drives {
		u.owner[b.name], u.numbers[b.number] = b.name, b.name
		for _, p := range b.partitions {
			u.owner[p.name], u.numbers[p.number] = b.name, p.name
		}
		doors, err := names(b.dir, "device/scsi_generic")
		if err != nil {
			u.unknown = append(u.unknown, Reason{Code: "undetermined", Message: fmt.Sprintf("what takes SCSI commands of %s cannot be read: %v", b.name, err)})
		}
		for _, door := range doors {
			if n, err := parseNumber(text(b.dir, "device/scsi_generic", door, "dev")); err == nil {
				u.generic[n] = generic{"/dev/" + door, b.name}
			}
		}
	}
	for _, read := range []struct {
		what string
		by   func() error
	}{
		{"mounts", u.readMounts}, {"swap areas", u.readSwaps}, {"the hibernation image", u.readResume},
		{"holders", u.readHolders}, {"open descriptors", u.readDescriptors}, {"exports", u.readExports},
	} {
		if err := read.by(); err != nil {
			u.unknown = append(u.unknown, Reason{"undetermined", fmt.Sprintf("%s cannot be read: %v", read.what, err), hintUnread(err)})
		}
	}
	return u
}

// of lists what speaks against one drive and whether the machine runs from it.
func (u *uses) of(name string) (reasons []Reason, system bool) {
	for _, use := range u.found[name] {
		system = system || use.system
		if !slices.Contains(reasons, use.Reason) {
			reasons = append(reasons, use.Reason)
		}
	}
	return reasons, system
}

// mark notes a use of a drive or partition, and of everything below it: a file system on dm-0
// uses the drives that dm-0 is made of.
func (u *uses) mark(name string, use use) { u.markBelow(name, use, 0) }

func (u *uses) markBelow(name string, use use, depth int) {
	drive, known := u.owner[name]
	if !known || depth > 16 {
		return
	}
	u.found[drive] = append(u.found[drive], use)
	slaves, err := names(u.fs.path("sys/block", drive, "slaves"))
	if err != nil {
		u.unknown = append(u.unknown, Reason{Code: "undetermined", Message: fmt.Sprintf("what %s is made of cannot be read: %v", drive, err)})
	}
	for _, below := range slaves {
		deeper := use
		if depth == 0 {
			deeper.Message += ", through " + drive
		}
		u.markBelow(below, deeper, depth+1)
	}
}

// systemMounts are mount points that a machine runs from.
var systemMounts = []string{"/", "/boot", "/boot/efi", "/efi", "/usr"}

func (u *uses) readMounts() error {
	processes, err := u.processes()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, p := range append([]string{"self", "1"}, processes...) {
		data, err := os.ReadFile(u.fs.path("proc", p, "mountinfo"))
		if ended(err) && i > 0 {
			continue
		}
		if err != nil {
			return err
		}
		if seen[string(data)] {
			continue
		}
		seen[string(data)] = true
		for line := range strings.Lines(string(data)) {
			u.readMount(line, i < 2)
		}
	}
	return u.readBtrfs()
}

// readMount takes one line of mountinfo: id, parent, major:minor, root, mount point, … (proc(5)).
func (u *uses) readMount(line string, own bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return
	}
	point := unescape(fields[4])
	name := ""
	if number, err := parseNumber(fields[2]); err == nil {
		name = u.numbers[number]
	}
	if name == "" {
		// Some file systems show an anonymous number; the source after the separator names a node.
		if at := slices.Index(fields, "-"); at > 0 && at+2 < len(fields) {
			name = u.nameOf(unescape(fields[at+2]))
		}
	}
	if name == "" {
		return
	}
	system := own && slices.Contains(systemMounts, point)
	hint := "unmount it first: umount " + point
	if system {
		hint = "this machine runs from it: start the machine from something else"
	}
	u.mark(name, use{system, Reason{"mounted", fmt.Sprintf("%s is mounted at %s", nodePath(name), point), hint}})
}

// readBtrfs: a file system of several devices is mounted by one of them; sysfs lists all.
func (u *uses) readBtrfs() error {
	files, err := filepath.Glob(u.fs.path("sys/fs/btrfs/*/devices/*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		u.mark(filepath.Base(f), use{false, Reason{"mounted", nodePath(filepath.Base(f)) + " belongs to a mounted btrfs", "unmount it first"}})
	}
	return nil
}

func (u *uses) readSwaps() error {
	data, err := os.ReadFile(u.fs.path("proc/swaps"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without swap
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == "partition" {
			node := unescape(fields[0])
			u.mark(u.nameOf(node), use{true, Reason{"swap", node + " is swap space", "turn it off first: swapoff " + node}})
		}
	}
	return nil
}

func (u *uses) readResume() error {
	number, err := parseNumber(text(u.fs.root, "sys/power/resume"))
	if err == nil && number != (Number{}) {
		u.mark(u.numbers[number], use{true, Reason{Code: "hibernation", Message: "the machine hibernates to it"}})
	}
	return nil // absent where the kernel cannot hibernate
}

func (u *uses) readHolders() error {
	for _, b := range u.drives {
		dirs := []partition{{name: b.name, dir: b.dir}}
		for _, d := range append(dirs, b.partitions...) {
			holders, err := names(d.dir, "holders")
			if err != nil {
				return err
			}
			for _, h := range holders {
				// What the holder is used for was marked, or it is unused but assembled.
				hint := "take the array or volume apart first"
				if name := cleanASCII(text(u.fs.root, "sys/block", h, "dm/name")); strings.HasPrefix(text(u.fs.root, "sys/block", h, "dm/uuid"), "mpath-") {
					hint = "take the map apart first: multipath -f " + name
				}
				u.mark(d.name, use{false, Reason{"held", fmt.Sprintf("%s is part of %s%s", nodePath(d.name), h, u.describeHolder(h)), hint}})
			}
		}
	}
	return nil
}

func (u *uses) describeHolder(h string) string {
	if name := text(u.fs.root, "sys/block", h, "dm/name"); name != "" {
		return " (" + cleanASCII(name) + ")"
	}
	return ""
}

// readExports finds drives that this host serves to others.
func (u *uses) readExports() error {
	config := u.fs.path("sys/kernel/config")
	if _, err := os.ReadDir(config); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, pattern := range []string{"target/core/*/*/udev_path", "nvmet/subsystems/*/namespaces/*/device_path"} {
		files, err := filepath.Glob(filepath.Join(config, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			node := strings.TrimSpace(string(data))
			u.mark(u.nameOf(node), use{false, Reason{"exported", node + " is exported to other hosts", "remove the export first"}})
		}
	}
	return nil
}

// nameOf is the kernel name of the drive or partition that a node's path names, "" for others.
func (u *uses) nameOf(node string) string {
	if !strings.HasPrefix(node, "/dev/") {
		return ""
	}
	name := resolveNode(u.fs.root, node)
	if _, known := u.owner[name]; known {
		return name
	}
	return ""
}

// resolveNode follows links below the root and gives the node's kernel name.
func resolveNode(root, node string) string {
	path := filepath.Join(root, node)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if base, err := filepath.EvalSymlinks(filepath.Join(root, "dev")); err == nil {
		if rel, err := filepath.Rel(base, path); err == nil {
			return strings.ReplaceAll(rel, "/", "!")
		}
	}
	return filepath.Base(path)
}

// unescape undoes the octal escapes of proc(5): space, tab, newline, backslash.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
