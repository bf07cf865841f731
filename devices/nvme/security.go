package nvme

import "time"

// Security carries data of a security protocol to the controller, or from it: Security Send and Security
// Receive (NVMe base 2.0, 5.25 and 5.26). It belongs to no namespace: NSID is 0, as a TPer of the whole
// drive wants it.
type Security struct {
	Protocol uint8  // SECP
	Specific uint16 // SPSP: of the TCG's protocols the ComID
	Receive  bool
	Data     []byte // what is sent, or the room for what is received
	Timeout  time.Duration
}

// Command encodes it.
func (s Security) Command() *Command {
	opcode := uint8(0x81)
	if s.Receive {
		opcode = 0x82
	}
	return &Command{Opcode: opcode, CDW10: uint32(s.Protocol)<<24 | uint32(s.Specific)<<8, CDW11: uint32(len(s.Data)), Data: s.Data, Timeout: s.Timeout}
}

// SecurityCommands is OACS bit 0: the controller has Security Send and Security Receive.
func (c Controller) SecurityCommands() bool { return c.OACS&(1<<0) != 0 }
