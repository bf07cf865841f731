package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sysfs reads a host's block devices below a root directory. Paths given to it are relative to
// the root.
type sysfs struct{ root string }

// blockdev is one entry of /sys/block: a drive-like device and its partitions.
type blockdev struct {
	name       string // "sda"; kernel names have "!" where the node has "/"
	dir        string // the entry's directory
	number     Number
	partitions []partition
}

type partition struct {
	name   string
	dir    string
	number Number
}

// node is the path of a device node by its kernel name.
func nodePath(name string) string { return "/dev/" + strings.ReplaceAll(name, "!", "/") }

func (s sysfs) path(elem ...string) string {
	return filepath.Join(append([]string{s.root}, elem...)...)
}

// blockdevs lists /sys/block. ghw answers "no disks" when it is unreadable, so this is read first
// and is an error then.
func (s sysfs) blockdevs() ([]blockdev, error) {
	entries, err := os.ReadDir(s.path("sys/block"))
	if err != nil {
		return nil, fmt.Errorf("list block devices: %w", err)
	}
	list := make([]blockdev, 0, len(entries))
	for _, e := range entries {
		b := blockdev{name: e.Name(), dir: s.path("sys/block", e.Name())}
		if text(b.dir, "hidden") == "1" {
			continue // a path below a multipath head, which is in the list; it has no number and no node
		}
		number, err := parseNumber(text(b.dir, "dev"))
		if err != nil {
			if _, gone := os.Stat(b.dir); errors.Is(gone, fs.ErrNotExist) {
				continue // unplugged while listing
			}
			return nil, fmt.Errorf("list block devices: %s: %w", b.name, err)
		}
		b.number = number
		if err := b.readPartitions(); err != nil {
			return nil, fmt.Errorf("list block devices: %w", err)
		}
		list = append(list, b)
	}
	return list, nil
}

func (b *blockdev) readPartitions() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(b.dir, e.Name())
		if text(dir, "partition") == "" {
			continue
		}
		number, err := parseNumber(text(dir, "dev"))
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
		b.partitions = append(b.partitions, partition{e.Name(), dir, number})
	}
	return nil
}

func (b blockdev) sizeBytes() int64 { return integer(b.dir, "size") * 512 }

// zoned says whether its blocks can be written in the order of its zones alone.
func (b blockdev) zoned() bool { return text(b.dir, "queue/zoned") == "host-managed" }

// subsystem names the bus that the device sits on: "scsi", "nvme", "virtio", "mmc", "nd" or "", or "block"
// for one that is part of another block device.
func (b blockdev) subsystem() string {
	target, err := os.Readlink(filepath.Join(b.dir, "device/subsystem"))
	if err != nil {
		return ""
	}
	return filepath.Base(target)
}

// names lists a directory; one that is not there is empty.
func names(dir ...string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir...))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.Name())
	}
	slices.Sort(list)
	return list, err
}

// text reads a small file of sysfs as one line; what cannot be read is empty, which no caller may
// take for an answer.
func text(elem ...string) string {
	data, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		return ""
	}
	return strings.Trim(string(data), " \t\n\x00")
}

// integer reads a number from sysfs; what is not one is 0.
func integer(elem ...string) int64 {
	n, err := strconv.ParseInt(text(elem...), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func parseNumber(s string) (Number, error) {
	major, minor, ok := strings.Cut(s, ":")
	if !ok {
		return Number{}, fmt.Errorf("device number %q is not major:minor", s)
	}
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	if errA != nil || errB != nil {
		return Number{}, fmt.Errorf("device number %q is not major:minor", s)
	}
	return Number{uint32(a), uint32(b)}, nil
}

// cleanASCII keeps printable ASCII and writes other bytes as \xNN, so that what a drive says of
// itself can neither move a cursor nor look like something else.
func cleanASCII(s string) string {
	var b strings.Builder
	for _, c := range []byte(strings.TrimSpace(s)) {
		if c < 0x20 || c > 0x7e || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
