package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The log pages that are read here, and how much of each.
const (
	LogSMART    = 0x02 // SMART / Health Information (NVMe base 2.0, 5.16.1.3)
	LogFirmware = 0x03 // Firmware Slot Information (5.16.1.4)
	LogBoot     = 0x15 // Boot Partition (5.16.1.22)
	LogSanitize = 0x81 // Sanitize Status (5.16.1.25)

	logSize = 512
)

// GetLogPage reads one of those pages (5.16). Retain leaves the asynchronous event that belongs
// to the page pending (RAE), as a poll should.
type GetLogPage struct {
	LID    uint8
	Retain bool
}

// Command encodes it. The page is the controller's or the subsystem's, by the NSID that controllers of
// all revisions take for it: FFFFFFFFh for SMART and firmware, 0 for the others.
func (g GetLogPage) Command() *Command {
	c := &Command{Opcode: 0x02, CDW10: uint32(g.LID) | (logSize/4-1)<<16, Data: make([]byte, logSize), Timeout: quick}
	if g.LID == LogSMART || g.LID == LogFirmware {
		c.NSID = 0xffffffff
	}
	if g.Retain {
		c.CDW10 |= 1 << 15
	}
	return c
}

// The bits of SMART.CriticalWarning (figure 207).
const (
	WarnSpare       = 1 << 0 // available spare is below its threshold
	WarnTemperature = 1 << 1
	WarnReliability = 1 << 2
	WarnReadOnly    = 1 << 3 // all media are in read-only mode, not counting write protection
	WarnBackup      = 1 << 4 // of volatile memory
	WarnPMR         = 1 << 5 // the persistent memory region is read-only or unreliable
)

// SMART is the health log (figure 207). Counters that do not fit 64 bits are the greatest number.
type SMART struct {
	CriticalWarning uint8
	Temperature     int // kelvin, composite; 0 not reported
	AvailableSpare  uint8
	SpareThreshold  uint8
	PercentageUsed  uint8
	DataRead        uint64 // units of 1000 × 512 bytes
	DataWritten     uint64
	PowerCycles     uint64
	PowerOnHours    uint64
	UnsafeShutdowns uint64
	MediaErrors     uint64
}

// errBlank: a page of zeros says nothing, least of all that all is well.
var errBlank = errors.New("the page is all zero")

// ParseSMART decodes log page 02h. A page of zeros is an error.
func ParseSMART(b []byte) (SMART, error) {
	if len(b) < logSize {
		return SMART{}, fmt.Errorf("SMART log: %d bytes, want %d", len(b), logSize)
	}
	if blank(b[:logSize]) {
		return SMART{}, fmt.Errorf("SMART log: %w", errBlank)
	}
	return SMART{
		CriticalWarning: b[0], Temperature: int(binary.LittleEndian.Uint16(b[1:])),
		AvailableSpare: b[3], SpareThreshold: b[4], PercentageUsed: b[5],
		DataRead: low128(b[32:]), DataWritten: low128(b[48:]), PowerCycles: low128(b[112:]),
		PowerOnHours: low128(b[128:]), UnsafeShutdowns: low128(b[144:]), MediaErrors: low128(b[160:]),
	}, nil
}

// SOS is the sanitize operation status, SSTAT bits 2:0 (figure 244).
type SOS uint8

// The states of SOS. Any other value is reserved: unknown.
const (
	NeverSanitized        SOS = 0
	SanitizeSucceeded     SOS = 1
	SanitizeInProgress    SOS = 2
	SanitizeFailed        SOS = 3
	SucceededDeallocating SOS = 4 // succeeded; blocks were deallocated although NDAS was set
)

func (s SOS) String() string {
	if int(s) < len(sosNames) {
		return sosNames[s]
	}
	return fmt.Sprintf("reserved status %d", uint8(s))
}

var sosNames = []string{"never sanitized", "succeeded", "in progress", "failed", "succeeded with unexpected deallocation"}

// Unreported is an estimate that the drive does not give.
const Unreported = 0xffffffff

// SanitizeStatus is log page 81h (figure 244). Estimates are seconds or Unreported.
type SanitizeStatus struct {
	SPROG  uint16 // of 65536; FFFFh when nothing runs
	SSTAT  uint16
	SCDW10 uint32 // CDW10 of the Sanitize command that began the latest operation
	ETO    uint32 // overwrite, 16 passes
	ETBE   uint32 // block erase
	ETCE   uint32 // cryptographic erase
	ETOND  uint32 // the same, with NDAS set
	ETBEND uint32
	ETCEND uint32
	SSI    uint8
}

