package virtual

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// layHost makes the directories and files that every host has.
func (r *Rack) layHost() error {
	for _, dir := range []string{
		"sys/block", "sys/bus/virtio/drivers/virtio_blk", "sys/bus/scsi/drivers/sd", "sys/class/nvme", "sys/class/nvme-subsystem",
		"sys/class/scsi_generic", "sys/class/scsi_host",
		"sys/devices", "sys/power", "run/udev/data", "proc/self", "proc/1", "dev", "media", "state",
	} {
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

// write makes files with the directories they are in. A file of sysfs ends with a new line.
func (r *Rack) write(files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if !strings.HasSuffix(content, "\n") && !strings.Contains(name, "vpd_") {
			content += "\n"
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func readText(path string) (string, error) {
	data, err := os.ReadFile(path)
	return strings.TrimSpace(string(data)), err
}

// link makes symbolic links, from and to both relative to the rack's root.
func (r *Rack) link(links map[string]string) error {
	for at, to := range links {
		path := filepath.Join(r.dir, at)
		target, err := filepath.Rel(filepath.Dir(path), filepath.Join(r.dir, to))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o755)
		}
		if err == nil {
			err = os.Symlink(target, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bus is the place on the buses of a space's device.
func (i Info) bus(s Space) string {
	switch {
	case strings.HasPrefix(i.Name, "nvme"):
		return fmt.Sprintf("sys/devices/pci0000:00/0000:01:%02x.0/nvme/nvme%d", i.Index+s.Path, i.Index+s.Path)
	case strings.HasPrefix(i.Name, "mmcblk"):
		return fmt.Sprintf("sys/devices/platform/soc/fe34%04x.mmc/mmc_host/mmc%d/mmc%d:0001", i.Index, i.Index, i.Index)
	case strings.HasPrefix(i.Name, "pmem"):
		return fmt.Sprintf("%s/region%d/pfn%d.0", ndBus, i.Index, i.Index)
	case strings.HasPrefix(i.Name, "sd"):
		host := i.Index + s.Path
		return fmt.Sprintf("%s/target%d:0:0/%d:0:0:%d", i.scsiHost(host), host, host, s.LUN)
	}
	return fmt.Sprintf("sys/devices/pci0000:00/0000:00:%02x.0/virtio%d", i.Index+4, i.Index)
}

// dir is the directory of a space's block device.
func (i Info) dir(s Space) string {
	switch {
	case s.Mapped:
		return "sys/devices/virtual/block/" + filepath.Base(s.Node)
	case s.NSID != 0:
		return i.above(s) + "/" + filepath.Base(s.Node)
	case strings.HasPrefix(i.Name, "mmcblk") && s.LUN != 0: // a general purpose partition
		return i.above(s) + "/" + filepath.Base(s.Node)
	}
	return i.bus(s) + "/block/" + filepath.Base(s.Node)
}

// above is what a space's block device belongs to: its place on the buses, but for the node of several
// NVMe controllers, which is their subsystem's, and an area of a card, which is that of the user area.
func (i Info) above(s Space) string {
	if i.head() {
		return i.subsystem()
	}
	if strings.HasPrefix(i.Name, "mmcblk") && s.LUN != 0 {
		return i.dir(i.Spaces[0])
	}
	return i.bus(s)
}

// nodes are the spaces that have a block device.
func (i Info) nodes() []Space {
	var list []Space
	for _, s := range i.Spaces {
		if s.Node != "" {
			list = append(list, s)
		}
	}
	return list
}

// layDrive makes what a kernel shows of a drive, and its medium.
func (r *Rack) layDrive(info Info, p Profile) error {
	for _, s := range info.nodes() {
		if err := r.layBlock(info, p, s); err != nil {
			return err
		}
	}
	var err error
	first := info.Spaces[0]
	switch p.Protocol {
	case devices.ProtocolNVMe:
		err = r.layNVMe(info, p)
	case devices.ProtocolATA, devices.ProtocolSCSI:
		err = r.laySCSI(info, p)
	case devices.ProtocolMMC:
		err = r.layCard(info, p)
	case devices.ProtocolUFS:
		err = r.layUFS(info, p)
	case devices.ProtocolNVDIMM:
		err = r.layNVDIMM(info, p)
	default:
		bus := info.bus(first)
		err = errors.Join(r.write(map[string]string{bus + "/vendor": "0x1af4", bus + "/device": "0x0002", info.dir(first) + "/serial": info.Spec.Serial}),
			r.link(map[string]string{bus + "/subsystem": "sys/bus/virtio", bus + "/driver": "sys/bus/virtio/drivers/virtio_blk"}))
	}
	if err != nil {
		return err
	}
	return errors.Join(r.layMap(info), r.laySlot(info), r.makeMedium(info, p), r.rescan(info, newMemory(info, p)), r.plug(info))
}

// layBlock makes what every block device has.
func (r *Rack) layBlock(info Info, p Profile, s Space) error {
	dir, spec := info.dir(s), info.Spec
	for _, sub := range []string{"queue", "holders", "slaves"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir, sub), 0o755); err != nil {
			return err
		}
	}
	zoned := "none"
	if p.zoned {
		zoned = "host-managed"
	}
	zones := "0"
	if p.aware {
		zoned = "host-aware"
	}
	if p.zoned {
		zones = fmt.Sprint(spec.SizeBytes / spec.ZoneBytes)
	}
	rotational := flag(p.Media != devices.MediaFlash) // virtio says so whatever is behind it
	return errors.Join(r.write(map[string]string{
		dir + "/dev":                 s.Number,
		dir + "/ro":                  flag(spec.ReadOnly),
		dir + "/removable":           "0",
		dir + "/hidden":              "0",
		dir + "/diskseq":             fmt.Sprint(info.Sequence),
		dir + "/queue/rotational":    rotational,
		dir + "/queue/zoned":         zoned,
		dir + "/queue/nr_zones":      zones,
		dir + "/queue/chunk_sectors": fmt.Sprint(spec.ZoneBytes / 512),
		"run/udev/data/b" + s.Number: "I:1\nE:ID_SERIAL=" + strings.TrimSpace(string(p.unitSerial(spec))),
		s.Node[1:]:                   fmt.Sprintf(`{"profile":%q,"drive":%q,"nsid":%d}`, spec.Profile, info.Name, s.NSID),
	}), r.linkDevice(info, s))
}

func (r *Rack) linkDevice(info Info, s Space) error {
	if s.Mapped {
		return nil // it is on no bus
	}
	return r.link(map[string]string{info.dir(s) + "/device": info.above(s)})
}

// layNVMe makes controllers and their subsystem.
func (r *Rack) layNVMe(info Info, p Profile) error {
	sub := info.subsystem()
	files := map[string]string{sub + "/subsysnqn": nqn(info.Spec.Serial)}
	links := map[string]string{}
	for name, bus := range info.controllers() {
		for attribute, value := range map[string]string{
			"model": p.model, "serial": info.Spec.Serial, "firmware_rev": firmware, "transport": "pcie", "cntlid": "1", "state": "live", "subsysnqn": nqn(info.Spec.Serial),
		} {
			files[bus+"/"+attribute] = value
		}
		if name != info.Name {
			files[bus+"/cntlid"] = "2"
		}
		links[bus+"/subsystem"], links[sub+"/"+name] = "sys/class/nvme", bus
	}
	for _, s := range info.nodes() {
		files[info.dir(s)+"/nsid"] = fmt.Sprint(s.NSID)
		files[info.dir(s)+"/wwid"] = "nvme." + info.Spec.Serial
	}
	err := errors.Join(r.write(files), r.link(links))
	if p.head {
		err = errors.Join(err, r.layHead(info, p))
	}
	return err
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// places are the links by which the kernel lists the drive.
func (r *Rack) places(info Info) map[string]string {
	links := info.slotLinks()
	for name, bus := range info.controllers() {
		links["sys/class/nvme/"+name] = bus
		links["sys/class/nvme-subsystem/"+filepath.Base(info.subsystem())] = info.subsystem()
	}
	for name, dir := range info.hiddenPaths() {
		links["sys/block/"+name] = dir
	}
	for _, a := range info.cardAreas() {
		links["sys/block/"+a.name] = info.dir(info.Spaces[0]) + "/" + a.name
	}
	for _, s := range info.nodes() {
		links["sys/block/"+filepath.Base(s.Node)] = info.dir(s)
		if generic := info.generic(s); generic != "" {
			links["sys/class/scsi_generic/"+generic] = info.bus(s) + "/scsi_generic/" + generic
		}
	}
	return links
}

// plug makes the drive appear; unplug makes it disappear.
func (r *Rack) plug(info Info) error {
	for _, s := range info.nodes() {
		if err := r.write(map[string]string{info.dir(s) + "/diskseq": fmt.Sprint(info.Sequence)}); err != nil {
			return err
		}
	}
	for at, to := range r.places(info) {
		if err := r.link(map[string]string{at: to}); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func (r *Rack) unplug(info Info) error {
	var err error
	for at := range r.places(info) {
		err = errors.Join(err, os.Remove(filepath.Join(r.dir, at)))
	}
	return err
}

// Use puts a drive to use, as the kernel would show it: "mounted:/srv", "mounted:/" (the system
// runs from it), "partition-mounted:/data", "partition" (one that is not used), "area-mounted:boot0:/srv"
// (of an eMMC's boot or general purpose partitions), "swap" or "holder:dm-0". A node names one of the drive's spaces; anything else, its first.
func (r *Rack) Use(name, use string) error {
	info, err := r.find(name)
	if err != nil {
		return err
	}
	space := info.Spaces[max(0, slices.IndexFunc(info.Spaces, func(s Space) bool { return s.Node == name }))]
	if err := r.use(info, space, use); err != nil {
		return fmt.Errorf("use %s as %q: %w", name, use, err)
	}
	info.Uses = append(info.Uses, use)
	return r.save(info)
}

func (r *Rack) use(info Info, space Space, use string) error {
	dir := info.dir(space)
	var major, minor int
	if _, err := fmt.Sscanf(space.Number, "%d:%d", &major, &minor); err != nil {
		return err
	}
	part := space.Node + "1"
	if space.NSID != 0 || strings.HasPrefix(info.Name, "mmcblk") || strings.HasPrefix(info.Name, "pmem") {
		part = space.Node + "p1"
	}
	kind, arg, _ := strings.Cut(use, ":")
	mount := func(node string, minor int) error {
		if !strings.HasPrefix(arg, "/") {
			return errors.New("want a mount point, as in mounted:/srv")
		}
		line := fmt.Sprintf("%d 21 %d:%d / %s rw,relatime - ext4 %s rw\n", 100+minor, major, minor, arg, node)
		return errors.Join(r.add("proc/self/mountinfo", line), r.add("proc/1/mountinfo", line))
	}
	switch kind {
	case "mounted":
		return mount(space.Node, minor)
	case "partition", "partition-mounted":
		if err := r.layPartition(dir, part, space, fmt.Sprintf("%d:%d", major, minor+1)); err != nil || kind == "partition" {
			return err
		}
		return mount(part, minor+1)
	case "area-mounted":
		return r.useArea(info, arg)
	case "swap":
		return r.add("proc/swaps", fmt.Sprintf("%s partition %d 0 -2\n", space.Node, space.SizeBytes/1024))
	case "holder":
		if arg == "" || arg != filepath.Base(arg) {
			return errors.New("want the holder's name, as in holder:dm-0")
		}
		return os.WriteFile(filepath.Join(r.dir, dir, "holders", arg), nil, 0o644)
	}
	return errors.New("not one of mounted:DIR, partition, partition-mounted:DIR, area-mounted:AREA:DIR, swap, holder:NAME")
}

func (r *Rack) layPartition(dir, node string, s Space, number string) error {
	part := dir + "/" + filepath.Base(node)
	if err := os.MkdirAll(filepath.Join(r.dir, part, "holders"), 0o755); err != nil {
		return err
	}
	return r.write(map[string]string{
		part + "/partition": "1",
		part + "/start":     "2048",
		part + "/size":      fmt.Sprintln(max(0, s.SizeBytes/512-4096)),
		part + "/dev":       number,
		node[1:]:            fmt.Sprintf("{\"partition_of\":%q}", filepath.Base(s.Node)),
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
		if u != "partition" && !strings.HasPrefix(u, "area-mounted:") { // an area is another block device
			return true
		}
	}
	return false
}
