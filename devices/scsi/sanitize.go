package scsi

import (
	"encoding/binary"
	"fmt"
	"time"
)

// startTimeout bounds the start of an operation that the drive goes on with by itself.
const startTimeout = 120 * time.Second

// SanitizeAction is the service action of SANITIZE (SBC-5 5.30).
type SanitizeAction uint8

// The actions.
const (
	SanitizeOverwrite   SanitizeAction = 0x01
	SanitizeBlockErase  SanitizeAction = 0x02
	SanitizeCryptoErase SanitizeAction = 0x03
	SanitizeExitFailure SanitizeAction = 0x1f
)

func (a SanitizeAction) String() string {
	switch a {
	case SanitizeOverwrite:
		return "overwrite"
	case SanitizeBlockErase:
		return "block erase"
	case SanitizeCryptoErase:
		return "crypto erase"
	case SanitizeExitFailure:
		return "exit failure mode"
	}
	return fmt.Sprintf("reserved action %02xh", uint8(a))
}

// Sanitize starts an operation on a whole logical unit (SBC-5 5.30). It returns at once, always:
// GOOD says only that the operation was started, and REQUEST SENSE tells how it goes. A GOOD
// SanitizeExitFailure proves nothing: data may remain.
type Sanitize struct {
	Action      SanitizeAction
	AUSE        bool   // allow unrestricted sanitize exit: a failure can be left without success
	ZNR         bool   // zone no reset: zones do not end empty (SBC-5 5.30)
	Count       uint8  // overwrite passes, 1 to 31
	Invert      bool   // overwrite: invert the pattern between passes; the last one leaves the pattern
	Pattern     []byte // overwrite: 1 to BlockLength bytes, repeated over each block
	BlockLength int    // overwrite: of the logical unit
}

// Command encodes it.
func (s Sanitize) Command() (*Command, error) {
	overwrite := s.Action == SanitizeOverwrite
	switch {
	case !overwrite && s.Action != SanitizeBlockErase && s.Action != SanitizeCryptoErase && s.Action != SanitizeExitFailure:
		return nil, fmt.Errorf("sanitize: %v", s.Action)
	case !overwrite && (s.Count != 0 || s.Invert || len(s.Pattern) != 0):
		return nil, fmt.Errorf("sanitize: %v has no passes and no pattern", s.Action)
	case overwrite && (s.Count == 0 || s.Count > 31):
		return nil, fmt.Errorf("sanitize: %d overwrite passes, want 1 to 31", s.Count)
	case overwrite && (len(s.Pattern) == 0 || len(s.Pattern) > s.BlockLength || len(s.Pattern) > 1<<16-1-4):
		return nil, fmt.Errorf("sanitize: a pattern of %d bytes for blocks of %d", len(s.Pattern), s.BlockLength)
	case s.Action == SanitizeExitFailure && (s.AUSE || s.ZNR):
		return nil, fmt.Errorf("sanitize: %v takes no other bit", s.Action)
	}
	c := &Command{CDB: make([]byte, 10), Timeout: startTimeout}
	c.CDB[0], c.CDB[1] = 0x48, 1<<7|byte(s.Action)
	if s.AUSE {
		c.CDB[1] |= 1 << 5
	}
	if s.ZNR {
		c.CDB[1] |= 1 << 6
	}
	if !overwrite {
		return c, nil
	}
	c.Direction, c.Data = DataOut, make([]byte, 4+len(s.Pattern))
	c.Data[0] = s.Count
	if s.Invert {
		c.Data[0] |= 1 << 7
	}
	binary.BigEndian.PutUint16(c.Data[2:], uint16(len(s.Pattern)))
	copy(c.Data[4:], s.Pattern)
	binary.BigEndian.PutUint16(c.CDB[7:], uint16(len(c.Data)))
	return c, nil
}
