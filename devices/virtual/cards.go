package virtual

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// cardProfiles are flash that is reached by no command of ATA, SCSI or NVMe.
func cardProfiles() []Profile {
	return []Profile{
		{Name: "emmc", Summary: "an eMMC with a general purpose partition, which has an eighth of it, and with boot partitions and a replay protected memory block, whose contents are among its hidden blocks",
			Protocol: devices.ProtocolMMC, Media: devices.MediaFlash, model: "VEMMC1"},
		{Name: "sd-card", Summary: "an SD card", Protocol: devices.ProtocolMMC, Media: devices.MediaFlash, model: "VSD01"},
	}
}

// embedded says whether the card is an eMMC.
func (p Profile) embedded() bool { return p.Name == "emmc" }

// ownSerial is the serial number that a drive has in the form of its kind: what was asked for where that
// has the form, else one that follows from it.
func (p Profile) ownSerial(asked string) string {
	sum := sha256.Sum256([]byte(p.Name + "\n" + asked))
	form, made := "", ""
	switch p.Protocol {
	case devices.ProtocolMMC:
		form, made = `^0x[0-9a-f]{8}$`, "0x"+hex.EncodeToString(sum[:4])
	case devices.ProtocolNVDIMM:
		form, made = `^[0-9a-f]{4}-[0-9a-f]{8}$`, "7670-"+hex.EncodeToString(sum[:4])
	case devices.ProtocolUFS:
		form, made = `^[0-9A-Za-z._-]{4,}$`, strings.ToUpper(hex.EncodeToString(sum[:8]))
	default:
		return asked
	}
	if regexp.MustCompile(form).MatchString(asked) {
		return asked
	}
	return made
}

// cid is the card's identification register: manufacturer, OEM, name, revision, serial number, date, in the
// order of eMMC (JESD84-B51 7.2) or of SD cards (Physical Layer 5.2), and a checksum that nobody reads.
func (p Profile) cid(serial string) string {
	name := hex.EncodeToString([]byte(p.model))
	if p.embedded() {
		return "fe014e" + name + "10" + serial[2:] + "5a" + "01"
	}
	return "fe5652" + name + "10" + serial[2:] + "0185" + "01"
}

// cardArea is an area of a card that is a block device beside those that store data: what is in it is among the drive's hidden blocks.
type cardArea struct {
	name     string // mmcblk0boot0
	size     int64
	number   string
	readOnly bool
}

func (i Info) cardAreas() []cardArea {
	if p, err := profileByName(i.Spec.Profile); err != nil || !p.embedded() {
		return nil
	}
	size := max(512, i.Spec.HiddenBytes/4/512*512)
	area := func(name string, n int, readOnly bool) cardArea {
		return cardArea{i.Name + name, size, fmt.Sprintf("179:%d", i.Index*32+8*n), readOnly}
	}
	return []cardArea{area("boot0", 1, true), area("boot1", 2, true)}
}

// cardSpaces are the user area of a card and, of an eMMC, a general purpose partition, whose number is 4.
func (p Profile) cardSpaces(name string, index int, s Spec) []Space {
	main := Space{Node: "/dev/" + name, SizeBytes: s.SizeBytes, Number: fmt.Sprintf("179:%d", index*32)}
	part := s.SizeBytes / 8 / 4096 * 4096
	if !p.embedded() || part == 0 {
		return []Space{main}
	}
	main.SizeBytes -= part
	return []Space{main, {Node: main.Node + "gp0", LUN: 4, Offset: main.SizeBytes, SizeBytes: part, Number: fmt.Sprintf("179:%d", index*32+24)}}
}

// layCard makes what a kernel shows of a card beside its block device.
func (r *Rack) layCard(info Info, p Profile) error {
	main := info.Spaces[0]
	bus, serial := info.bus(main), p.ownSerial(info.Spec.Serial)
	files := map[string]string{
		bus + "/type": "SD", bus + "/name": p.model, bus + "/serial": serial, bus + "/cid": p.cid(serial), bus + "/manfid": "0x0000fe", bus + "/oemid": "0x5652",
		bus + "/date": "05/2024", bus + "/fwrev": "0x0", bus + "/hwrev": "0x1", bus + "/csd": "400e00325b590000ede77f800a400001",
	}
	if p.embedded() {
		for name, value := range map[string]string{"type": "MMC", "oemid": "0x014e", "fwrev": "0x3130303030303031", "prv": "0x10", "rev": "0x8", "raw_rpmb_size_mult": "0x4"} {
			files[bus+"/"+name] = value
		}
		files[bus+"/"+info.Name+"rpmb/dev"] = fmt.Sprintf("240:%d", info.Index)
	}
	links := map[string]string{bus + "/subsystem": "sys/bus/mmc", bus + "/driver": "sys/bus/mmc/drivers/mmcblk", info.dir(main) + "/subsystem": "sys/class/block"}
	var err error
	for _, a := range info.cardAreas() {
		dir := info.dir(main) + "/" + a.name
		for name, value := range map[string]string{
			"dev": a.number, "size": fmt.Sprint(a.size / 512), "ro": flag(a.readOnly), "force_ro": flag(a.readOnly), "removable": "0", "hidden": "0",
			"queue/logical_block_size": "512", "queue/physical_block_size": "512", "queue/rotational": "0", "queue/zoned": "none",
		} {
			files[dir+"/"+name] = value
		}
		files["dev/"+a.name] = fmt.Sprintf("{\"partition_of\":%q}", info.Name)
		for _, sub := range []string{"holders", "slaves"} {
			err = errors.Join(err, os.MkdirAll(filepath.Join(r.dir, dir, sub), 0o755))
		}
		links[dir+"/device"] = info.dir(main)
	}
	for _, sub := range []string{"sys/bus/mmc/drivers/mmcblk", "sys/class/block"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(r.dir, sub), 0o755))
	}
	return errors.Join(err, r.write(files), r.link(links))
}

// useArea mounts an area of a card that is none of the drive's nodes: "area-mounted:boot0:/srv".
func (r *Rack) useArea(info Info, arg string) error {
	name, point, _ := strings.Cut(arg, ":")
	areas := info.cardAreas()
	for _, s := range info.Spaces {
		areas = append(areas, cardArea{name: filepath.Base(s.Node), number: s.Number})
	}
	for _, a := range areas {
		if name == "" {
			break
		}
		if a.name != info.Name+name || !strings.HasPrefix(point, "/") {
			continue
		}
		line := fmt.Sprintf("190 21 %s / %s rw,relatime - ext4 /dev/%s rw\n", a.number, point, a.name)
		return errors.Join(r.add("proc/self/mountinfo", line), r.add("proc/1/mountinfo", line))
	}
	return fmt.Errorf("%q: want an area of an eMMC and a mount point, as in area-mounted:boot0:/srv", arg)
}
