package nvme

import (
	"fmt"
	"slices"
)

// StatusError is a completion that is not success (NVMe base 2.0, 3.3.3.2.1).
type StatusError struct {
	Type uint8 // SCT, bits 10:8 of the status: 0 generic, 1 command specific, 2 media, 3 path
	Code uint8 // SC, bits 7:0
	Raw  uint16
}

// Status codes that somebody acts on, as type and code in one number.
const (
	StatusInvalidOpcode      = 0x001
	StatusInvalidField       = 0x002
	StatusInvalidNamespace   = 0x00b
	StatusSanitizeFailed     = 0x01c
	StatusSanitizeInProgress = 0x01d
	StatusWriteProtected     = 0x020
	StatusInvalidLogPage     = 0x109
	StatusInvalidFormat      = 0x10a
	StatusPMREnabled         = 0x123
)

var statusNames = map[uint16]string{
	StatusInvalidOpcode: "invalid command opcode", StatusInvalidField: "invalid field in command",
	0x004: "data transfer error", 0x005: "aborted because of power loss", 0x006: "internal error", 0x007: "abort requested",
	StatusInvalidNamespace: "invalid namespace or format", 0x00c: "command sequence error",
	StatusSanitizeFailed: "sanitize failed", StatusSanitizeInProgress: "sanitize in progress",
	StatusWriteProtected: "namespace is write protected", 0x080: "LBA out of range", 0x082: "namespace not ready",
	0x083: "reservation conflict", StatusInvalidLogPage: "invalid log page", StatusInvalidFormat: "invalid format", 0x084: "format in progress",
	0x10b: "firmware activation requires a reset", 0x110: "firmware activation requires a subsystem reset",
	0x111: "firmware activation requires a controller reset", StatusPMREnabled: "sanitize prohibited while a persistent memory region is enabled",
	0x1b8: "zone boundary error", 0x1b9: "zone is full", 0x1ba: "zone is read-only", 0x1bb: "zone is offline", 0x1bc: "zone invalid write",
	0x1bd: "too many active zones", 0x1be: "too many open zones", 0x1bf: "invalid zone state transition",
	0x139: "controller is suspended", 0x280: "write fault", 0x281: "unrecovered read error", 0x286: "access denied",
	0x301: "asymmetric access persistent loss", 0x302: "asymmetric access inaccessible", 0x371: "command aborted by the host",
}

// refusals are the statuses by which a controller says that it did not take a Sanitize or a Format
// command (NVMe base 2.0, 5.14, 5.24 and 8.21).
var refusals = []uint16{
	StatusInvalidOpcode, StatusInvalidField, StatusInvalidNamespace, 0x00c, StatusSanitizeFailed, StatusWriteProtected,
	0x083, StatusInvalidFormat, 0x10b, 0x110, 0x111, StatusPMREnabled, 0x139, 0x286, 0x301, 0x302,
}

// Refused says whether the controller did not take the command. Every other status leaves that open:
// one that the host or a reset aborted may have been begun, and one in progress may be ours.
func (e *StatusError) Refused() bool { return slices.Contains(refusals, e.Number()) }

// Number is type and code in one number, as the Status constants have them.
func (e *StatusError) Number() uint16 { return uint16(e.Type)<<8 | uint16(e.Code) }

func (e *StatusError) Error() string {
	if name, ok := statusNames[e.Number()]; ok {
		return fmt.Sprintf("NVMe status %03xh: %s", e.Number(), name)
	}
	return fmt.Sprintf("NVMe status %03xh", e.Number())
}

// Err is nil for success and a *StatusError for everything else.
func (c Completion) Err() error {
	if c.Status == 0 {
		return nil
	}
	return &StatusError{Type: uint8(c.Status >> 8 & 7), Code: uint8(c.Status), Raw: c.Status}
}
