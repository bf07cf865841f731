package devices

import (
	"fmt"
	"path/filepath"
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

// identifyUFS takes the identity of a UFS device from its string descriptors (JESD220 14.1.6), which all its
// logical units share. INQUIRY data of a unit have no serial number.
func (s sysfs) identifyUFS(b blockdev, d *Drive) {
	strs := filepath.Join(s.ufsHost(b), "string_descriptors")
	d.Protocol, d.Media, d.Firmware = ProtocolUFS, MediaFlash, text(strs, "product_revision")
	d.Model = strings.TrimSpace(text(strs, "manufacturer_name") + " " + text(strs, "product_name"))
	if serial := text(strs, "serial_number"); !blankHex(strings.ToLower(serial)) {
		d.Serial = serial
	}
	d.lack(ReasonUFSPurge, "a UFS device, whose own purge (fPurgeEnable) is not sent by this version of expunge", hintDestroy)
}

// besideUFS lists what a UFS device has beside the logical units that have a block device.
func (s sysfs) besideUFS(group []blockdev, d *Drive) {
	controller := s.ufsHost(group[0])
	beside := func(code, words string) { d.Beside = append(d.Beside, Reason{Code: code, Message: words}) }
	beside("rpmb", "its RPMB logical unit: replay protected memory, which takes no writes of the host")
	shown := map[string]bool{}
	for _, b := range group {
		if unit, err := filepath.EvalSymlinks(filepath.Join(b.dir, "device")); err == nil {
			shown[unit] = true
		}
	}
	units, _ := filepath.Glob(filepath.Join(controller, "host*", "target*", "*:*:*:*")) // the pattern is well-formed
	slices.Sort(units)
	for _, unit := range units {
		address := strings.Split(filepath.Base(unit), ":")
		// Well-known units, whose numbers begin at C100h, have no blocks, or show those of another unit.
		if lun, err := strconv.ParseUint(address[len(address)-1], 10, 64); err == nil && lun < 0xc100 && !shown[unit] {
			beside("logical_unit", fmt.Sprintf("its logical unit %d, which has no block device", lun))
		}
	}
	// bNumberLU counts the units that are enabled (JESD220 14.1.4.2).
	if n, err := strconv.ParseUint(text(controller, "device_descriptor", "number_of_luns"), 0, 8); err == nil && int(n) > len(group) {
		beside("logical_units", fmt.Sprintf("it has %d logical units, and %d of them have a block device", n, len(group)))
	}
}
