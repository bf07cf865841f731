package virtual

import (
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices"
)

// nvmeProfiles are drives that speak NVMe, and the one kind that speaks nothing.
func nvmeProfiles() []Profile {
	ssd := func(p Profile) Profile {
		p.Protocol, p.Media, p.encrypts = devices.ProtocolNVMe, devices.MediaFlash, true
		orElse(&p.controllers, 1)
		if !p.NVMeFormat {
			p.Sanitize = []string{"crypto", "block"}
		}
		return p
	}
	overwriting := func(p Profile) Profile {
		p.Protocol, p.Sanitize, p.controllers = devices.ProtocolNVMe, []string{"overwrite"}, 1
		return p
	}
	return []Profile{
		{Name: "plain", Summary: "a block device that takes reads, writes and flushes, and no command: the disk of a virtual machine",
			Protocol: devices.ProtocolVirtio, Media: devices.MediaUnknown},
		ssd(Profile{Name: "nvme-ssd", Summary: "an NVMe SSD that encrypts what it stores and can sanitize itself", model: "Virtual NVMe SSD"}),
		ssd(Profile{Name: "nvme-two-namespaces", Summary: "the same with a second namespace, half as large, that is attached to no controller", model: "Virtual NVMe SSD 2NS", unattached: true}),
		ssd(Profile{Name: "nvme-shared", Summary: "the same as nvme-ssd, in a subsystem that another host reaches through a second controller", model: "Virtual NVMe Dual Port", controllers: 2}),
		ssd(Profile{Name: "nvme-format", Summary: "an NVMe SSD with no sanitize: it encrypts what it stores, and erases by Format NVM", model: "Virtual NVMe Format", NVMeFormat: true}),
		overwriting(Profile{Name: "nvme-hdd", Summary: "an NVMe hard disk: sanitize by overwrite", model: "Virtual NVMe HDD", Media: devices.MediaMagnetic}),
		overwriting(Profile{Name: "nvme-overwrite", Summary: "an NVMe drive of memory that is written in place: sanitize by overwrite", model: "Virtual NVMe PMEM", Media: devices.MediaFlash}),
		ssd(Profile{Name: "nvme-verify", Summary: "nvme-ssd with the media verification state after a sanitize", model: "Virtual NVMe Verify", verifies: true}),
		ssd(Profile{Name: "nvme-purge-required", Summary: "nvme-ssd whose sanitize can be told that purge is required, and says that it purged", model: "Virtual NVMe Purge", purges: true}),
		ssd(Profile{Name: "nvme-zns", Summary: "nvme-ssd with a zoned namespace, written zone by zone in order", model: "Virtual NVMe ZNS", zoned: true}),
		ssd(Profile{Name: "nvme-multipath", Summary: "nvme-ssd reached by two controllers below one node, as native multipath shows it", model: "Virtual NVMe Multipath", controllers: 2, paths: 2, head: true}),
		ssd(Profile{Name: "nvme-two-controllers", Summary: "the same without native multipath: two nodes of one namespace", model: "Virtual NVMe 2 Ctrl", controllers: 2, paths: 2}),
		ssd(Profile{Name: "nvme-write-protected", Summary: "nvme-ssd whose namespace is write-protected", model: "Virtual NVMe Protected", protected: true}),
		ssd(Profile{Name: "nvme-pmr", Summary: "nvme-ssd that refuses to sanitize itself while its persistent memory region is enabled, until a power cycle", model: "Virtual NVMe PMR", pmr: true}),
		ssd(Profile{Name: "nvme-boot", Summary: "nvme-ssd with boot partitions and a replay protected memory block, which no sanitize reaches", model: "Virtual NVMe Boot", boots: true}),
		ssd(Profile{Name: "nvme-firmware-pending", Summary: "nvme-ssd that refuses to erase itself until new firmware is activated by a power cycle", model: "Virtual NVMe Pending", pending: true}),
		{Name: "usb-nvme", Summary: "an NVMe SSD in a USB dock that passes no command of NVMe", Protocol: devices.ProtocolSCSI, Media: devices.MediaFlash,
			model: "Virtual NVMe SSD in dock", bridge: "NVMe Dock", docked: true},
	}
}

