package devices

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// ID names a drive by what it is, whatever slot or dock it sits in: the lower-case hex of
// drive-id/v1.
type ID string

// NewID computes drive-id/v1: SHA-256 over "drive-id/v1" and model, serial and WWN, each with its
// length as four big-endian bytes before it. What a drive does not have is the empty string.
func NewID(model, serial, wwn string) ID {
	h := sha256.New()
	h.Write([]byte("drive-id/v1"))
	for _, s := range []string{model, serial, wwn} {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return ID(hex.EncodeToString(h.Sum(nil)))
}

// Drive is what is known of one drive. It is a value: copy it, print it, sign it.
type Drive struct {
	ID       ID       `json:"id"`
	Nodes    []string `json:"nodes"`           // "/dev/sda"; of an NVMe drive one for each attached namespace; then those of Paths
	Paths    []Path   `json:"paths,omitempty"` // further nodes of the same blocks
	Serial   string   `json:"serial"`
	Model    string   `json:"model"`
	WWN      string   `json:"wwn,omitempty"`
	Firmware string   `json:"firmware"`
	Protocol Protocol `json:"protocol"`
	Media    Media    `json:"media"`
	Identity Identity `json:"identity"`

	Geometry
	PowerOnHours *int64 `json:"power_on_hours,omitempty"` // nil where the drive did not say

	Namespaces   []Namespace      `json:"namespaces,omitempty"`    // of an NVMe drive, all of its subsystem
	Units        []LogicalUnit    `json:"logical_units,omitempty"` // of a SCSI or UFS drive, or an eMMC, that has several
	Sanitize     *SanitizeSupport `json:"sanitize,omitempty"`      // nil: the drive has no such command that is known here
	Security     *SecurityState   `json:"security,omitempty"`      // of an ATA drive that has it
	TCG          *TCG             `json:"tcg,omitempty"`           // nil: the drive says that it has none, or its own erase runs
	Format       bool             `json:"format,omitempty"`        // SCSI: FORMAT UNIT is supported
	FormatNVM    *FormatNVM       `json:"format_nvm,omitempty"`    // NVMe: nil without the command
	FormatFailed bool             `json:"format_failed,omitempty"` // nothing can be read or written until a format succeeds
	Hidden       []HiddenArea     `json:"hidden,omitempty"`        // blocks kept from the host that it can make accessible
	Lacks        []Reason         `json:"lacks,omitempty"`         // what keeps erases away that the drive may have
	Beside       []Reason         `json:"beside,omitempty"`        // what it has beside the blocks of its nodes: no erase reaches it
	// Areas are those beside its blocks that were asked for, and what it said.
	Areas []Area `json:"areas,omitempty"`
	// GrownDefects and Depopulated count reallocated blocks and elements taken out of use, where the
	// drive tells: nothing that the host writes reaches them.
	GrownDefects *int64 `json:"grown_defects,omitempty"`
	Depopulated  *int64 `json:"depopulated_elements,omitempty"`

	// Zoning is that of a shingled hard disk. Zones are those of one that the host manages, where it tells them.
	Zoning Zoning `json:"zoning,omitempty"`
	Zones  Zones  `json:"zones,omitzero"`

	Fabric string `json:"fabric,omitempty"` // "tcp", "rdma", "fc", "iscsi" when reached over one
	// Unallocated is the capacity of an NVMe drive that belongs to no namespace.
	Unallocated int64 `json:"unallocated_bytes,omitempty"`
	Unseen      int64 `json:"unseen_bytes,omitempty"` // of the drive, behind what its node shows
	// Controllers are the nodes of an NVMe drive's controllers in this host; the first takes its commands.
	Controllers []string `json:"controllers,omitempty"`
	Bridge      string   `json:"bridge,omitempty"` // "usb" when reached through a bridge, which may speak for itself
	// Enclosure is the slot that it is in; nil where the kernel does not tell, or tells two.
	Enclosure *Enclosure `json:"enclosure,omitempty"`

	State   State    `json:"state"`
	Reasons []Reason `json:"reasons"`         // why it is not ready; empty when it is
	Notes   []Reason `json:"notes,omitempty"` // worth knowing, no reason to refuse: old signatures, …

	Number Number   `json:"-"` // of the first node
	local  []uint16 // CNTLIDs of Controllers, as the kernel has them
	raid   string   // driver of the RAID controller that it is behind
	byDoor bool     // its blocks are reached by SCSI commands alone: the kernel does not take their size

	peripheral  uint8 // its SCSI peripheral device type
	kernelZones kernelZones
}

// Geometry is a node's size as its open descriptor reports it; of a drive with several nodes, the
// sum of the sizes and the smallest logical block.
type Geometry struct {
	SizeBytes     int64  `json:"size_bytes"`
	LogicalBlock  int    `json:"logical_block_bytes"`
	PhysicalBlock int    `json:"physical_block_bytes"`
	ReadOnly      bool   `json:"read_only,omitempty"`
	Sequence      uint64 `json:"-"` // BLKGETDISKSEQ: changes when a medium is swapped; 0 when unknown
}

// Blocks is the number of logical blocks.
func (g Geometry) Blocks() int64 {
	if g.LogicalBlock <= 0 {
		return 0
	}
	return g.SizeBytes / int64(g.LogicalBlock)
}

// Protocol is the command set by which the drive is reached.
type Protocol string

// The protocols that are told apart.
const (
	ProtocolATA     Protocol = "ata"
	ProtocolSCSI    Protocol = "scsi"
	ProtocolNVMe    Protocol = "nvme"
	ProtocolMMC     Protocol = "mmc"    // eMMC and SD cards
	ProtocolUFS     Protocol = "ufs"    // behind a SCSI host of the kernel's
	ProtocolNVDIMM  Protocol = "nvdimm" // persistent memory that has a block device
	ProtocolVirtio  Protocol = "virtio"
	ProtocolLoop    Protocol = "loop"
	ProtocolBlock   Protocol = "block" // a block device and no command door
	ProtocolUnknown Protocol = "unknown"
)

// byHost says whether the kernel alone tells who a drive is, from registers of the drive that it has
// read: nothing else stands in for what it does not tell.
func (p Protocol) byHost() bool {
	return p == ProtocolMMC || p == ProtocolUFS || p == ProtocolNVDIMM
}

// Media is what holds the data.
type Media string

// The kinds of media. Unknown is an answer: bridges and virtual disks do not tell.
const (
	MediaMagnetic Media = "hdd"
	MediaFlash    Media = "ssd"
	MediaUnknown  Media = "unknown"
)

// Identity says who vouches for a drive's model and serial.
type Identity string

const (
	// IdentityDrive: the drive itself reported them through a command door.
	IdentityDrive Identity = "drive"
	// IdentityHost: the host's kernel did. Such a drive can be overwritten, and what is certified
	// of it has logical scope, never that of a device.
	IdentityHost Identity = "host-local"
)

// State says whether a drive can be chosen.
type State string

// The states of a drive in a listing.
const (
	StateReady      State = "ready"
	StateInUse      State = "in_use"
	StateSystem     State = "system"     // this machine runs from it
	StateBlocked    State = "blocked"    // cannot or must not be chosen, or that could not be determined
	StateUnreadable State = "unreadable" // could not be identified
)

// Reason is a stable code with words for a person: what is so, and what can be done about it.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Number is a kernel device number.
type Number struct{ Major, Minor uint32 }
