package scsi

import (
	"encoding/binary"
	"fmt"
)

// ReadCapacity16 asks for size and block length (SBC-4 5.20).
type ReadCapacity16 struct{}

// Command encodes it: SERVICE ACTION IN(16), action 10h, 32 bytes.
func (ReadCapacity16) Command() *Command {
	cdb := make([]byte, 16)
	cdb[0], cdb[1], cdb[13] = 0x9e, 0x10, 32
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, 32), Timeout: quick}
}

// Capacity is what READ CAPACITY says.
type Capacity struct {
	LastLBA          uint64
	BlockLength      uint32
	PhysicalPerExp   uint8 // a physical block is 2^n logical ones
	ProtectionType   uint8 // 0 none
	ReadsZeroesUnmap bool  // LBPRZ: unmapped blocks read as zeros
}

// ParseCapacity decodes it.
func ParseCapacity(b []byte) (Capacity, error) {
	if len(b) < 32 {
		return Capacity{}, fmt.Errorf("read capacity: %d bytes, want 32", len(b))
	}
	c := Capacity{LastLBA: binary.BigEndian.Uint64(b), BlockLength: binary.BigEndian.Uint32(b[8:]), PhysicalPerExp: b[13] & 0x0f, ReadsZeroesUnmap: b[14]&0x40 != 0}
	if b[12]&1 != 0 {
		c.ProtectionType = b[12]>>1&7 + 1
	}
	if c.BlockLength < 512 || c.BlockLength > 1<<16 {
		return Capacity{}, fmt.Errorf("read capacity: blocks of %d bytes", c.BlockLength)
	}
	if c.LastLBA >= 1<<62/uint64(c.BlockLength) {
		return Capacity{}, fmt.Errorf("read capacity: last block %d of %d bytes", c.LastLBA, c.BlockLength)
	}
	return c, nil
}

// SizeBytes is the whole capacity.
func (c Capacity) SizeBytes() int64 { return int64(c.LastLBA+1) * int64(c.BlockLength) }
