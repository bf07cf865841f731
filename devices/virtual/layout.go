package virtual

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// virtioMajor is the block major that a kernel gave to virtio here; sixteen minors per drive.
const virtioMajor = 253

// layHost makes the directories and files that every host has.
func (r *Rack) layHost() error {
	for _, dir := range []string{"sys/block", "sys/bus/virtio/drivers/virtio_blk", "sys/devices", "sys/power", "run/udev/data", "proc/self", "proc/1", "dev", "media", "state"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			return err
		}
	}
	return r.write(map[string]string{
		"sys/power/resume":    "0:0\n",
		"proc/swaps":          "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
		"proc/self/mountinfo": "21 1 0:20 / /proc rw,nosuid - proc proc rw\n",
		"proc/1/mountinfo":    "21 1 0:20 / /proc rw,nosuid - proc proc rw\n",
		"proc/mounts":         "proc /proc proc rw,nosuid 0 0\n",
		"proc/self/mounts":    "proc /proc proc rw,nosuid 0 0\n",
	})
}

func (r *Rack) write(files map[string]string) error {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// device is where a drive sits on the buses, relative to sys.
func device(index int) string {
	return fmt.Sprintf("devices/pci0000:00/0000:00:%02x.0/virtio%d", index+4, index)
}

// layDrive makes what a kernel shows of a virtio disk, and its medium.
func (r *Rack) layDrive(info Info) error {
	index, spec := nameIndex(info.Name), info.Spec
	dev := device(index)
	dir := filepath.Join("sys", dev, "block", info.Name)
	for _, sub := range []string{"queue", "holders", "slaves"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir, sub), 0o755); err != nil {
			return err
		}
	}
	number := fmt.Sprintf("%d:%d", virtioMajor, index*16)
	files := map[string]string{
		dir + "/size":                      fmt.Sprint(spec.SizeBytes / 512),
		dir + "/dev":                       number,
		dir + "/ro":                        flag(spec.ReadOnly),
		dir + "/removable":                 "0",
		dir + "/hidden":                    "0",
		dir + "/serial":                    spec.Serial,
		dir + "/diskseq":                   fmt.Sprint(info.Sequence),
		dir + "/queue/logical_block_size":  fmt.Sprint(spec.LogicalBlock),
		dir + "/queue/physical_block_size": fmt.Sprint(spec.PhysicalBlock),
		dir + "/queue/rotational":          "1", // virtio says so whatever is behind it
		"sys/" + dev + "/vendor":           "0x1af4",
		"sys/" + dev + "/device":           "0x0002",
		"run/udev/data/b" + number:         "I:1\nE:ID_SERIAL=" + spec.Serial + "\n",
		"dev/" + info.Name:                 fmt.Sprintf(`{"profile":%q,"drive":%q}`, spec.Profile, info.Name),
	}
	for name, content := range files {
		if !strings.HasSuffix(content, "\n") {
			files[name] = content + "\n"
		}
	}
	if err := r.write(files); err != nil {
		return err
	}
	up := strings.Repeat("../", strings.Count(dev, "/")+1)
	for link, target := range map[string]string{
		dir + "/device":             "../..",
		"sys/" + dev + "/subsystem": up + "bus/virtio",
		"sys/" + dev + "/driver":    up + "bus/virtio/drivers/virtio_blk",
	} {
		if err := os.Symlink(target, filepath.Join(r.dir, link)); err != nil {
			return err
		}
	}
	if err := r.makeMedium(info); err != nil {
		return err
	}
	return r.plug(info)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// plug makes the drive appear; unplug makes it disappear.
func (r *Rack) plug(info Info) error {
	target := "../" + device(nameIndex(info.Name)) + "/block/" + info.Name
	seq := filepath.Join(r.dir, "sys", device(nameIndex(info.Name)), "block", info.Name, "diskseq")
	if err := os.WriteFile(seq, []byte(fmt.Sprintln(info.Sequence)), 0o644); err != nil {
		return err
	}
	err := os.Symlink(target, filepath.Join(r.dir, "sys/block", info.Name))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (r *Rack) unplug(info Info) error {
	return os.Remove(filepath.Join(r.dir, "sys/block", info.Name))
}

// Use puts a drive to use, as the kernel would show it: "mounted:/srv", "mounted:/" (the system
// runs from it), "partition-mounted:/data", "partition" (one that is not used), "swap" or
// "holder:dm-0".
func (r *Rack) Use(name, use string) error {
	info, err := r.find(name)
	if err != nil {
		return err
	}
	if err := r.use(info, use); err != nil {
		return fmt.Errorf("use %s as %q: %w", name, use, err)
	}
	info.Uses = append(info.Uses, use)
	return r.save(info)
}

func (r *Rack) use(info Info, use string) error {
	index := nameIndex(info.Name)
	dir := filepath.Join("sys", device(index), "block", info.Name)
	kind, arg, _ := strings.Cut(use, ":")
	mount := func(node string, minor int) error {
		if !strings.HasPrefix(arg, "/") {
			return errors.New("want a mount point, as in mounted:/srv")
		}
		line := fmt.Sprintf("%d 21 %d:%d / %s rw,relatime - ext4 %s rw\n", 100+minor, virtioMajor, minor, arg, node)
		return errors.Join(r.add("proc/self/mountinfo", line), r.add("proc/1/mountinfo", line))
	}
	switch kind {
	case "mounted":
		return mount(info.Node, index*16)
	case "partition", "partition-mounted":
		if err := r.layPartition(dir, info, index*16+1); err != nil || kind == "partition" {
			return err
		}
		return mount(info.Node+"1", index*16+1)
	case "swap":
		return r.add("proc/swaps", fmt.Sprintf("%s partition %d 0 -2\n", info.Node, info.Spec.SizeBytes/1024))
	case "holder":
		if arg == "" || arg != filepath.Base(arg) {
			return errors.New("want the holder's name, as in holder:dm-0")
		}
		return os.WriteFile(filepath.Join(r.dir, dir, "holders", arg), nil, 0o644)
	}
	return errors.New("not one of mounted:DIR, partition, partition-mounted:DIR, swap, holder:NAME")
}

func (r *Rack) layPartition(dir string, info Info, minor int) error {
	part := filepath.Join(dir, info.Name+"1")
	if err := os.MkdirAll(filepath.Join(r.dir, part, "holders"), 0o755); err != nil {
		return err
	}
	return r.write(map[string]string{
		part + "/partition":      "1\n",
		part + "/start":          "2048\n",
		part + "/size":           fmt.Sprintln(max(0, info.Spec.SizeBytes/512-4096)),
		part + "/dev":            fmt.Sprintf("%d:%d\n", virtioMajor, minor),
		"dev/" + info.Name + "1": fmt.Sprintf("{\"partition_of\":%q}\n", info.Name),
	})
}

func (r *Rack) add(name, line string) error {
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}

// claimed says whether the kernel would refuse an exclusive open (EBUSY).
func (i Info) claimed() bool {
	for _, u := range i.Uses {
		if u != "partition" {
			return true
		}
	}
	return false
}
