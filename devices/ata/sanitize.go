package ata

import (
	"errors"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// startTimeout bounds the start of an operation that the drive goes on with by itself.
const startTimeout = 120 * time.Second

// lbaMode is the device register of commands that address blocks; others ignore the bit.
const lbaMode = 0x40

// SanitizeFeature is the subcommand of SANITIZE DEVICE (ACS-5 7.36).
type SanitizeFeature uint16

// The subcommands.
const (
	SanitizeStatusExt         SanitizeFeature = 0x0000
	CryptoScrambleExt         SanitizeFeature = 0x0011
	BlockEraseExt             SanitizeFeature = 0x0012
	OverwriteExt              SanitizeFeature = 0x0014
	SanitizeFreezeLockExt     SanitizeFeature = 0x0020
	SanitizeAntifreezeLockExt SanitizeFeature = 0x0040
)

func (f SanitizeFeature) String() string {
	switch f {
	case SanitizeStatusExt:
		return "sanitize status"
	case CryptoScrambleExt:
		return "crypto scramble"
	case BlockEraseExt:
		return "block erase"
	case OverwriteExt:
		return "overwrite"
	case SanitizeFreezeLockExt:
		return "sanitize freeze lock"
	case SanitizeAntifreezeLockExt:
		return "sanitize antifreeze lock"
	}
	return fmt.Sprintf("reserved feature %04xh", uint16(f))
}

func (f SanitizeFeature) starts() bool {
	return f == CryptoScrambleExt || f == BlockEraseExt || f == OverwriteExt
}

// signature is what LBA(47:0) must hold, so that no stray command erases a drive.
func (f SanitizeFeature) signature() uint64 {
	switch f {
	case CryptoScrambleExt:
		return 0x43727970 // "Cryp"
	case BlockEraseExt:
		return 0x426b4572 // "BkEr"
	case OverwriteExt:
		return 0x4f57 << 32 // "OW", and the pattern below it
	case SanitizeFreezeLockExt:
		return 0x46724c6b // "FrLk"
	case SanitizeAntifreezeLockExt:
		return 0x416e7469 // "Anti"
	}
	return 0
}

// Sanitize is SANITIZE DEVICE (ACS-5 7.36). An answer of success to one of the three that erase
// says only that the operation was started; SanitizeStatusExt tells how it went.
type Sanitize struct {
	Feature     SanitizeFeature
	FailureMode bool   // a failure can be left without success: unrestricted
	Passes      uint8  // overwrite passes, 1 to 15; 0 means 16 to the drive and is refused here
	Pattern     uint32 // overwrite
	Invert      bool   // overwrite: invert the pattern between passes
	Definitive  bool   // overwrite: the last pass leaves the pattern and not its inverse
	ClearFailed bool   // status: leave the failed state of an unrestricted operation
	ZNR         bool   // zone no reset: the zones of a zoned drive do not end empty
}

// Command encodes it.
func (s Sanitize) Command() (Command, error) {
	switch {
	case s.Feature != SanitizeStatusExt && s.Feature.signature() == 0:
		return Command{}, fmt.Errorf("SANITIZE DEVICE: %v", s.Feature)
	case s.Feature == OverwriteExt && (s.Passes == 0 || s.Passes > 15):
		return Command{}, fmt.Errorf("SANITIZE DEVICE: %d overwrite passes, want 1 to 15", s.Passes)
	case s.Feature != OverwriteExt && (s.Passes != 0 || s.Pattern != 0 || s.Invert || s.Definitive):
		return Command{}, fmt.Errorf("SANITIZE DEVICE: %v has no passes and no pattern", s.Feature)
	case s.ClearFailed && s.Feature != SanitizeStatusExt:
		return Command{}, fmt.Errorf("SANITIZE DEVICE: %v does not leave the failed state", s.Feature)
	case s.FailureMode && !s.Feature.starts():
		return Command{}, fmt.Errorf("SANITIZE DEVICE: %v has no failure mode", s.Feature)
	case s.ZNR && !s.Feature.starts():
		return Command{}, fmt.Errorf("SANITIZE DEVICE: %v resets no zones", s.Feature)
	}
	c := Command{
		Protocol: NonData, Extend: true, Feature: uint16(s.Feature), Count: s.Count(), LBA: s.Feature.signature() | uint64(s.Pattern),
		Device: lbaMode, Opcode: 0xb4, CheckCondition: true, Timeout: quick,
	}
	if s.Feature.starts() {
		c.Timeout = startTimeout
	}
	return c, nil
}

// Count is the command's COUNT register.
func (s Sanitize) Count() uint16 {
	n := uint16(s.Passes & 0x0f)
	if s.ClearFailed {
		n |= 1
	}
	if s.FailureMode {
		n |= 1 << 4
	}
	if s.Definitive {
		n |= 1 << 6
	}
	if s.Invert {
		n |= 1 << 7
	}
	if s.ZNR {
		n |= 1 << 15
	}
	return n
}

// SanitizeStatus is what SANITIZE DEVICE answers. None of its bits set is a drive that is idle and
// never sanitized: the success of an operation is Completed alone.
type SanitizeStatus struct {
	Completed  bool // the last operation, without error; kept until the next one starts
	InProgress bool
	Frozen     bool
	Antifreeze bool
	Failed     bool   // the failed state: the drive's last operation did not succeed
	Reason     uint8  // SanitizeReason, where Failed
	Progress   uint16 // in 65536ths, where InProgress
}

// SanitizeReason is the cause that an aborted SANITIZE DEVICE gives in LBA(7:0).
func SanitizeReason(reason uint8) string {
	switch reason {
	case 0:
		return "no reason given, or the command is refused in this state"
	case sanitizeFailed:
		return "the operation ended with physical sectors not sanitized"
	case 2:
		return "unsupported or invalid feature"
	case 3:
		return "the drive is in the sanitize frozen state"
	case 4:
		return "freeze lock is refused because antifreeze lock is set"
	}
	return fmt.Sprintf("reserved reason %02xh", reason)
}

const sanitizeFailed = 1

// ParseSanitizeStatus decodes the sense data of a SANITIZE DEVICE command that was sent with
// CheckCondition. In its failed state a drive aborts the command with reason 1: that is an answer.
// An abort for another reason is *Error. Whatever has not all registers is ErrNoRegisters.
func ParseSanitizeStatus(sense []byte) (SanitizeStatus, error) {
	g, err := ParseRegisters(scsi.Result{Status: 2, Sense: sense})
	var aborted *Error
	switch {
	case errors.As(err, &aborted) && !g.Whole, err == nil && !(g.Whole && g.Extend):
		return SanitizeStatus{}, fmt.Errorf("SANITIZE DEVICE: %w", ErrNoRegisters)
	case aborted != nil:
		reason := uint8(g.LBA)
		if g.Status&StatusDF != 0 || g.Error&ErrorABRT == 0 {
			return SanitizeStatus{}, fmt.Errorf("SANITIZE DEVICE: %w", err)
		}
		if reason != sanitizeFailed || !abortedSense(sense) {
			return SanitizeStatus{}, fmt.Errorf("SANITIZE DEVICE: %s: %w", SanitizeReason(reason), err)
		}
		s := SanitizeStatus{Failed: true, Reason: reason}
		if g.Extend {
			s.count(g.Count)
		}
		return s, s.check()
	case err != nil:
		return SanitizeStatus{}, fmt.Errorf("SANITIZE DEVICE: %w", err)
	}
	var s SanitizeStatus
	s.count(g.Count)
	if s.InProgress {
		s.Progress = uint16(g.LBA)
	}
	return s, s.check()
}

// abortedSense says whether sense data that came with an abort's registers is an abort's: aborted
// command, the registers that were asked for, or the drive's own SANITIZE COMMAND FAILED.
func abortedSense(sense []byte) bool {
	s, err := scsi.ParseSense(sense)
	return err == nil && (s.Key == scsi.AbortedCommand || passedThrough(s) || s.Is(scsi.MediumError, 0x31, 0x03))
}

func (s *SanitizeStatus) count(n uint16) {
	s.Completed, s.InProgress, s.Frozen, s.Antifreeze = n&(1<<15) != 0, n&(1<<14) != 0, n&(1<<13) != 0, n&(1<<12) != 0
}

// check refuses what no drive can be: in two of the states at once.
func (s *SanitizeStatus) check() error {
	n := 0
	for _, state := range []bool{s.Completed, s.InProgress, s.Failed} {
		if state {
			n++
		}
	}
	if n > 1 || s.Frozen && s.InProgress {
		err := fmt.Errorf("SANITIZE DEVICE: the status contradicts itself: %+v", *s)
		*s = SanitizeStatus{}
		return err
	}
	return nil
}
