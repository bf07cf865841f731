// Package nvme encodes NVMe admin and I/O commands and decodes completions and log pages. It
// knows nothing of kernels: a command travels through whatever implements the NVMe door of
// devices.Transport.
package nvme

import "time"

// Queue tells which submission queue a command is meant for; opcodes differ between the two.
type Queue int

// The two kinds of submission queue (NVMe base 2.0, 1.5).
const (
	Admin Queue = iota
	IO
)

// Command is one submission queue entry as far as the host chooses it (NVMe base 2.0, 3.3.3).
// Bits 1:0 of the opcode tell the direction of Data: 01b host to controller, 10b controller to host.
type Command struct {
	Queue    Queue
	Opcode   uint8
	NSID     uint32
	CDW2     uint32
	CDW3     uint32
	CDW10    uint32
	CDW11    uint32
	CDW12    uint32
	CDW13    uint32
	CDW14    uint32
	CDW15    uint32
	Data     []byte
	Metadata []byte
	Timeout  time.Duration // MUST be positive
}

// Completion is the controller's answer. Status 0 says only that the command was completed: an
// operation which the controller goes on with by itself is judged by its log page.
type Completion struct {
	Status uint16 // DW3 bits 31:17: status code, status code type, CRD, more, do not retry
	Result uint64 // DW0, and DW1 for commands that use both
}
