package virtual

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// Spec says what drive to add to a rack. The zero value of a field is its default.
type Spec struct {
	Profile       string `json:"profile"`              // plain
	Serial        string `json:"serial"`               // drawn; at most 20 characters
	SizeBytes     int64  `json:"size_bytes"`           // of all native blocks; odd block sizes have it rounded down
	LogicalBlock  int    `json:"logical_block_bytes"`  // 512, or 4096; of SCSI drives 520, 528 or 4160, too
	PhysicalBlock int    `json:"physical_block_bytes"` // 4096
	HiddenBytes   int64  `json:"hidden_bytes"`         // 1 MiB: spare blocks that the host cannot address
	CacheBytes    int64  `json:"cache_bytes"`          // 1 MiB of volatile write cache
	ReadOnly      bool   `json:"read_only,omitempty"`
	// EraseSeconds is how long a block or security erase takes, and what the drive estimates for it; a
	// cryptographic erase takes half of it, an overwrite as much for each pass. 2 by default.
	EraseSeconds int64 `json:"erase_seconds"`
	// Sanitize limits what a sanitize command can do; all that the profile has by default.
	Sanitize []string `json:"sanitize,omitempty"`
	// NoDeallocateInhibited: a Sanitize command with NDAS is rejected (SANICAP bit 29).
	NoDeallocateInhibited bool `json:"no_deallocate_inhibited,omitempty"`
	// SecondNamespace gives an NVMe drive one more, half as large, that is attached to no controller.
	SecondNamespace bool `json:"second_namespace,omitempty"`
	// AttachAll attaches a second namespace, too, so that it has a node.
	AttachAll bool `json:"attach_all,omitempty"`

	// HPABytes, DCOBytes and AMABytes are how much of the native size an ATA drive hides by its host
	// protected area, its device configuration overlay and its accessible max address.
	HPABytes int64 `json:"hpa_bytes,omitempty"`
	DCOBytes int64 `json:"dco_bytes,omitempty"`
	AMABytes int64 `json:"ama_bytes,omitempty"`
	// SizeAfterPowerCycle: a permanent change of the accessible size takes effect at a power cycle.
	SizeAfterPowerCycle bool `json:"size_after_power_cycle,omitempty"`
	// FixedSense: the translation returns ATA registers in fixed format.
	FixedSense bool `json:"fixed_sense,omitempty"`
	// FilterSecurity: the translation passes no ATA Security command; its own security protocol works.
	FilterSecurity bool `json:"filter_security,omitempty"`

	// WriteAfterErase is what a SCSI drive returns for blocks that were erased and not written since
	// (WABEREQ and WACEREQ): 0 zeros, 1 anything, 2 a medium error, 3 the medium error made for it.
	WriteAfterErase uint8 `json:"write_after_erase,omitempty"`
	// NoOpcodeReports: a SCSI drive does not tell which commands it has.
	NoOpcodeReports bool `json:"no_opcode_reports,omitempty"`
	// GrownDefects is how long a SCSI drive's list of reassigned blocks is.
	GrownDefects int `json:"grown_defects,omitempty"`
	// ReservedBy is the key, in hexadecimal, of another host that has a SCSI or NVMe drive reserved.
	ReservedBy string `json:"reserved_by,omitempty"`

	// Registrants is how many more hosts are registered for the reservation of an NVMe drive.
	Registrants int `json:"registrants,omitempty"`

	// FormatScope is what Format NVM says in FNA of its scope: "fns", a format reaches all namespaces;
	// "sens", so does an erase by it; "fnvmbs", it does not take the NSID of all.
	FormatScope []string `json:"format_scope,omitempty"`
	// UnallocatedBytes of the hidden ones belonged to a namespace that was deleted (UNVMCAP).
	UnallocatedBytes int64 `json:"unallocated_bytes,omitempty"`
	// FirmwarePending is the status by which NVMe erases are refused until a power cycle: 10Bh, 110h or 111h.
	FirmwarePending uint16 `json:"firmware_pending,omitempty"`
	// PMREnabled: the persistent memory region is, until a power cycle.
	PMREnabled bool `json:"pmr_enabled,omitempty"`
	// ZoneBytes is from the start of a zone to that of the next, 1 MiB; ZoneCapacityBytes is how much of it is
	// blocks, all of it by default; ActiveZones how many may be partly written, without a limit by default.
	ZoneBytes         int64 `json:"zone_bytes,omitempty"`
	ZoneCapacityBytes int64 `json:"zone_capacity_bytes,omitempty"`
	ActiveZones       int   `json:"active_zones,omitempty"`
	// ConventionalZones of a zoned hard disk, from its first on, are written in any order: 1 where it has more
	// than three. BoundedReads: it lets nothing be read above a write pointer. ZonesReset: its sanitize cannot be
	// told to leave zones as they are.
	ConventionalZones int  `json:"conventional_zones,omitempty"`
	BoundedReads      bool `json:"bounded_reads,omitempty"`
	ZonesReset        bool `json:"zones_reset,omitempty"`
	// Mapped: device mapper holds the paths of a SCSI drive that has two, and has a node of its own.
	Mapped bool `json:"mapped,omitempty"`

	// Slot is the number of the bay that a SATA or SAS drive is in, or of an NVMe drive's PCI slot; 0 is none that the
	// host knows of. Enclosure names what the bay is in: SHELF.
	Slot      int    `json:"slot,omitempty"`
	Enclosure string `json:"enclosure,omitempty"`

	// OwnerPIN is the PIN of who owns a drive with a TCG subsystem; nobody knows it by default.
	OwnerPIN string `json:"owner_pin,omitempty"`
	// TriesPersist: a power cycle does not give wrong PINs another try.
	TriesPersist bool `json:"tries_persist,omitempty"`
	// SIDVendorUnique: the first PIN of SID is not MSID, and not to be read anywhere.
	SIDVendorUnique bool `json:"sid_vendor_unique,omitempty"`
	// FilterTrusted: the translation passes no trusted command, as Linux does not by default; its own
	// SECURITY PROTOCOL IN and OUT work.
	FilterTrusted bool `json:"filter_trusted,omitempty"`

	// SameSerial permits a serial that another drive has, as some docks report it.
	SameSerial bool `json:"-"`
}

