package devices

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Codes of drives whose own erases this program does not send, and of which nothing that it does
// reaches purge. The hint says what is left: to destroy the drive.
const (
	ReasonEMMCErases     = "emmc_erases"
	ReasonSDErases       = "sd_erases"
	ReasonUFSPurge       = "ufs_purge"
	ReasonNVDIMMSecurity = "nvdimm_security"
)

// hintDestroy is what is left where a purge is asked for.
const hintDestroy = "destroy it and record that, where purge is asked for"

// ReasonCardArea is the code of a card with an area that is not known here.
const ReasonCardArea = "card_area"

// NotSent is what the drive may have of erases of its own that this program does not send; false where
// there is nothing of that kind.
func (d Drive) NotSent() (Reason, bool) {
	for _, code := range []string{ReasonEMMCErases, ReasonSDErases, ReasonUFSPurge, ReasonNVDIMMSecurity} {
		if r, is := d.Lack(code); is {
			return r, true
		}
	}
	return Reason{}, false
}

// card is the directory of the card that a block device belongs to: the user area by itself, boot and
// general purpose partitions as the user area's children. "" for other devices.
func (s sysfs) card(b blockdev) string {
	up := "device"
	if b.subsystem() == "block" { // mmcblk0boot0, whose device is mmcblk0
		up = "device/device"
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(b.dir, up))
	if err != nil {
		return ""
	}
	if bus, err := filepath.EvalSymlinks(filepath.Join(dir, "subsystem")); err != nil || filepath.Base(bus) != "mmc" {
		return ""
	}
	return dir
}

// The forms of what the kernel prints of a card identification (CID) register.
var (
	cidForm    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	serialForm = regexp.MustCompile(`^0x[0-9a-f]{8}$`)
)

// identifyCard takes the identity of an eMMC or an SD card from its CID register, as the kernel read it
// (JESD84-B51 7.2, SD Physical Layer 5.2). Names of products are short and serial numbers have 32 bits:
// manufacturer and OEM, the register's first three bytes, belong to the model. A register that is
// missing, malformed or blank identifies nothing.
func (s sysfs) identifyCard(b blockdev, d *Drive) {
	dir := s.card(b)
	d.Protocol, d.Media, d.Firmware = ProtocolMMC, MediaFlash, text(dir, "fwrev")
	if cid, serial := text(dir, "cid"), text(dir, "serial"); cidForm.MatchString(cid) && serialForm.MatchString(serial) &&
		!blankHex(cid[:30]) && !blankHex(serial[2:]) { // the last byte is a checksum
		d.Model, d.Serial = strings.TrimSpace(text(dir, "name")+" ("+cid[:6]+")"), serial
	}
	switch text(dir, "type") {
	case "SD", "SDcombo":
		d.lack(ReasonSDErases, "an SD card, whose own erases reach clear at best and are not sent by this version of expunge", hintDestroy)
	default:
		d.lack(ReasonEMMCErases, "an eMMC or a multimedia card, whose own erases and sanitize (EXT_CSD byte 165) are not sent by this version of expunge", hintDestroy)
	}
}

// blankHex says whether digits are those of a register that was never written.
func blankHex(s string) bool { return strings.Trim(s, "0") == "" || strings.Trim(s, "f") == "" }

// The areas of an eMMC by the numbers that give access to them (PARTITION_ACCESS, JESD84-B51 7.4.69).
// The host stores data in the user area and in general purpose partitions; these are 4 to 7.
const (
	areaUser           = 0
	areaBoot1          = 1
	areaBoot2          = 2
	areaRPMB           = 3
	areaGeneralPurpose = 4
	areaUnknown        = 255
)

var areaForm = regexp.MustCompile(`^mmcblk[0-9]+(boot[01]|gp[0-3]|rpmb)?$`)

