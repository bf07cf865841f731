package scsi

import (
	"encoding/binary"
	"fmt"
)

// ReportOpcode asks whether a logical unit knows a command: REPORT SUPPORTED OPERATION CODES (SPC-5).
// It answers also for what is not supported.
type ReportOpcode struct {
	Opcode           uint8
	ServiceAction    uint16
	HasServiceAction bool
}

// Command encodes it. Reporting option 3 is an opcode with a service action, 1 is one without.
func (r ReportOpcode) Command() *Command {
	cdb := make([]byte, 12)
	cdb[0], cdb[1], cdb[2], cdb[3] = 0xa3, 0x0c, 1, r.Opcode
	if r.HasServiceAction {
		cdb[2] = 3
		binary.BigEndian.PutUint16(cdb[4:], r.ServiceAction)
	}
	binary.BigEndian.PutUint32(cdb[6:], 252)
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, 252), Timeout: quick}
}

// Support is the SUPPORT field of the answer.
type Support uint8

// Its values. Only SupportedStandard is a command that does what the standard says.
const (
	SupportUnknown    Support = 0 // not known now
	NotSupported      Support = 1
	SupportedStandard Support = 3
	SupportedVendor   Support = 5
)

func (s Support) String() string {
	switch s {
	case SupportUnknown:
		return "unknown"
	case NotSupported:
		return "not supported"
	case SupportedStandard:
		return "supported"
	case SupportedVendor:
		return "supported in the vendor's way"
	}
	return fmt.Sprintf("reserved support %d", uint8(s))
}

// ParseOpcodeSupport decodes the answer of one command.
func ParseOpcodeSupport(b []byte) (Support, error) {
	if len(b) < 4 {
		return SupportUnknown, fmt.Errorf("report supported operation codes: %d bytes, want 4", len(b))
	}
	switch s := Support(b[1] & 7); s {
	case SupportUnknown, NotSupported, SupportedStandard, SupportedVendor:
		return s, nil
	default:
		return SupportUnknown, fmt.Errorf("report supported operation codes: %v", s)
	}
}
