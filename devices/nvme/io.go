package nvme

import (
	"fmt"
	"time"
)

// ioTimeout bounds one read or write.
const ioTimeout = 60 * time.Second

// Read reads blocks (NVM command set 1.0, 3.2.4). Data holds Blocks blocks.
type Read struct {
	NSID   uint32
	SLBA   uint64
	Blocks int // 1 to 65536
	Data   []byte
}

// Command encodes it.
func (r Read) Command() (*Command, error) {
	return transfer(0x02, r.NSID, r.SLBA, r.Blocks, r.Data, false)
}

// Write writes blocks (3.2.6). FUA asks that they be on the media when it completes.
type Write struct {
	NSID   uint32
	SLBA   uint64
	Blocks int
	Data   []byte
	FUA    bool
}

// Command encodes it.
func (w Write) Command() (*Command, error) {
	return transfer(0x01, w.NSID, w.SLBA, w.Blocks, w.Data, w.FUA)
}

func transfer(opcode uint8, nsid uint32, slba uint64, blocks int, data []byte, fua bool) (*Command, error) {
	if nsid == 0 || nsid >= 0xfffffffe {
		return nil, fmt.Errorf("I/O command for namespace %#x", nsid)
	}
	if blocks < 1 || blocks > 1<<16 || len(data) == 0 || len(data)%blocks != 0 {
		return nil, fmt.Errorf("I/O command of %d blocks and %d bytes", blocks, len(data))
	}
	c := &Command{
		Queue: IO, Opcode: opcode, NSID: nsid, CDW10: uint32(slba), CDW11: uint32(slba >> 32),
		CDW12: uint32(blocks - 1), Data: data, Timeout: ioTimeout,
	}
	if fua {
		c.CDW12 |= 1 << 30
	}
	return c, nil
}

// Flush brings a namespace's volatile cache to the media (NVMe base 2.0, 7.1).
type Flush struct{ NSID uint32 }

// Command encodes it.
func (f Flush) Command() *Command {
	return &Command{Queue: IO, Opcode: 0x00, NSID: f.NSID, Timeout: ioTimeout}
}