// areaOf is the number of the area that a card's block device shows.
func areaOf(kernel string) uint64 {
	form := areaForm.FindStringSubmatch(kernel)
	if form == nil {
		return areaUnknown
	}
	switch area := form[1]; area {
	case "":
		return areaUser
	case "boot0":
		return areaBoot1
	case "boot1":
		return areaBoot2
	case "rpmb": // a block device in old kernels
		return areaRPMB
	default:
		return areaGeneralPurpose + uint64(area[2]-'0')
	}
}

// storage are the areas of a card, of those in its group, that the host stores data in: the spaces of the drive.
func storage(group []blockdev) []blockdev {
	return slices.DeleteFunc(slices.Clone(group), func(b blockdev) bool {
		n := areaOf(b.name)
		return n != areaUser && (n < areaGeneralPurpose || n == areaUnknown)
	})
}

// judgeCard lists what a card has beside the areas that are written: nothing that is written reaches that.
// It refuses a card that shows an area of another kind, or not all of its areas.
func (s sysfs) judgeCard(group []blockdev, d *Drive) {
	var boot []string
	for i, b := range group {
		switch n := areaOf(b.name); {
		case n == areaUnknown, i == 0 && n != areaUser, n >= areaGeneralPurpose && b.sizeBytes() == 0:
			d.refuse(StateBlocked, Reason{ReasonCardArea, fmt.Sprintf("%s, an area of it of %d bytes, is not known to this version of expunge, or not whole", nodePath(b.name), b.sizeBytes()), "destroy the card"})
		case n == areaBoot1 || n == areaBoot2:
			boot = append(boot, fmt.Sprintf("%s of %d bytes", nodePath(b.name), b.sizeBytes()))
		}
	}
	parts, _ := filepath.Glob(filepath.Join(group[0].dir, "mmcblk*gp*")) // the pattern is well-formed
	for _, p := range parts {
		if name := filepath.Base(p); !slices.ContainsFunc(group, func(b blockdev) bool { return b.name == name }) {
			d.refuse(StateBlocked, Reason{ReasonCardArea, fmt.Sprintf("its general purpose partition %s has no block device", name), "have the kernel look at the card again, so that every partition is there"})
		}
	}
	beside := func(code, words string) { d.Beside = append(d.Beside, Reason{Code: code, Message: words}) }
	dir := s.card(group[0])
	if _, emmc := d.Lack(ReasonEMMCErases); !emmc {
		d.area(AreaProtected, AreaPresent, 0)
		beside("protected_area", "the protected area of the SD card, which takes no reads or writes of the host")
		return
	}
	if d.area(AreaBoot, AreaUnknown, 0); len(boot) > 0 {
		d.area(AreaBoot, AreaPresent, 0)
		beside("boot_partitions", "its boot partitions: "+strings.Join(boot, ", "))
	} else {
		beside("boot_partitions", "boot partitions, if it has any: the host does not show them")
	}
	size := ", of a size that it does not tell"
	d.area(AreaRPMB, AreaPresent, 0)
	if n, err := strconv.ParseUint(text(dir, "raw_rpmb_size_mult"), 0, 8); err == nil && n == 0 {
		d.area(AreaRPMB, AreaAbsent, 0)
		return // EXT_CSD byte 168: it has none
	} else if err == nil {
		d.area(AreaRPMB, AreaPresent, int64(n)*128<<10)
		size = fmt.Sprintf(" of %d KiB", n*128)
	}
	beside("rpmb", "a replay protected memory block (RPMB)"+size)
}

// partOf says of which drive a block device is a part that is none of its nodes: a boot partition.
func (h *Host) partOf(kernel string) (node string, is bool) {
	devs, err := h.fs.blockdevs()
	if err != nil {
		return "", false
	}
	for _, group := range h.fs.gather(devs) {
		if h.fs.card(group[0]) != "" && slices.ContainsFunc(group[1:], func(b blockdev) bool { return b.name == kernel }) {
			return nodePath(group[0].name), true
		}
	}
	return "", false
}
