package devices

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ufsHost is the directory of the UFS host controller that a logical unit is behind: the parent of
// its SCSI host. "" for units of other drives.
func (s sysfs) ufsHost(b blockdev) string {
	if b.subsystem() != busSCSI {
		return ""
	}
	for dir := s.devicePath(b); strings.Contains(dir, "/devices/"); dir = filepath.Dir(dir) {
		name := filepath.Base(dir)
		if digits := strings.TrimPrefix(name, "host"); digits == name || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		if controller := filepath.Dir(dir); text(dir, "scsi_host", name, "proc_name") == "ufshcd" ||
			strings.HasSuffix(filepath.Base(controller), ".ufshc") || strings.HasSuffix(filepath.Base(controller), ".ufs") {
			return controller
		}
	}
	return ""
}

// serialUFSForm is that of a serial number that tells one device from another: a kernel makes a blank, or a
// question mark, of each character that cannot be printed.
var serialUFSForm = regexp.MustCompile(`^[!->@-~]{4,}$`)

// identifyUFS takes the identity of a UFS device from its string descriptors (JESD220 14.1.6), which all its
// logical units share. INQUIRY data of a unit have no serial number.
func (s sysfs) identifyUFS(b blockdev, d *Drive) {
	strs := filepath.Join(s.ufsHost(b), "string_descriptors")
	d.Protocol, d.Media, d.Firmware = ProtocolUFS, MediaFlash, text(strs, "product_revision")
	d.Model = strings.TrimSpace(text(strs, "manufacturer_name") + " " + text(strs, "product_name"))
	if serial := text(strs, "serial_number"); !blankHex(strings.ToLower(serial)) && serialUFSForm.MatchString(serial) {
		d.Serial = serial
	}
	d.lack(ReasonUFSPurge, "a UFS device, whose own purge (fPurgeEnable) is not sent by this version of expunge", hintDestroy)
}

// Codes of drives of which a logical unit has no block device, or may have none.
const (
	ReasonUnitUnreachable = "unit_unreachable"
	ReasonUnitsUnknown    = "units_unknown"
)

// hintRescan is what to do where a logical unit has no block device.
const hintRescan = "have the kernel scan the adapter again, so that every unit is there"

// judgeUFS refuses a UFS device of which a logical unit has no block device that shows its blocks, or of
// which that cannot be told: it holds data like the others.
func (s sysfs) judgeUFS(group []blockdev, d *Drive) {
	controller := s.ufsHost(group[0])
	d.area(AreaRPMB, AreaPresent, 0)
	d.Beside = append(d.Beside, Reason{Code: "rpmb", Message: "its RPMB logical unit: replay protected memory, which takes no writes of the host"})
	shown := map[string]bool{}
	for _, b := range group {
		if unit, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device")); err == nil {
			shown[unit] = true
		}
		if b.sizeBytes() == 0 {
			d.refuse(StateBlocked, Reason{ReasonUnitUnreachable, nodePath(b.name) + ", one of its logical units, shows no blocks", hintRescan})
		}
	}
	// bNumberLU counts the units that are enabled, without the well-known ones (JESD220 14.1.4.2).
	n, err := strconv.ParseUint(text(controller, "device_descriptor", "number_of_luns"), 0, 8)
	switch {
	case err != nil || n == 0:
		d.refuse(StateBlocked, Reason{ReasonUnitsUnknown, "how many logical units it has cannot be told (device_descriptor/number_of_luns)",
			"mount sysfs whole and list again; a kernel that does not tell it cannot be used for this drive"})
		return
	case int(n) != len(group):
		d.refuse(StateBlocked, Reason{ReasonUnitUnreachable, fmt.Sprintf("the drive has %d logical units, and %d of them have a block device", n, len(group)), hintRescan})
	}
	units, _ := filepath.Glob(filepath.Join(controller, "host*", "target*", "*:*:*:*")) // the pattern is well-formed
	slices.Sort(units)
	for _, unit := range units {
		address := strings.Split(filepath.Base(unit), ":")
		// Well-known units, whose numbers begin at C100h, have no blocks, or show those of another unit.
		if lun, err := strconv.ParseUint(address[len(address)-1], 10, 64); err == nil && lun < 0xc100 && !shown[unit] {
			d.refuse(StateBlocked, Reason{ReasonUnitUnreachable, fmt.Sprintf("its logical unit %d has no block device", lun), hintRescan})
		}
	}
}
