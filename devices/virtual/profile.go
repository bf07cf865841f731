package virtual

import (
	"fmt"
	"strings"

	"github.com/expunge-dev/expunge/devices"
)

// Profile is a kind of drive that a rack can hold.
type Profile struct {
	Name     string           `json:"name"`
	Summary  string           `json:"summary"`
	Protocol devices.Protocol `json:"protocol"`
	Media    devices.Media    `json:"media"`
}

// Profiles lists the kinds of drives.
func Profiles() []Profile {
	return []Profile{{
		Name:     "plain",
		Summary:  "a block device that takes reads, writes and flushes, and no command: the disk of a virtual machine",
		Protocol: devices.ProtocolVirtio, Media: devices.MediaUnknown,
	}}
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
	// SameSerial permits a serial that another drive has, as some docks report it.
	SameSerial bool `json:"-"`
}

// The bounds of a virtual drive.
const (
	defaultSize  = 64 << 20
	maxSize      = 64 << 40
	defaultExtra = 1 << 20
	maxSerial    = 20 // VIRTIO_BLK_ID_BYTES
)

// normal fills in defaults and checks bounds.
func (s Spec) normal() (Spec, error) {
	if s.Profile == "" {
		s.Profile = "plain"
	}
	if s.Profile != "plain" {
		return s, fmt.Errorf("profile %q: not one of plain", s.Profile)
	}
	if s.SizeBytes == 0 {
		s.SizeBytes = defaultSize
	}
	if s.LogicalBlock == 0 {
		s.LogicalBlock = 512
	}
	if s.PhysicalBlock == 0 {
		s.PhysicalBlock = 4096
	}
	if s.HiddenBytes == 0 {
		s.HiddenBytes = defaultExtra
	}
	if s.CacheBytes == 0 {
		s.CacheBytes = defaultExtra
	}
	switch {
	case s.LogicalBlock != 512 && s.LogicalBlock != 4096:
		return s, fmt.Errorf("logical block of %d bytes: 512 and 4096 are possible", s.LogicalBlock)
	case s.SizeBytes < int64(s.LogicalBlock) || s.SizeBytes > maxSize || s.SizeBytes%int64(s.LogicalBlock) != 0:
		return s, fmt.Errorf("size of %d bytes: whole blocks of %d, at most %d bytes", s.SizeBytes, s.LogicalBlock, int64(maxSize))
	case s.HiddenBytes < 0 || s.HiddenBytes > maxSize || s.CacheBytes < 0 || s.CacheBytes > 1<<30:
		return s, fmt.Errorf("%d hidden bytes and %d bytes of cache: out of bounds", s.HiddenBytes, s.CacheBytes)
	case len(s.Serial) > maxSerial:
		return s, fmt.Errorf("serial %q: at most %d characters", s.Serial, maxSerial)
	case strings.ContainsFunc(s.Serial, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' || r == '\\' }):
		return s, fmt.Errorf("serial %q: printable ASCII without spaces and slashes", s.Serial)
	}
	return s, nil
}
