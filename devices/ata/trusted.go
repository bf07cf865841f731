package ata

import (
	"fmt"
	"time"
)

// Trusted carries data of a security protocol to the drive, or from it: TRUSTED SEND and TRUSTED RECEIVE
// in their PIO forms (ACS-4 7.56, 7.58).
type Trusted struct {
	Protocol uint8
	Specific uint16 // of the TCG's protocols the ComID
	Receive  bool
	Data     []byte // whole blocks of 512 bytes: what is sent, or the room for what is received
	Timeout  time.Duration
}

// Command encodes it. The count of blocks goes over two registers, COUNT and LBA 7:0, and a pass-through
// moves as many as the first says: more than that register holds is refused.
func (t Trusted) Command() (Command, error) {
	blocks := len(t.Data) / 512
	if blocks == 0 || blocks > 0xff || len(t.Data)%512 != 0 {
		return Command{}, fmt.Errorf("security protocol %02xh: %d bytes of data", t.Protocol, len(t.Data))
	}
	c := Command{
		Protocol: PIOOut, Feature: uint16(t.Protocol), Count: uint16(blocks), LBA: uint64(t.Specific) << 8, Opcode: 0x5e,
		Data: t.Data, CheckCondition: true, Timeout: t.Timeout,
	}
	if t.Receive {
		c.Protocol, c.Opcode, c.CheckCondition = PIOIn, 0x5c, false
	}
	return c, nil
}

// TrustedComputing is word 48 bit 0: the drive has TRUSTED SEND and TRUSTED RECEIVE (ACS-4 7.13.6.19).
func (i Identity) TrustedComputing() bool { return valid(i.words[48]) && i.words[48]&1 != 0 }
