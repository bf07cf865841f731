package scsi

import (
	"encoding/binary"
	"fmt"
)

// FormatUnit starts a format of the whole logical unit (SBC-5 5.4), with the length of blocks that
// ModeSelectBlockLength set. It returns at once, always, and never is a fast format, which leaves
// the data where it is.
type FormatUnit struct {
	ProtectionInformation uint8  // FMTPINFO: 0 none, 2 type 1, 3 type 2
	Pattern               []byte // initialization pattern, repeated over each block; nil is the drive's
}

// Command encodes it. The drive keeps its defect lists: none is sent, and CMPLST is 0.
func (f FormatUnit) Command() (*Command, error) {
	switch {
	case f.ProtectionInformation > 3 || f.ProtectionInformation == 1:
		return nil, fmt.Errorf("format unit: protection information %d", f.ProtectionInformation)
	case len(f.Pattern) > 1<<16-1:
		return nil, fmt.Errorf("format unit: a pattern of %d bytes", len(f.Pattern))
	}
	list := []byte{0, 1 << 1, 0, 0} // IMMED
	if len(f.Pattern) > 0 {
		list[1] |= 1<<7 | 1<<3 // FOV, without which IP is refused, and IP
		list = append(list, 0, 1, byte(len(f.Pattern)>>8), byte(len(f.Pattern)))
		list = append(list, f.Pattern...)
	}
	return &Command{
		CDB:       []byte{0x04, f.ProtectionInformation<<6 | 1<<4, 0, 0, 0, 0}, // FMTDATA
		Direction: DataOut, Data: list, Timeout: startTimeout,
	}, nil
}

// ModeSelectBlockLength sets the length of blocks that the next FORMAT UNIT makes: MODE SELECT(10)
// (SPC-5) of a short block descriptor alone, with as many blocks as there is room for. A length
// above 24 bits reaches into a reserved byte, which drives refuse.
func ModeSelectBlockLength(length uint32) *Command {
	list := make([]byte, 16)
	list[7] = 8
	binary.BigEndian.PutUint32(list[12:], length)
	return &Command{CDB: []byte{0x55, 1 << 4, 0, 0, 0, 0, 0, 0, byte(len(list)), 0}, Direction: DataOut, Data: list, Timeout: quick}
}