// The bounds of a virtual drive.
const (
	defaultSize  = 64 << 20
	maxSize      = 64 << 40
	defaultExtra = 1 << 20
	maxSerial    = 20 // VIRTIO_BLK_ID_BYTES, and the serial number field of NVMe and ATA
)

// scsiBlocks are the block lengths that a SCSI drive can be formatted to.
var scsiBlocks = []int{512, 520, 528, 4096, 4160}

// normal fills in defaults and checks bounds.
func (s Spec) normal() (Spec, error) {
	orElse(&s.Profile, "plain")
	p, err := profileByName(s.Profile)
	if err != nil {
		return s, err
	}
	orElse(&s.SizeBytes, defaultSize)
	orElse(&s.LogicalBlock, max(512, p.block))
	orElse(&s.PhysicalBlock, max(4096, s.LogicalBlock))
	orElse(&s.HiddenBytes, defaultExtra)
	orElse(&s.CacheBytes, defaultExtra)
	orElse(&s.EraseSeconds, 2)
	if s.Sanitize == nil {
		s.Sanitize = p.Sanitize
	}
	s.FixedSense = s.FixedSense || p.fixedSense
	s.nvmeDefaults(p)
	s.slotDefaults(p)
	unit := int64(s.LogicalBlock)
	if p.NVMeFormat {
		unit = 4096 // so that every format has whole blocks
	}
	if s.SecondNamespace {
		unit *= 2 // the second namespace has half the size
	}
	if p.units > 1 {
		unit *= int64(p.units)
	}
	if s.LogicalBlock%512 != 0 && slices.Contains(scsiBlocks, s.LogicalBlock) {
		s.SizeBytes -= s.SizeBytes % (64 * unit) // so that a format to 512 has whole blocks, too
	}
	s.hideDefault(p)
	block := s.LogicalBlock == 512 || s.LogicalBlock == 4096 || p.Format && slices.Contains(scsiBlocks, s.LogicalBlock)
	hidden := s.HPABytes + s.DCOBytes + s.AMABytes
	_, keyErr := s.reservation()
	switch {
	case !block:
		return s, fmt.Errorf("logical block of %d bytes: 512 and 4096 are possible; %v of drives with FORMAT UNIT", s.LogicalBlock, scsiBlocks)
	case s.SizeBytes < unit || s.SizeBytes > maxSize || s.SizeBytes%unit != 0:
		return s, fmt.Errorf("size of %d bytes: whole blocks of %d, at most %d bytes", s.SizeBytes, unit, int64(maxSize))
	case s.HiddenBytes < 0 || s.HiddenBytes > maxSize || s.CacheBytes < 0 || s.CacheBytes > 1<<30:
		return s, fmt.Errorf("%d hidden bytes and %d bytes of cache: out of bounds", s.HiddenBytes, s.CacheBytes)
	case s.EraseSeconds < 0 || s.EraseSeconds > 1<<31:
		return s, fmt.Errorf("an erase of %d seconds: out of bounds", s.EraseSeconds)
	case slices.ContainsFunc(s.Sanitize, func(w string) bool { return !slices.Contains(p.Sanitize, w) }):
		return s, fmt.Errorf("sanitize %q: profile %s has %q", s.Sanitize, s.Profile, p.Sanitize)
	case s.HPABytes != 0 && !p.hpa || s.DCOBytes != 0 && !p.dco || s.AMABytes != 0 && !p.ama:
		return s, fmt.Errorf("%d bytes of HPA, %d of DCO, %d of AMA: profile %s does not have that", s.HPABytes, s.DCOBytes, s.AMABytes, s.Profile)
	case min(s.HPABytes, s.DCOBytes, s.AMABytes) < 0 || max(s.HPABytes, s.DCOBytes, s.AMABytes) > maxSize || hidden >= s.SizeBytes ||
		s.HPABytes%unit != 0 || s.DCOBytes%unit != 0 || s.AMABytes%unit != 0:
		return s, fmt.Errorf("%d bytes of HPA, %d of DCO, %d of AMA: whole blocks of %d, less than the size", s.HPABytes, s.DCOBytes, s.AMABytes, unit)
	case s.nvmeBounds(p) != nil:
		return s, s.nvmeBounds(p)
	case s.slotBounds(p) != nil:
		return s, s.slotBounds(p)
	case s.tcgBounds(p) != nil:
		return s, s.tcgBounds(p)
	case s.WriteAfterErase > 3 || s.GrownDefects < 0 || s.GrownDefects > 1<<16:
		return s, fmt.Errorf("write after erase %d and %d grown defects: out of bounds", s.WriteAfterErase, s.GrownDefects)
	case keyErr != nil:
		return s, fmt.Errorf("reserved by %q: not a key in hexadecimal", s.ReservedBy)
	case len(s.Serial) > maxSerial:
		return s, fmt.Errorf("serial %q: at most %d characters", s.Serial, maxSerial)
	case strings.ContainsFunc(s.Serial, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '\\' }):
		return s, fmt.Errorf("serial %q: printable ASCII without spaces and slashes", s.Serial)
	}
	return s, nil
}

// hideDefault hides a quarter of the drive where the profile is about that.
func (s *Spec) hideDefault(p Profile) {
	quarter := s.SizeBytes / 4 / 4096 * 4096
	switch p.Name {
	case "sata-hdd-hpa":
		orElse(&s.HPABytes, quarter)
	case "sata-hdd-dco":
		orElse(&s.DCOBytes, quarter)
	case "sata-ssd-ama":
		orElse(&s.AMABytes, quarter)
	}
}

// reservation is the key of the host that has the drive reserved; 0 when none has.
func (s Spec) reservation() (uint64, error) {
	if s.ReservedBy == "" {
		return 0, nil
	}
	return strconv.ParseUint(strings.TrimPrefix(s.ReservedBy, "0x"), 16, 64)
}

// solid says whether nothing rotates in the drive.
func (p Profile) solid() bool { return p.Media == devices.MediaFlash }

func orElse[T comparable](v *T, other T) {
	var zero T
	if *v == zero {
		*v = other
	}
}
