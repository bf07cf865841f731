package nvme

import (
	"fmt"
	"time"
)

// Action is SANACT, what a Sanitize command does (NVMe base 2.0, 5.24, figure 302).
type Action uint8

// The actions.
const (
	ExitFailureMode       Action = 1
	BlockErase            Action = 2
	Overwrite             Action = 3
	CryptoErase           Action = 4
	ExitMediaVerification Action = 5 // base 2.3, 5.1.22
)

func (a Action) String() string {
	switch a {
	case ExitFailureMode:
		return "exit failure mode"
	case BlockErase:
		return "block erase"
	case Overwrite:
		return "overwrite"
	case CryptoErase:
		return "crypto erase"
	case ExitMediaVerification:
		return "exit media verification"
	}
	return fmt.Sprintf("reserved action %d", uint8(a))
}

// Sanitize starts an operation on the whole NVM subsystem (5.24). A completion of success says
// only that it was started; log page 81h tells how it went.
type Sanitize struct {
	SANACT Action
	AUSE   bool  // allow unrestricted sanitize exit: a failure can be left without success
	OWPASS uint8 // overwrite passes, 1 to 15; 0 means 16 to the drive and is refused here
	OIPBP  bool  // overwrite: invert the pattern between passes
	NDAS   bool  // no deallocate after sanitize
	EMVS   bool  // enter media verification when it is done, only where MediaVerification; not with an overwrite, nor with NDAS
	PREQ   bool  // purge required, only where PurgeRequiredSupported
	OVRPAT uint32
}

// startTimeout bounds the start of an operation: the kernel first drains every queue.
const startTimeout = 120 * time.Second

// Command encodes it. NSID is 0: the command is the subsystem's.
func (s Sanitize) Command() (*Command, error) {
	switch {
	case s.SANACT < ExitFailureMode || s.SANACT > ExitMediaVerification:
		return nil, fmt.Errorf("sanitize: %v", s.SANACT)
	case s.SANACT == Overwrite && (s.OWPASS == 0 || s.OWPASS > 15):
		return nil, fmt.Errorf("sanitize: %d overwrite passes, want 1 to 15", s.OWPASS)
	case s.SANACT != Overwrite && (s.OWPASS != 0 || s.OIPBP || s.OVRPAT != 0):
		return nil, fmt.Errorf("sanitize: %v has no passes and no pattern", s.SANACT)
	case s.EMVS && (s.SANACT == Overwrite || s.NDAS):
		return nil, fmt.Errorf("sanitize: %v has no media verification, or NDAS has none", s.SANACT)
	case (s.SANACT == ExitFailureMode || s.SANACT == ExitMediaVerification) && (s.AUSE || s.NDAS || s.EMVS || s.PREQ):
		return nil, fmt.Errorf("sanitize: %v takes no other bit", s.SANACT)
	}
	return &Command{Opcode: 0x84, CDW10: s.CDW10(), CDW11: s.OVRPAT, Timeout: startTimeout}, nil
}

// CDW10 is the command's dword 10, which log page 81h gives back as SCDW10.
func (s Sanitize) CDW10() uint32 {
	d := uint32(s.SANACT) & 7
	if s.AUSE {
		d |= 1 << 3
	}
	d |= uint32(s.OWPASS&0x0f) << 4
	if s.OIPBP {
		d |= 1 << 8
	}
	if s.NDAS {
		d |= 1 << 9
	}
	if s.EMVS {
		d |= 1 << 10
	}
	if s.PREQ {
		d |= 1 << 11
	}
	return d
}
