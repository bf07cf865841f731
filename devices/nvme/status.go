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
	StatusOperationDenied    = 0x015
	StatusHostIDFormat       = 0x018
	StatusSanitizeFailed     = 0x01c
	StatusSanitizeInProgress = 0x01d
	StatusWriteProtected     = 0x020
	StatusReservation        = 0x083
	StatusFormatInProgress   = 0x084
	StatusInvalidLogPage     = 0x109
	StatusInvalidFormat      = 0x10a
	StatusFirmwareReset      = 0x10b // new firmware waits for a reset: of any kind,
	StatusFirmwareSubsystem  = 0x110 // of the subsystem,
	StatusFirmwareController = 0x111 // or of the controller
	StatusPMREnabled         = 0x123
	StatusSuspended          = 0x139
	StatusAccessDenied       = 0x286
	StatusPersistentLoss     = 0x301 // of the namespaces by this controller: another has them,
	StatusInaccessible       = 0x302 // or nobody for now
)

var statusNames = map[uint16]string{
	StatusInvalidOpcode: "invalid command opcode", StatusInvalidField: "invalid field in command",
	0x004: "data transfer error", 0x005: "aborted because of power loss", 0x006: "internal error", 0x007: "abort requested", 0x008: "aborted because its queue was deleted",
	StatusInvalidNamespace: "invalid namespace or format", 0x00c: "command sequence error",
	StatusOperationDenied: "operation denied", StatusHostIDFormat: "host identifier in another format",
	StatusSanitizeFailed: "sanitize failed", StatusSanitizeInProgress: "sanitize in progress",
	StatusWriteProtected: "namespace is write protected", 0x080: "LBA out of range", 0x082: "namespace not ready",
	StatusReservation: "reservation conflict", StatusInvalidLogPage: "invalid log page", StatusInvalidFormat: "invalid format", StatusFormatInProgress: "format in progress",
	StatusFirmwareReset: "firmware activation requires a reset", StatusFirmwareSubsystem: "firmware activation requires a subsystem reset",
	StatusFirmwareController: "firmware activation requires a controller reset", StatusPMREnabled: "sanitize prohibited while a persistent memory region is enabled",
	StatusSuspended: "controller is suspended", 0x280: "write fault", 0x281: "unrecovered read error", StatusAccessDenied: "access denied",
	StatusPersistentLoss: "asymmetric access persistent loss", StatusInaccessible: "asymmetric access inaccessible", 0x371: "command aborted by the host",
	0x1b8: "zone boundary error", 0x1b9: "zone is full", 0x1ba: "zone is read-only", 0x1bb: "zone is offline", 0x1bc: "zone invalid write",
	0x1bd: "too many active zones", 0x1be: "too many open zones", 0x1bf: "invalid zone state transition",
}

// refusals are the statuses by which a controller says that it did not take a Sanitize or a Format
// command (NVMe base 2.0, 5.14, 5.24 and 8.21).
var refusals = []uint16{
	StatusInvalidOpcode, StatusInvalidField, StatusInvalidNamespace, 0x00c, StatusOperationDenied, StatusSanitizeFailed, StatusWriteProtected,
	StatusReservation, StatusInvalidFormat, StatusFirmwareReset, StatusFirmwareSubsystem, StatusFirmwareController, StatusPMREnabled,
	StatusSuspended, StatusAccessDenied, StatusPersistentLoss, StatusInaccessible,
}

// Refused says whether the controller did not take the command. Every other status leaves that open:
// one that the host or a reset aborted may have been begun, and one in progress may be ours.
func (e *StatusError) Refused() bool { return slices.Contains(refusals, e.Number()) }

// Aborted says whether the command was ended by a loss of power, an abort, or a reset, which deletes the
// queues, or by what is between host and controller: how far it came is not known (NVMe base 2.0, 3.3.3.2.1).
func (e *StatusError) Aborted() bool {
	return e.Type == 3 || slices.Contains([]uint16{0x005, 0x007, 0x008}, e.Number())
}

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
