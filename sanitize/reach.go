package sanitize

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// excludes lists what the technique leaves as it was.
func excludes(d devices.Drive, t Technique, r Request) []devices.Reason {
	var list []devices.Reason
	add := func(code, format string, args ...any) {
		list = append(list, devices.Reason{Code: code, Message: fmt.Sprintf(format, args...)})
	}
	defects := ""
	if n := d.GrownDefects; n != nil && *n > 0 {
		defects = fmt.Sprintf(" (%d grown defects)", *n)
	}
	switch {
	case t == HostOverwrite:
		add("unaddressable", "blocks that the host cannot address: spare, reallocated and over-provisioned ones, and areas hidden from the host%s", defects)
		if d.Identity == devices.IdentityHost {
			add("behind_the_node", "whatever holds the data behind this node (a file, a pool, another drive): only the logical device is overwritten")
		}
	case t == TCGRevert:
		add("outside_keys", "what is not encrypted by the keys of its ranges: firmware, logs, and areas of the drive's own")
		if a, _, _ := tcgAbility(d, r); a.Leaves != "" {
			add("tcg_tables", "%s", a.Leaves)
		}
	case t == SecurityErase:
		add("reallocated", "sectors that the drive has reallocated, which a normal security erase passes over (ACS-4 7.45)%s", defects)
	case t.formats() && d.Protocol == devices.ProtocolNVMe:
		spare := "spare blocks that the drive took out of use, "
		if t == CryptographicFormat {
			spare = "" // nothing in them can be read without the key
		}
		add("outside_format", "whatever is no user data of a namespace: %s"+
			"firmware, security credentials and the controller's own memory (NVMe base 2.0, 5.14)", spare)
	case t == Format:
		add("reallocated", "blocks that the drive has reallocated, which a format need not write (SBC-4 5.4)%s", defects)
	case d.Protocol == devices.ProtocolNVMe:
		add("outside_sanitize", "firmware, security credentials and the controller's own memory, "+
			"which an NVMe sanitize does not reach (NVMe base 2.3, 8.1.26)")
	case d.Protocol == devices.ProtocolATA:
		add("outside_sanitize", "firmware, logs, SMART data and other non-user data, and sectors that can neither be written nor be reached again (ACS-4 4.17)")
	case d.Protocol == devices.ProtocolSCSI:
		add("outside_sanitize", "firmware, mode pages, logs and other non-user data (SBC-4 4.11)")
	}
	list = append(list, d.Beside...)
	if d.Unallocated > 0 && (t == HostOverwrite || t.formats()) {
		add("unallocated", "%d bytes of the drive's capacity that belong to no namespace, where namespaces that were deleted may have been", d.Unallocated)
	}
	if t == HostOverwrite {
		for _, n := range d.Lacks {
			if n.Code == devices.ReasonZonesOffline || n.Code == devices.ReasonZonesReadOnly {
				add(n.Code, "%s", n.Message)
			}
		}
	}
	if d.Unseen > 0 {
		add("not_read_back", "%d bytes of the drive that its node does not show: they are not read back", d.Unseen)
	}
	for _, n := range slices.Concat(d.Notes, d.Lacks) {
		if n.Code == devices.ReasonHiddenUnknown || n.Code == devices.ReasonHiddenFrozen {
			add(n.Code, "%s", n.Message)
		}
	}
	if n := d.Depopulated; n != nil && *n > 0 {
		add("depopulated", "%d heads or dies that are taken out of use, which may hold data that nothing reaches (SBC-4 4.36)", *n)
	}
	if t != HostOverwrite {
		for _, a := range d.Hidden {
			if a.Locked {
				add("hidden_area_not_read", "%d bytes hidden by the %s that a password keeps as it is: they are not read back", a.NativeBytes-a.FromBytes, a.Kind)
			}
		}
	}
	return list
}

// zoned says whether any of the drive's blocks are written zone by zone.
func zoned(d devices.Drive) bool {
	return d.Zoning == devices.HostManaged || slices.ContainsFunc(d.Namespaces, func(n devices.Namespace) bool { return n.Zoned })
}

// Reliance is the sentence of every certificate whose technique the drive carried out.
const Reliance = "that blocks which the host cannot read were erased rests on the drive's report of success"

// restsOn lists what the claim rests on that a host cannot prove.
func restsOn(d devices.Drive, t Technique) []devices.Reason {
	if t == HostOverwrite {
		for _, n := range d.Notes {
			if n.Code == devices.ReasonCached {
				return []devices.Reason{{Code: n.Code, Message: n.Message}}
			}
		}
		return nil
	}
	list := []devices.Reason{{Code: "drive_report", Message: Reliance}}
	for _, n := range d.Namespaces {
		if !n.Attached {
			list = append(list, devices.Reason{Code: "namespace_not_read", Message: fmt.Sprintf(
				"namespace %d (%d bytes) is attached to no controller: its erase rests on the drive's report alone", n.NSID, n.SizeBytes)})
		}
	}
	for _, n := range d.Lacks {
		switch n.Code {
		case devices.ReasonZonesOffline:
			list = append(list, devices.Reason{Code: n.Code, Message: n.Message + ": their erase rests on the drive's report alone"})
		case devices.ReasonZonesReadOnly:
			list = append(list, devices.Reason{Code: n.Code, Message: n.Message + ": nothing is marked in them before the erase"})
		}
	}
	if zoned(d) || d.Zoning == devices.HostAware {
		words := "the drive's zones are empty after the erase, and nothing of them is read back"
		switch {
		case !t.keepsZones(d):
		case d.Protocol != devices.ProtocolNVMe && t == CryptographicErase:
			words = "the drive is told to leave its zones as they were, so that what was written to them is read from the media; what was not written since a zone was reset is not read back"
		default:
			words = "the drive is told to leave its zones full after the erase, so that reads come from the media, and says afterwards whether it did"
		}
		list = append(list, devices.Reason{Code: "zones_empty", Message: words + ": blocks of an empty zone read as if nothing were there, whatever the media hold"})
	}
	switch {
	case t == CryptographicErase, t == CryptographicFormat, t == TCGRevert, t == EnhancedSecurityErase && d.Media != devices.MediaMagnetic:
		list = append(list, devices.Reason{Code: "cryptographic_erase", Message: "a cryptographic erase alone rests on the manufacturer's word (NIST SP 800-88r2, 3.2): " +
			"that all user data was always encrypted, by keys of at least 128 bits of strength and entropy, and that every copy of the key is destroyed"})
	case t == EnhancedSecurityErase:
		list = append(list, devices.Reason{Code: "vendor_pattern", Message: "what an enhanced security erase writes, and how, is the manufacturer's (ACS-4 7.45)"})
	}
	return list
}
