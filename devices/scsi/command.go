// Package scsi encodes SCSI commands into CDBs and decodes what drives answer. It knows nothing
// of kernels: a command travels through whatever implements the SCSI door of devices.Transport.
package scsi

import "time"

// Direction of a command's data, seen from the host.
type Direction int

// The directions of SPC-5 4.2: no data, data-in (drive to host), data-out (host to drive).
const (
	NoData Direction = iota
	DataIn
	DataOut
)

// Command is one command descriptor block with its data buffer.
type Command struct {
	CDB       []byte        // 6, 10, 12, 16 or up to 260 bytes (SPC-5 4.2.2)
	Direction Direction     // of Data
	Data      []byte        // data-in is filled up to the Result's Transferred
	Timeout   time.Duration // MUST be positive: a kernel takes 0 for its own default of 60 s
}

// Result is a drive's answer. A Result without sense data is not a success by itself: the caller
// compares Status, host status and Transferred with what the command requires.
type Result struct {
	Status       byte   // SAM-6 5.3: 00h GOOD, 02h CHECK CONDITION, …
	Sense        []byte // as returned, fixed or descriptor format (SPC-5 4.4); empty when none came
	HostStatus   uint16 // the kernel's account of the transport; 0 is good
	DriverStatus uint16 // 08h only says that sense data is there
	Transferred  int    // bytes of Data that moved
}
