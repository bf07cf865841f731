package scsi

import (
	"encoding/binary"
	"time"
)

// ioTimeout bounds one read or write.
const ioTimeout = 60 * time.Second

// Read16 is READ(16) (SBC-5). Data holds exactly the blocks.
func Read16(lba uint64, blocks uint32, data []byte) *Command {
	return &Command{CDB: transfer(0x88, lba, blocks), Direction: DataIn, Data: data, Timeout: ioTimeout}
}

// Write16 is WRITE(16) (SBC-5). Data holds exactly the blocks.
func Write16(lba uint64, blocks uint32, data []byte) *Command {
	return &Command{CDB: transfer(0x8a, lba, blocks), Direction: DataOut, Data: data, Timeout: ioTimeout}
}

// SynchronizeCache16 is SYNCHRONIZE CACHE(16) (SBC-5) over the whole logical unit: it returns when
// the volatile cache has reached the media.
func SynchronizeCache16() *Command {
	return &Command{CDB: transfer(0x91, 0, 0), Timeout: ioTimeout}
}

func transfer(opcode byte, lba uint64, blocks uint32) []byte {
	cdb := make([]byte, 16)
	cdb[0] = opcode
	binary.BigEndian.PutUint64(cdb[2:], lba)
	binary.BigEndian.PutUint32(cdb[10:], blocks)
	return cdb
}
