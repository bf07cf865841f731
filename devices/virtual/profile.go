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

	model       string
	encrypts    bool // all it stores, under a media key
	unattached  bool // it has a second namespace, which is attached to no controller
	controllers int  // of its subsystem
}

// Profiles lists the kinds of drives.
func Profiles() []Profile {
	crypto := []string{"crypto", "block"}
	return []Profile{
		{Name: "plain", Summary: "a block device that takes reads, writes and flushes, and no command: the disk of a virtual machine",
			Protocol: devices.ProtocolVirtio, Media: devices.MediaUnknown},
		{Name: "nvme-ssd", Summary: "an NVMe SSD that encrypts what it stores and can sanitize itself",
			Protocol: devices.ProtocolNVMe, Media: devices.MediaFlash, Sanitize: crypto, model: "Virtual NVMe SSD", encrypts: true, controllers: 1},
		{Name: "nvme-two-namespaces", Summary: "the same with a second namespace, half as large, that is attached to no controller",
			Protocol: devices.ProtocolNVMe, Media: devices.MediaFlash, Sanitize: crypto, model: "Virtual NVMe SSD 2NS", encrypts: true, unattached: true, controllers: 1},
		{Name: "nvme-shared", Summary: "the same as nvme-ssd, in a subsystem that another host reaches through a second controller",
			Protocol: devices.ProtocolNVMe, Media: devices.MediaFlash, Sanitize: crypto, model: "Virtual NVMe Dual Port", encrypts: true, controllers: 2},
		{Name: "sata-ssd", Summary: "a SATA SSD behind SCSI/ATA translation: identity, reads, writes and SMART",
			Protocol: devices.ProtocolATA, Media: devices.MediaFlash, model: "Virtual SATA SSD of the rack", encrypts: true},
		{Name: "sata-hdd", Summary: "a SATA hard disk behind SCSI/ATA translation: identity, reads, writes and SMART",
			Protocol: devices.ProtocolATA, Media: devices.MediaMagnetic, model: "Virtual SATA disk of the rack"},
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

// Spec says what drive to add to a rack. The zero value of a field is its default.
type Spec struct {
	Profile       string `json:"profile"` // plain
	Serial        string `json:"serial"`  // drawn; at most 20 characters
	SizeBytes     int64  `json:"size_bytes"`
	LogicalBlock  int    `json:"logical_block_bytes"`  // 512, or 4096
	PhysicalBlock int    `json:"physical_block_bytes"` // 4096
	HiddenBytes   int64  `json:"hidden_bytes"`         // 1 MiB: spare blocks that the host cannot address
	CacheBytes    int64  `json:"cache_bytes"`          // 1 MiB of volatile write cache
	ReadOnly      bool   `json:"read_only,omitempty"`
	// EraseSeconds is how long a block erase takes, and what the drive estimates for it; a
	// cryptographic erase takes half of it. 2 by default.
	EraseSeconds int64 `json:"erase_seconds"`
	// Sanitize limits what a sanitize command can do; all that the profile has by default.
	Sanitize []string `json:"sanitize,omitempty"`
	// NoDeallocateInhibited: a Sanitize command with NDAS is rejected (SANICAP bit 29).
	NoDeallocateInhibited bool `json:"no_deallocate_inhibited,omitempty"`
	// AttachAll attaches a second namespace, too, so that it has a node.
	AttachAll bool `json:"attach_all,omitempty"`
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

// normal fills in defaults and checks bounds.
func (s Spec) normal() (Spec, error) {
	orElse(&s.Profile, "plain")
	orElse(&s.SizeBytes, defaultSize)
	orElse(&s.LogicalBlock, 512)
	orElse(&s.PhysicalBlock, max(4096, s.LogicalBlock))
	orElse(&s.HiddenBytes, defaultExtra)
	orElse(&s.CacheBytes, defaultExtra)
	orElse(&s.EraseSeconds, 2)
	p, err := profileByName(s.Profile)
	if err != nil {
		return s, err
	}
	if s.Sanitize == nil {
		s.Sanitize = p.Sanitize
	}
	unit := int64(s.LogicalBlock)
	if p.unattached {
		unit *= 2 // the second namespace has half the size
	}
	switch {
	case s.LogicalBlock != 512 && s.LogicalBlock != 4096:
		return s, fmt.Errorf("logical block of %d bytes: 512 and 4096 are possible", s.LogicalBlock)
	case s.SizeBytes < unit || s.SizeBytes > maxSize || s.SizeBytes%unit != 0:
		return s, fmt.Errorf("size of %d bytes: whole blocks of %d, at most %d bytes", s.SizeBytes, unit, int64(maxSize))
	case s.HiddenBytes < 0 || s.HiddenBytes > maxSize || s.CacheBytes < 0 || s.CacheBytes > 1<<30:
		return s, fmt.Errorf("%d hidden bytes and %d bytes of cache: out of bounds", s.HiddenBytes, s.CacheBytes)
	case s.EraseSeconds < 0 || s.EraseSeconds > 1<<31:
		return s, fmt.Errorf("an erase of %d seconds: out of bounds", s.EraseSeconds)
	case slices.ContainsFunc(s.Sanitize, func(w string) bool { return !slices.Contains(p.Sanitize, w) }):
		return s, fmt.Errorf("sanitize %q: profile %s has %q", s.Sanitize, s.Profile, p.Sanitize)
	case len(s.Serial) > maxSerial:
		return s, fmt.Errorf("serial %q: at most %d characters", s.Serial, maxSerial)
	case strings.ContainsFunc(s.Serial, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '\\' }):
		return s, fmt.Errorf("serial %q: printable ASCII without spaces and slashes", s.Serial)
	}
	return s, nil
}

func orElse[T comparable](v *T, other T) {
	var zero T
	if *v == zero {
		*v = other
	}
}

// Space is a range of a drive's blocks that the host addresses by a node of its own: a namespace,
// or all of a drive that has none.
type Space struct {
	Node      string `json:"node,omitempty"` // "" when it is attached to no controller
	NSID      uint32 `json:"nsid,omitempty"`
	Offset    int64  `json:"offset"`
	SizeBytes int64  `json:"size_bytes"`
	Number    string `json:"number,omitempty"` // major:minor
}

// spaces lays a drive's address space out.
func (p Profile) spaces(name string, index int, s Spec) []Space {
	switch p.Protocol {
	case devices.ProtocolNVMe:
		list := []Space{{"/dev/" + name + "n1", 1, 0, s.SizeBytes, fmt.Sprintf("259:%d", index*4)}}
		if p.unattached {
			second := Space{NSID: 2, Offset: s.SizeBytes, SizeBytes: s.SizeBytes / 2}
			if s.AttachAll {
				second.Node, second.Number = "/dev/"+name+"n2", fmt.Sprintf("259:%d", index*4+1)
			}
			list = append(list, second)
		}
		return list
	case devices.ProtocolATA:
		return []Space{{"/dev/" + name, 0, 0, s.SizeBytes, fmt.Sprintf("8:%d", index*16)}}
	}
	return []Space{{"/dev/" + name, 0, 0, s.SizeBytes, fmt.Sprintf("253:%d", index*16)}}
}

// kernelName names the n-th drive of a kind as a kernel does: vda, sda, nvme0.
func (p Profile) kernelName(n int) string {
	switch p.Protocol {
	case devices.ProtocolNVMe:
		return fmt.Sprintf("nvme%d", n)
	case devices.ProtocolATA:
		return "sd" + letters(n)
	}
	return "vd" + letters(n)
}

// letters counts a, …, z, aa.
func letters(n int) string {
	s := ""
	for n++; n > 0; n = (n - 1) / 26 {
		s = string(rune('a'+(n-1)%26)) + s
	}
	return s
}
