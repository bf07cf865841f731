package devices

import (
	"context"
	"io"

	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// Transport is what the kernel offers for one open node: two raw command doors and block I/O as
// a queue. It is the seam of the whole program: a real node and a virtual drive differ only in
// the Opener that made it.
//
// A door that the node does not have answers ErrNoDoor, and nothing was sent. Implementations
// MUST NOT translate one door into another.
type Transport interface {
	// SCSI sends one command descriptor block and returns status and sense as the drive gave
	// them. An error means that the command's fate is unknown, unless it is ErrNoDoor.
	SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error)

	// NVMe sends one admin or I/O command. An error means that the command's fate is unknown,
	// unless it is ErrNoDoor.
	NVMe(ctx context.Context, c *nvme.Command) (nvme.Completion, error)

	// Queue opens a queue of block I/O that holds up to depth requests in flight. Each queue
	// belongs to the one goroutine that submits to it. Closing the queue leaves the node open.
	Queue(depth int) (blockio.Queue, error)

	// Geometry asks the open node for its size and block sizes, anew at each call. A drive that
	// has gone answers ErrGone.
	Geometry(ctx context.Context) (Geometry, error)

	// Number is the device number of the open node, by which sysfs names it.
	Number() Number

	// DropCaches makes later reads come from the drive and not from the host's memory.
	DropCaches(ctx context.Context) error

	// Rescan has the kernel read the drive's size anew, after a command that changed it. The error
	// is errors.ErrUnsupported for a node whose size cannot change so.
	Rescan(ctx context.Context) error

	io.Closer
}

// Access says how a node is opened.
type Access int

// The ways to open a node.
const (
	ReadOnly  Access = iota // shared, for identification and partition tables
	Exclusive               // read and write, O_EXCL: held for a whole job
)

// Opener opens the node, a path below the host's root such as "/dev/sda". It fails with an
// *InUseError when the node is claimed by another and access is Exclusive.
type Opener func(ctx context.Context, node string, access Access) (Transport, error)
