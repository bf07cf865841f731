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

// NotReached is something of this host that has drives behind it which the host cannot reach one
// by one: it is listed, so that nobody takes the list for all there is.
type NotReached struct {
	Name   string   `json:"name"`   // "megaraid_sas at 0000:03:00.0"
	Driver string   `json:"driver"` // of the kernel
	Where  string   `json:"where"`  // PCI address; of a disk, the SCSI one; of persistent memory, the region or the bus
	Nodes  []string `json:"nodes"`  // block devices that it makes of them
	Reason Reason   `json:"reason"`
}

// What RAID drivers keep from the host, and what to do about it.
const (
	ReasonRAID   = "raid_members"
	ReasonVMD    = "vmd"
	hintRAID     = "erase the members one by one: attach them to a host bus adapter without RAID, or set the controller to pass them through (JBOD, HBA mode), or use its own erase and record that"
	hintVMD      = "the kernel driver vmd must be loaded for the NVMe drives behind it to appear; or switch VMD off in the firmware's setup"
	hintImplicit = "switch the firmware's setup from RAID to AHCI, so that the drives behind it appear"
)

// raidDrivers are the kernel drivers of controllers that make volumes of drives and hide them.
var raidDrivers = map[string]string{
	"megaraid_sas": "MegaRAID", "mpi3mr": "MegaRAID", "hpsa": "Smart Array", "smartpqi": "Smart RAID", "aacraid": "Adaptec RAID",
	"arcmsr": "Areca RAID", "3w-sas": "3ware RAID", "3w-9xxx": "3ware RAID", "cciss": "Smart Array", "mvumi": "Marvell RAID", "stex": "Promise RAID",
	"ips": "ServeRAID", "pmcraid": "PMC RAID",
}

// The PCI classes of controllers that can have drives behind them (PCI Code and ID Assignment 1.11).
const (
	classRAID = "0x0104"
	classVMD  = "0x8086" // vendor; the device is known by its driver, or its class and no driver
)

// NotReached lists the controllers of the host behind which drives may be hidden. The error says
// that the buses could not be read.
func (h *Host) NotReached() ([]NotReached, error) {
	entries, err := names(h.fs.root, "sys/bus/pci/devices")
	if err != nil {
		return nil, fmt.Errorf("list PCI devices: %w", err)
	}
	list := []NotReached{}
	for _, address := range entries {
		dir := h.fs.path("sys/bus/pci/devices", address)
		driver := ""
		if target, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
			driver = filepath.Base(target)
		}
		path, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue // unplugged while listing
		}
		class := text(dir, "class")
		n := NotReached{Driver: driver, Where: address, Nodes: h.below(path)}
		switch {
		case raidDrivers[driver] != "" && driver != "":
			n.Reason = Reason{ReasonRAID, fmt.Sprintf("a %s controller: the drives behind it are not reached one by one", raidDrivers[driver]), hintRAID}
		case driver == "vmd" && len(n.Nodes) == 0:
			n.Reason = Reason{ReasonVMD, "an Intel VMD controller, and no drive behind it appears", hintVMD}
		case driver == "vmd":
			continue // its drives are in the list like any other
		case driver == "" && strings.HasPrefix(class, classRAID) && text(dir, "vendor") == classVMD:
			n.Reason = Reason{ReasonVMD, "an Intel controller in RAID or VMD mode, which no driver of this kernel serves", hintVMD + "; " + hintImplicit}
		case driver == "" && strings.HasPrefix(class, classRAID):
			n.Reason = Reason{ReasonRAID, "a RAID controller that no driver of this kernel serves: the drives behind it do not appear", hintRAID}
		default:
			continue
		}
		n.Name = strings.TrimSpace(driver + " at " + address)
		list = append(list, n)
	}
	disks, err := h.disksNotReached()
	memory, bad := h.memoryNotReached()
	return append(append(list, disks...), memory...), errors.Join(err, bad)
}

// ReasonNoBlockDevice: a disk that the kernel has found and made no block device of.
const ReasonNoBlockDevice = "no_block_device"

// diskTypes are the peripheral device types of disks as sysfs has them, in decimal (SPC-5 6.6.2): direct access,
// optical memory, and disks that the host writes zone by zone.
var diskTypes = map[string]string{"0": "a disk", "7": "an optical disk", "20": "a shingled disk that the host writes zone by zone (SCSI device type 14h)"}

// disksNotReached lists SCSI devices that are disks and have no block device: a kernel without zoned block
// devices (CONFIG_BLK_DEV_ZONED) makes none of a host-managed disk, a driver may keep a volume's members from
// the disk driver, and there may be no such driver.
func (h *Host) disksNotReached() ([]NotReached, error) {
	entries, err := names(h.fs.root, "sys/bus/scsi/devices")
	if err != nil {
		return nil, fmt.Errorf("list SCSI devices: %w", err)
	}
	var list []NotReached
	for _, address := range entries {
		dir := h.fs.path("sys/bus/scsi/devices", address)
		kind, is := diskTypes[text(dir, "type")]
		if !is {
			continue // no disk: also hosts and targets, which have no type
		}
		if nodes, err := os.ReadDir(filepath.Join(dir, "block")); err == nil && len(nodes) > 0 {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("block device of SCSI device %s: %w", address, err)
		}
		driver := ""
		if target, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
			driver = filepath.Base(target)
		}
		name := strings.Join(strings.Fields(text(dir, "vendor")+" "+text(dir, "model")), " ")
		hint := "load the kernel driver sd_mod, then list again; a member of a RAID volume is erased at its controller"
		if text(dir, "type") == "20" {
			hint = "boot a kernel with zoned block devices (CONFIG_BLK_DEV_ZONED), then list again"
		}
		list = append(list, NotReached{
			Name: strings.TrimSpace(name + " at " + address), Driver: driver, Where: address, Nodes: []string{},
			Reason: Reason{ReasonNoBlockDevice, kind + " that the kernel has found and made no block device of", hint},
		})
	}
	return list, nil
}

// below lists the block devices that are below a device in the tree of buses.
func (h *Host) below(device string) []string {
	nodes := []string{}
	devs, err := h.fs.blockdevs()
	if err != nil {
		return nodes
	}
	for _, b := range devs {
		if strings.HasPrefix(h.fs.devicePath(b), device+"/") {
			nodes = append(nodes, nodePath(b.name))
		}
	}
	slices.Sort(nodes)
	return nodes
}

// volume says whether a block device is one that a RAID controller makes of its drives: it has no
// identity of a drive, whatever it says.
func (s sysfs) volume(b blockdev) (driver string, is bool) {
	for dir := s.devicePath(b); strings.Contains(dir, "/devices/"); dir = filepath.Dir(dir) {
		target, err := os.Readlink(filepath.Join(dir, "driver"))
		if err != nil {
			continue
		}
		if name := filepath.Base(target); raidDrivers[name] != "" {
			return name, true
		}
	}
	return "", false
}
