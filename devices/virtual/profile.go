package virtual

import (
	"fmt"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// Profile is a kind of drive that a rack can hold.
type Profile struct {
	Name     string           `json:"name"`
	Summary  string           `json:"summary"`
	Protocol devices.Protocol `json:"protocol"`
	Media    devices.Media    `json:"media"`
	Sanitize []string         `json:"sanitize,omitempty"` // what its sanitize command can do
	Security bool             `json:"security,omitempty"` // it has the ATA Security feature set
	Format   bool             `json:"format,omitempty"`   // it has FORMAT UNIT
	// NVMeFormat: it has Format NVM.
	NVMeFormat bool `json:"nvme_format,omitempty"`
	// TCG is the class of its security subsystem: opal, ruby, pyrite or enterprise. Owned: its PINs are
	// nobody's; Locked: nothing is read or written until somebody unlocks it.
	TCG    string `json:"tcg,omitempty"`
	Owned  bool   `json:"owned,omitempty"`
	Locked bool   `json:"locked,omitempty"`

	model       string
	encrypts    bool // all it stores, under a media key
	unattached  bool // it has a second namespace, which is attached to no controller
	controllers int  // of its subsystem
	units       int  // SCSI logical units, when there are more than one

	hpa, dco, ama bool   // ways to hide the end of the native blocks, that it supports
	frozen        bool   // its security is frozen, as firmware of a host leaves it
	locked        bool   // by a password that nobody knows
	fixedSense    bool   // its translation returns registers in fixed format
	block         int    // bytes of a logical block, when not 512
	bridge        string // the USB dock's name
	drops         bool   // its bridge returns no registers
	docked        bool   // there is an NVMe drive in its dock

	paths     int  // controllers or ports by which this host reaches it, when there are more than one
	head      bool // the kernel puts one node above its paths
	verifies  bool // its sanitize has the media verification state
	purges    bool // its sanitize can be told that purge is required
	zoned     bool // its namespace, or it as a hard disk, is written zone by zone
	aware     bool // and takes writes in any order all the same: host-aware
	protected bool // its namespaces are write-protected
	pmr       bool // its persistent memory region is enabled
	boots     bool // it has boot partitions and a replay protected memory block
	pending   bool // firmware waits for its activation

	tcg    tcgProfile // its security subsystem, when it has one
	latent bool       // it has the ATA Security feature set when the Locking SP is not activated
}

// erases says whether the drive has any erase of its own.
func (p Profile) erases() bool {
	return len(p.Sanitize) > 0 || p.Security || p.Format || p.NVMeFormat || p.tcg.kind != ""
}

// translated says whether an ATA drive is behind the SCSI door.
func (p Profile) translated() bool { return p.Protocol == devices.ProtocolATA }

// Profiles lists the kinds of drives.
func Profiles() []Profile {
	return slices.Concat(nvmeProfiles(), sataProfiles(), scsiProfiles(), cardProfiles(), ufsProfiles(), nvdimmProfiles(), tcgProfiles())
}

// sataProfiles are ATA drives behind SCSI/ATA translation: the kernel's, or that of a USB bridge.
func sataProfiles() []Profile {
	ssd := func(p Profile) Profile {
		p.Protocol, p.Media, p.Sanitize, p.Security, p.encrypts, p.ama = devices.ProtocolATA, devices.MediaFlash, []string{"crypto", "block"}, true, true, true
		return p
	}
	hdd := func(p Profile) Profile {
		p.Protocol, p.Media, p.Sanitize, p.Security, p.hpa, p.dco = devices.ProtocolATA, devices.MediaMagnetic, []string{"overwrite"}, true, !p.zoned, !p.zoned
		return p
	}
	return []Profile{
		ssd(Profile{Name: "sata-ssd", Summary: "a SATA SSD that encrypts what it stores: sanitize by crypto scramble and block erase, ATA Security", model: "Virtual SATA SSD of the rack"}),
		hdd(Profile{Name: "sata-hdd", Summary: "a SATA hard disk: sanitize by overwrite, ATA Security", model: "Virtual SATA disk of the rack"}),
		{Name: "sata-ssd-basic", Summary: "a SATA SSD with ATA Security and no sanitize", Protocol: devices.ProtocolATA, Media: devices.MediaFlash,
			Security: true, model: "Virtual SATA SSD basic"},
		{Name: "sata-old", Summary: "an old SATA hard disk with no erase of its own", Protocol: devices.ProtocolATA, Media: devices.MediaMagnetic, model: "Virtual SATA disk 2005"},
		hdd(Profile{Name: "sata-hdd-hpa", Summary: "sata-hdd with a quarter of its blocks hidden in a host protected area", model: "Virtual SATA disk HPA"}),
		hdd(Profile{Name: "sata-hdd-dco", Summary: "sata-hdd with a quarter of its blocks hidden by a device configuration overlay", model: "Virtual SATA disk DCO"}),
		ssd(Profile{Name: "sata-ssd-ama", Summary: "sata-ssd with a quarter of its blocks above the accessible max address", model: "Virtual SATA SSD AMA"}),
		ssd(Profile{Name: "sata-ssd-frozen", Summary: "sata-ssd whose security is frozen until a power cycle", model: "Virtual SATA SSD frozen", frozen: true}),
		hdd(Profile{Name: "sata-hdd-locked", Summary: "sata-hdd locked by a password that nobody knows", model: "Virtual SATA disk locked", locked: true}),
		ssd(Profile{Name: "sata-fixed-sense", Summary: "sata-ssd behind a translation that returns registers in fixed format", model: "Virtual SATA SSD fixed", fixedSense: true}),
		hdd(Profile{Name: "sata-hdd-smr", Summary: "a shingled SATA hard disk that the host writes zone by zone: sanitize by overwrite, ATA Security", model: "Virtual SATA disk SMR", zoned: true}),
		ssd(Profile{Name: "usb-sata", Summary: "sata-ssd in a USB dock that passes ATA commands and their registers", model: "Virtual SATA SSD in dock", bridge: "Dock"}),
		ssd(Profile{Name: "usb-sata-drops", Summary: "the same in a dock that returns no registers", model: "Virtual SATA SSD in dock", bridge: "Dock Lite", drops: true}),
	}
}

// scsiProfiles are drives that speak SCSI themselves.
func scsiProfiles() []Profile {
	hdd := func(p Profile) Profile {
		p.Protocol, p.Media, p.Format = devices.ProtocolSCSI, devices.MediaMagnetic, true
		return p
	}
	return []Profile{
		hdd(Profile{Name: "sas-hdd", Summary: "a SAS hard disk that encrypts what it stores: sanitize by overwrite and cryptographic erase, format",
			Sanitize: []string{"overwrite", "crypto"}, model: "Virtual SAS HDD", encrypts: true}),
		{Name: "sas-ssd", Summary: "a SAS SSD that encrypts what it stores: sanitize by block and cryptographic erase, format", Protocol: devices.ProtocolSCSI,
			Media: devices.MediaFlash, Sanitize: []string{"block", "crypto"}, Format: true, model: "Virtual SAS SSD", encrypts: true},
		hdd(Profile{Name: "sas-520", Summary: "a SAS hard disk of a storage array, in blocks of 520 bytes that the kernel does not take: sanitize by overwrite, format",
			Sanitize: []string{"overwrite"}, model: "Virtual SAS 520", block: 520}),
		hdd(Profile{Name: "sas-dual", Summary: "a SAS hard disk with two actuators, each a logical unit with half of the blocks: sanitize by overwrite, format",
			Sanitize: []string{"overwrite"}, model: "Virtual SAS Dual", units: 2}),
		hdd(Profile{Name: "sas-multipath", Summary: "a SAS hard disk with two ports, each on an adapter of this host, so that it has two nodes: sanitize by overwrite, format",
			Sanitize: []string{"overwrite"}, model: "Virtual SAS 2 Ports", paths: 2}),
		hdd(Profile{Name: "sas-hdd-smr", Summary: "a shingled SAS hard disk that the host writes zone by zone and that encrypts what it stores: sanitize by overwrite and cryptographic erase, format",
			Sanitize: []string{"overwrite", "crypto"}, model: "Virtual SAS SMR", encrypts: true, zoned: true}),
		hdd(Profile{Name: "sas-hdd-aware", Summary: "a shingled SAS hard disk that is host-aware, with zones and writes in any order: sanitize by overwrite, format",
			Sanitize: []string{"overwrite"}, model: "Virtual SAS ZBC", zoned: true, aware: true}),
		{Name: "usb-stick", Summary: "a USB stick: reads and writes, and no way to its own commands", Protocol: devices.ProtocolSCSI, Media: devices.MediaUnknown, model: "Virtual stick", bridge: "Stick"},
	}
}

func profileByName(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("profile %q: not one of %s", name, strings.Join(names, ", "))
}