// nvmeDefaults fills in what an NVMe profile is about.
func (s *Spec) nvmeDefaults(p Profile) {
	s.SecondNamespace = s.SecondNamespace || p.unattached
	s.ReadOnly = s.ReadOnly || p.protected
	s.PMREnabled = s.PMREnabled || p.pmr
	if p.pending {
		orElse(&s.FirmwarePending, scFirmwareNeedsReset)
	}
	if p.zoned {
		orElse(&s.ZoneBytes, 1<<20)
		orElse(&s.ZoneCapacityBytes, s.ZoneBytes)
	}
	if p.scsiZoned() && s.SizeBytes/s.ZoneBytes > 3 && !p.aware {
		orElse(&s.ConventionalZones, 1)
	}
}

// nvmeBounds checks them.
func (s *Spec) nvmeBounds(p Profile) error {
	nvme := p.Protocol == devices.ProtocolNVMe
	switch {
	case !nvme && (s.SecondNamespace || s.UnallocatedBytes != 0 || s.FirmwarePending != 0 || s.PMREnabled):
		return fmt.Errorf("namespaces, firmware or PMR of profile %s: it is no NVMe drive", s.Profile)
	case s.Registrants != 0 && (!nvme || s.ReservedBy == ""), s.Registrants < 0 || s.Registrants > 100:
		return fmt.Errorf("%d more registrants: at most 100, of an NVMe drive that a host has reserved", s.Registrants)
	case len(s.FormatScope) > 0 && !p.NVMeFormat || slices.ContainsFunc(s.FormatScope, func(w string) bool { return !slices.Contains(fnaWords, w) }):
		return fmt.Errorf("format scope %q: %q are possible, of drives with Format NVM", s.FormatScope, fnaWords)
	case s.UnallocatedBytes < 0 || s.UnallocatedBytes > s.HiddenBytes:
		return fmt.Errorf("%d unallocated bytes: they are some of the %d hidden ones", s.UnallocatedBytes, s.HiddenBytes)
	case !slices.Contains([]uint16{0, scFirmwareNeedsReset, scFirmwareNeedsSubsystemReset, scFirmwareNeedsControllerReset}, s.FirmwarePending):
		return fmt.Errorf("firmware pending with status %#x: 10Bh, 110h and 111h are possible", s.FirmwarePending)
	case s.ZoneBytes != 0 && !p.zoned, p.zoned && (s.ZoneBytes < 4096 || s.ZoneBytes%4096 != 0 || s.SizeBytes%s.ZoneBytes != 0):
		return fmt.Errorf("zones of %d bytes: whole blocks of 4096 of a zoned drive, which has whole zones", s.ZoneBytes)
	case (s.ZoneCapacityBytes != 0 || s.ActiveZones != 0) && !p.zoned, s.ZoneCapacityBytes < 0 || s.ZoneCapacityBytes > s.ZoneBytes || s.ZoneCapacityBytes%4096 != 0, s.ActiveZones < 0:
		return fmt.Errorf("zones of %d bytes with a capacity of %d, of which %d are active: whole blocks of 4096 of a zoned drive", s.ZoneBytes, s.ZoneCapacityBytes, s.ActiveZones)
	case s.diskZoneBounds(p) != nil:
		return s.diskZoneBounds(p)
	case p.zoned && s.SecondNamespace, p.paths > 1 && s.SecondNamespace:
		return fmt.Errorf("a second namespace: profile %s has one", s.Profile)
	case s.Mapped && (p.paths < 2 || nvme):
		return fmt.Errorf("device mapper over profile %s: it has one path, or its own way to have several", s.Profile)
	}
	return nil
}

// fnaWords are bits of FNA by number; the third is the media key's (NVMe base 2.0, figure 275).
var fnaWords = []string{"fns", "sens", "fnvmbs"}
