package devices

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// sgIO is the request of SG_IO version 3 (scsi/sg.h).
const sgIO = 0x2285

// sgHeader is struct sg_io_hdr. Addresses are pointers, so that the garbage collector sees what
// the kernel is given.
type sgHeader struct {
	interfaceID  int32 // 'S'
	direction    int32
	cmdLen       uint8
	maxSenseLen  uint8
	iovecCount   uint16
	dataLen      uint32
	data         unsafe.Pointer
	cmd          unsafe.Pointer
	sense        unsafe.Pointer
	timeout      uint32 // milliseconds; 0 would be the kernel's own 60 s
	flags        uint32
	packID       int32
	usr          unsafe.Pointer
	status       uint8
	maskedStatus uint8
	msgStatus    uint8
	senseLen     uint8
	hostStatus   uint16
	driverStatus uint16
	residual     int32
	duration     uint32
	info         uint32
}

// The directions of sg_io_hdr.
const (
	sgNone    = -1
	sgToDev   = -2
	sgFromDev = -3
)

// senseSize holds every sense format that the kernel returns.
const senseSize = 252

// header makes the kernel's request of a command. The sense buffer belongs to it.
func header(c *scsi.Command, sense []byte) (sgHeader, error) {
	if n := len(c.CDB); n != 6 && n != 10 && n != 12 && n != 16 && n != 32 {
		return sgHeader{}, fmt.Errorf("SCSI command descriptor block of %d bytes", n)
	}
	ms, err := milliseconds(c.Timeout)
	if err != nil {
		return sgHeader{}, fmt.Errorf("SCSI command %02xh: %w", c.CDB[0], err)
	}
	h := sgHeader{
		interfaceID: 'S', direction: sgNone, cmdLen: uint8(len(c.CDB)), cmd: unsafe.Pointer(&c.CDB[0]),
		maxSenseLen: uint8(len(sense)), sense: unsafe.Pointer(&sense[0]), timeout: ms,
	}
	if c.Direction == scsi.NoData != (len(c.Data) == 0) {
		return sgHeader{}, fmt.Errorf("SCSI command %02xh: %d bytes of data in direction %d", c.CDB[0], len(c.Data), c.Direction)
	}
	if len(c.Data) > 0 {
		h.data, h.dataLen, h.direction = unsafe.Pointer(&c.Data[0]), uint32(len(c.Data)), sgFromDev
		if c.Direction == scsi.DataOut {
			h.direction = sgToDev
		}
	}
	return h, nil
}

// SCSI implements Transport by SG_IO.
func (n *node) SCSI(ctx context.Context, c *scsi.Command) (scsi.Result, error) {
	if n.bus != busSCSI {
		return scsi.Result{}, fmt.Errorf("%s: SCSI: %w", n.name, ErrNoDoor)
	}
	if err := ctx.Err(); err != nil {
		return scsi.Result{}, context.Cause(ctx)
	}
	sense := make([]byte, senseSize)
	h, err := header(c, sense)
	if err != nil {
		return scsi.Result{}, err
	}
	err = ioctl(n.file.Fd(), sgIO, unsafe.Pointer(&h))
	runtime.KeepAlive(c)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return scsi.Result{}, &CapabilityError{Op: fmt.Sprintf("SCSI command %02xh on %s", c.CDB[0], n.name), Capability: "CAP_SYS_RAWIO", Err: err}
	case errors.Is(err, unix.ENOTTY):
		return scsi.Result{}, fmt.Errorf("%s: SCSI: %w", n.name, ErrNoDoor)
	case err != nil:
		return scsi.Result{}, wrapGone(fmt.Errorf("SCSI command %02xh on %s: %w", c.CDB[0], n.name, err))
	}
	return scsi.Result{
		Status: h.status, Sense: sense[:min(int(h.senseLen), len(sense))], HostStatus: h.hostStatus, DriverStatus: h.driverStatus,
		Transferred: max(0, int(h.dataLen)-int(h.residual)),
	}, nil
}
