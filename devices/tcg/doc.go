// Package tcg speaks to the trusted peripheral (TPer) of a self-encrypting drive: it asks what it is
// (Level 0 discovery), opens sessions, and calls the methods by which keys are destroyed (TCG Storage
// Architecture Core Specification 2.01, the Opal SSC 2.30, and the Enterprise SSC). It knows nothing of
// kernels and command sets: whatever carries the two security commands is a Door.
//
// Nothing that a TPer answers is trusted. What is cut short, blank, addressed to another session or
// against the grammar is an error, and an error after a command was sent means that what became of it is
// not known, unless it is a StatusError that Refused. That a TPer reports success of a revert says that it
// took the command, and never that data are gone: that is told by Level 0 discovery afterwards
// (AfterRevert) and by what can still be read.
package tcg

import "context"

// Door carries the two security commands: IF-SEND and IF-RECV of the standard.
type Door interface {
	// Send sends data, whole blocks of 512 bytes, to a security protocol. The error is nil when the
	// drive took them; otherwise what became of them is unknown. The door keeps no reference to data.
	Send(ctx context.Context, protocol uint8, specific uint16, data []byte) error

	// Receive asks for up to size bytes, a multiple of 512, and returns what came.
	Receive(ctx context.Context, protocol uint8, specific uint16, size int) ([]byte, error)
}

// The security protocols (SPC-5 table 510; Core 3.3.4).
const (
	protocolList       = 0x00 // which protocols there are
	protocolTPer       = 0x01 // discovery, sessions
	protocolManagement = 0x02 // of ComIDs, and commands that reset
)

// The ComIDs that mean something by themselves (Opal 2.30 table 14, Block SID 1.00).
const (
	comIDDiscovery = 0x0001
	comIDBlockSID  = 0x0005
)

const block = 512
