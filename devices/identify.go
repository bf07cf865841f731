package devices

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jaypipes/ghw/pkg/block"
)

// identify fills in what the kernel says a block device is: the host's word, until the drive is
// asked. found is ghw's view of the same
// device, nil where it has none; it fills gaps and never overrules sysfs.
func (s sysfs) identify(b blockdev, found *block.Disk) Drive {
	d := Drive{
		Nodes: []string{nodePath(b.name)}, Number: b.number, Identity: IdentityHost,
		Protocol: ProtocolBlock, Media: MediaUnknown, Reasons: []Reason{},
		Geometry: Geometry{
			SizeBytes:     b.sizeBytes(),
			LogicalBlock:  int(integer(b.dir, "queue/logical_block_size")),
			PhysicalBlock: int(integer(b.dir, "queue/physical_block_size")),
			ReadOnly:      text(b.dir, "ro") == "1",
			Sequence:      uint64(integer(b.dir, "diskseq")),
		},
		kernelZones: kernelZones{b.zoned(), integer(b.dir, "queue/chunk_sectors") * 512, integer(b.dir, "queue/nr_zones")},
	}
	switch sub := b.subsystem(); {
	case strings.HasPrefix(b.name, "loop"):
		s.identifyLoop(b, &d)
	case sub == "virtio":
		identifyVirtio(b, &d)
	case s.ufsHost(b) != "":
		s.identifyUFS(b, &d)
	case sub == "scsi":
		s.identifySCSI(b, &d)
	case sub == "nvme" || sub == "nvme-subsystem":
		s.identifyNVMe(b, &d)
	case s.card(b) != "":
		s.identifyCard(b, &d)
	case sub == busND:
		s.identifyNVDIMM(b, &d)
	}
	if found != nil && !d.Protocol.byHost() {
		d.Model = firstOf(d.Model, found.Model)
		d.Serial = firstOf(d.Serial, found.SerialNumber)
		if d.Protocol != ProtocolLoop && d.Protocol != ProtocolVirtio {
			d.WWN = firstOf(d.WWN, found.WWN)
		}
	}
	d.Model, d.Serial, d.WWN, d.Firmware = cleanASCII(d.Model), cleanASCII(d.Serial), cleanASCII(d.WWN), cleanASCII(d.Firmware)
	d.ID = NewID(d.Model, d.Serial, d.WWN)
	return d
}

// firstOf prefers what sysfs said over what ghw did, which says "unknown" where it knows nothing.
func firstOf(sysfs, ghw string) string {
	if sysfs != "" || strings.EqualFold(ghw, "unknown") {
		return sysfs
	}
	return ghw
}

// ReasonCached is the code of a node whose blocks may be read from the host's memory, whatever is done
// to its own cache.
const ReasonCached = "cached"

// identifyLoop gives a loop device the identity of the file behind it: the node's name changes
// with each losetup, the file stays.
func (s sysfs) identifyLoop(b blockdev, d *Drive) {
	d.Protocol, d.Model = ProtocolLoop, "loop device"
	file := text(b.dir, "loop/backing_file")
	if file == "" {
		return
	}
	key := file
	if info, err := os.Stat(s.path(file)); err == nil {
		key = inode(info, key)
	}
	if text(b.dir, "loop/dio") == "0" {
		d.Notes = append(d.Notes, Reason{Code: ReasonCached, Message: "it reads and writes through this host's cache of what is behind it: what is read back may come from there",
			Hint: "losetup --direct-io=on " + d.Nodes[0]})
	}
	d.Serial = "LOOP-" + short("loop", key, text(b.dir, "loop/offset"), text(b.dir, "loop/sizelimit"))
}

// identifyVirtio: a virtual machine's disk has the serial that its operator gave it, or none.
func identifyVirtio(b blockdev, d *Drive) {
	d.Protocol, d.Model = ProtocolVirtio, "virtio disk"
	d.Serial = text(b.dir, "serial")
	if d.Serial == "" {
		// The slot is all that tells such disks apart; it is stable for the machine's life.
		if target, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device")); err == nil {
			d.Serial = "HOST-" + short("virtio", filepath.Base(filepath.Dir(target)), filepath.Base(target))
		}
	}
}

func (s sysfs) identifySCSI(b blockdev, d *Drive) {
	d.Protocol = ProtocolSCSI
	vendor, model := text(b.dir, "device/vendor"), text(b.dir, "device/model")
	d.Model, d.Firmware = strings.TrimSpace(vendor+" "+model), text(b.dir, "device/rev")
	if vendor == "ATA" {
		d.Protocol, d.Model = ProtocolATA, model
	}
	d.Serial = vpdSerial(b.dir)
	d.WWN = strings.TrimPrefix(text(b.dir, "device/wwid"), "naa.")
	if strings.HasPrefix(text(b.dir, "device/wwid"), "t10.") {
		d.WWN = "" // vendor text, not a world wide name
	}
	d.Media = rotation(b)
	d.raid, _ = s.volume(b)
	switch path := s.devicePath(b); {
	case strings.Contains(path, "/usb"):
		// The serial number may be the dock's own: it is never taken for the drive's.
		d.Bridge = "usb"
		if d.Serial != "" {
			d.Serial = "USB-" + d.Serial
		}
	case strings.Contains(path, "/session"):
		d.Fabric = "iscsi"
	case strings.Contains(path, "/rport-"):
		d.Fabric = "fc"
	}
}

// vpdSerial reads the unit serial number page: 4 bytes of header, then text (SPC-5 7.7.18).
func vpdSerial(dir string) string {
	page, err := os.ReadFile(filepath.Join(dir, "device/vpd_pg80"))
	if err != nil || len(page) < 4 || page[1] != 0x80 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	if n > len(page)-4 {
		return ""
	}
	return string(bytes.Trim(page[4:4+n], " \x00"))
}

func (s sysfs) identifyNVMe(b blockdev, d *Drive) {
	d.Protocol, d.Media = ProtocolNVMe, rotation(b)
	dir := filepath.Join(b.dir, "device")
	d.Model, d.Serial, d.Firmware = text(dir, "model"), text(dir, "serial"), text(dir, "firmware_rev")
	d.WWN = text(dir, "subsysnqn")
	list, err := controllersOf(b.dir)
	if err != nil {
		return // judged by what is missing
	}
	if len(list) == 1 {
		list = append(list, slices.DeleteFunc(s.siblings(list[0]), func(c string) bool { return c == list[0] })...)
	}
	for _, c := range list {
		d.Controllers = append(d.Controllers, "/dev/"+filepath.Base(c))
		if id, err := strconv.ParseUint(text(c, "cntlid"), 10, 16); err == nil {
			d.local = append(d.local, uint16(id))
		}
		if t := text(c, "transport"); t != "pcie" && t != "apple-nvme" {
			d.Fabric = t
		}
	}
}

func rotation(b blockdev) Media {
	switch text(b.dir, "queue/rotational") {
	case "1":
		return MediaMagnetic
	case "0":
		return MediaFlash
	}
	return MediaUnknown
}

// devicePath is the device's place in the tree of buses.
func (s sysfs) devicePath(b blockdev) string {
	path, err := filepath.EvalSymlinks(b.dir)
	if err != nil {
		return ""
	}
	return path
}

// short names something by 48 bits of its hash.
func short(fields ...string) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%q", fields)))
	return hex.EncodeToString(sum[:6])
}
