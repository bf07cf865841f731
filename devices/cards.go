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

// besideCard lists what a card has beside its user area: nothing that is written to it reaches that.
func (s sysfs) besideCard(group []blockdev, d *Drive) {
	var boot, general []string
	for _, b := range group[1:] {
		if strings.HasSuffix(b.name, "rpmb") {
			continue // a block device in old kernels
		}
		words := fmt.Sprintf("%s of %d bytes", nodePath(b.name), b.sizeBytes())
		if strings.Contains(b.name, "boot") {
			boot = append(boot, words)
			continue
		}
		general = append(general, words)
	}
	beside := func(code, words string) { d.Beside = append(d.Beside, Reason{Code: code, Message: words}) }
	if len(general) > 0 {
		beside("general_purpose_partitions", "its other partitions: "+strings.Join(general, ", "))
	}
	dir := s.card(group[0])
	if _, emmc := d.Lack(ReasonEMMCErases); !emmc {
		beside("protected_area", "the protected area of the SD card, which takes no reads or writes of the host")
		return
	}
	if len(boot) > 0 {
		beside("boot_partitions", "its boot partitions: "+strings.Join(boot, ", "))
	} else {
		beside("boot_partitions", "boot partitions, if it has any: the host does not show them")
	}
	size := ", of a size that it does not tell"
	if n, err := strconv.ParseUint(text(dir, "raw_rpmb_size_mult"), 0, 8); err == nil && n == 0 {
		return // EXT_CSD byte 168: it has none
	} else if err == nil {
		size = fmt.Sprintf(" of %d KiB", n*128)
	}
	beside("rpmb", "a replay protected memory block (RPMB)"+size)
}

// partOf says of which drive a block device is a part that is none of its nodes: a boot partition, or
// a general purpose partition.
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
