package scsi

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The opcodes of SECURITY PROTOCOL IN and OUT.
const (
	OpcodeSecurityIn  = 0xa2
	OpcodeSecurityOut = 0xb5
)

// SecurityProtocol is SECURITY PROTOCOL IN or OUT (SPC-5 6.41, 6.42).
type SecurityProtocol struct {
	Protocol uint8
	Specific uint16 // of the TCG's protocols the ComID
	In       bool
	InBlocks bool   // INC_512: the length is in units of 512 bytes
	Data     []byte // what is sent, or the room for what is received
	Timeout  time.Duration
}

// Command encodes it.
func (s SecurityProtocol) Command() (*Command, error) {
	length := len(s.Data)
	if length == 0 || s.InBlocks && length%512 != 0 {
		return nil, fmt.Errorf("security protocol %02xh: %d bytes of data", s.Protocol, length)
	}
	cdb := make([]byte, 12)
	cdb[0], cdb[1] = OpcodeSecurityOut, s.Protocol
	c := &Command{CDB: cdb, Direction: DataOut, Data: s.Data, Timeout: s.Timeout}
	if s.In {
		cdb[0], c.Direction = OpcodeSecurityIn, DataIn
	}
	binary.BigEndian.PutUint16(cdb[2:], s.Specific)
	if s.InBlocks {
		cdb[4] = 1 << 7
		length /= 512
	}
	binary.BigEndian.PutUint32(cdb[6:], uint32(length))
	return c, nil
}