// ParseSanitizeStatus decodes log page 81h. A page of zeros is an error, although a drive that was
// never sanitized comes near it: its SPROG is FFFFh and its estimates are not all zero. A page
// that contradicts itself is one too.
func ParseSanitizeStatus(b []byte) (SanitizeStatus, error) {
	if len(b) < logSize {
		return SanitizeStatus{}, fmt.Errorf("sanitize status log: %d bytes, want %d", len(b), logSize)
	}
	if blank(b[:logSize]) {
		return SanitizeStatus{}, fmt.Errorf("sanitize status log: %w", errBlank)
	}
	le := binary.LittleEndian
	s := SanitizeStatus{
		SPROG: le.Uint16(b[0:]), SSTAT: le.Uint16(b[2:]), SCDW10: le.Uint32(b[4:]),
		ETO: le.Uint32(b[8:]), ETBE: le.Uint32(b[12:]), ETCE: le.Uint32(b[16:]),
		ETOND: le.Uint32(b[20:]), ETBEND: le.Uint32(b[24:]), ETCEND: le.Uint32(b[28:]), SSI: b[36],
	}
	if s.Status() > SucceededDeallocating {
		return SanitizeStatus{}, fmt.Errorf("sanitize status log: %v", s.Status())
	}
	if s.Status() != NeverSanitized && s.SCDW10&7 == 0 {
		return SanitizeStatus{}, fmt.Errorf("sanitize status log: %v, but by no command (SCDW10 %#x)", s.Status(), s.SCDW10)
	}
	return s, nil
}

// Status is SSTAT bits 2:0. Only it tells how an operation ended: SPROG is FFFFh after a success
// and after a failure.
func (s SanitizeStatus) Status() SOS { return SOS(s.SSTAT & 7) }

// Succeeded says that the latest operation ended without failure.
func (s SanitizeStatus) Succeeded() bool {
	return s.Status() == SanitizeSucceeded || s.Status() == SucceededDeallocating
}

// GlobalDataErased is SSTAT bit 8: no user data was written, nor a PMR enabled, since a sanitize
// operation succeeded.
func (s SanitizeStatus) GlobalDataErased() bool { return s.SSTAT&(1<<8) != 0 }

// Purged is SSTAT bit 11, of revisions after 2.3.
func (s SanitizeStatus) Purged() bool { return s.SSTAT&(1<<11) != 0 }

// VerificationCancelled is SSTAT bit 9: a reset took the drive out of media verification.
func (s SanitizeStatus) VerificationCancelled() bool { return s.SSTAT&(1<<9) != 0 }

// The states that SANS tells of and SOS does not.
const (
	InMediaVerification = 5
	InDeallocation      = 6 // after media verification
)

// SANS is the sanitize state, SSI bits 3:0, 0 also where it is not reported: 1 and 3 restricted
// and unrestricted processing, 2 and 4 the failures, 5 media verification, 6 deallocation after it.
func (s SanitizeStatus) SANS() uint8 { return s.SSI & 0x0f }

// Unrestricted says whether the latest operation was begun with AUSE, so that its failure can be
// left by exiting failure mode.
func (s SanitizeStatus) Unrestricted() bool { return s.SCDW10&(1<<3) != 0 }

// Estimate is the drive's own estimate in seconds for an operation, of one pass where it overwrites;
// false where it has none.
func (s SanitizeStatus) Estimate(a Action, noDeallocate bool) (seconds uint32, known bool) {
	n := [2]uint32{Unreported, Unreported}
	switch a {
	case BlockErase:
		n = [2]uint32{s.ETBE, s.ETBEND}
	case CryptoErase:
		n = [2]uint32{s.ETCE, s.ETCEND}
	case Overwrite:
		n = [2]uint32{s.ETO, s.ETOND}
	}
	seconds = n[0]
	if noDeallocate {
		seconds = n[1]
	}
	if seconds == Unreported {
		return 0, false
	}
	if a == Overwrite {
		seconds = seconds/16 + min(1, seconds%16) // reported for sixteen passes (figure 244)
	}
	return seconds, true
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
