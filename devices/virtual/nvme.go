package virtual

import (
	"errors"
	"slices"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// The statuses that this controller answers with (NVMe base 2.0, figures 94 and 95).
const (
	scInvalidOpcode       = 0x01
	scInvalidField        = 0x02
	scInternalError       = 0x06
	scInvalidNamespace    = 0x0b
	scSanitizeFailed      = 0x1c
	scSanitizeRunning     = 0x1d
	scWriteProtected      = 0x20
	scLBAOutOfRange       = 0x80
	scReservationConflict = 0x83
	scFormatInProgress    = 0x84
	scInvalidLogPage      = 0x109
	scInvalidFormat       = 0x10a
	scSanitizeProhibited  = 0x123 // while a persistent memory region is enabled
	scWriteFault          = 0x280

	scFirmwareNeedsReset           = 0x10b
	scFirmwareNeedsSubsystemReset  = 0x110
	scFirmwareNeedsControllerReset = 0x111

	scReadError       = 0x281
	scAccessDenied    = 0x286 // to blocks, for lack of access rights
	scOperationDenied = 0x15  // the same of a command
	scCommandSequence = 0x0c
	scDoNotRetry      = 0x4000
)

// nvme is the drive's NVMe door: the controller behind a namespace's node.
func (d *drive) nvme(t *transport, c *nvme.Command) (nvme.Completion, error) {
	if c.Queue == 1 {
		return d.nvmeIO(t, c)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.arrive(t); err != nil {
		return nvme.Completion{}, err
	}
	if err := d.recall(nil); err != nil {
		return nvme.Completion{}, err
	}
	status, err := d.admin(t, c)
	if err != nil {
		return nvme.Completion{}, err
	}
	if d.resets(t) {
		// The answer is lost, what was done is done. It happens once.
		return nvme.Completion{}, errors.Join(syscall.EINTR, d.tcgReset(), d.rack.dropFaults(d.info.Name, Reset))
	}
	if status != 0 {
		status |= scDoNotRetry
	}
	return nvme.Completion{Status: status}, nil
}

// resets says whether the controller is reset in this command.
func (d *drive) resets(t *transport) bool {
	if t.access != devices.Exclusive {
		return false
	}
	d.command++
	f, ok := d.faults().find(Reset)
	if !ok || d.command != f.Count {
		return false
	}
	d.alarms++
	d.info.Faults = slices.DeleteFunc(d.info.Faults, func(f Fault) bool { return f.Kind == Reset })
	return true
}

func (d *drive) admin(t *transport, c *nvme.Command) (status uint16, err error) {
	switch c.Opcode {
	case 0x02:
		return d.logPage(c), nil
	case 0x06:
		return d.identify(t, c), nil
	case 0x81, 0x82:
		return d.nvmeSecurity(t, c)
	case 0x80:
		return d.format(t, c)
	case 0x84:
		if t.access != devices.Exclusive {
			return 0, syscall.EACCES
		}
		return d.sanitize(c)
	}
	return scInvalidOpcode, nil
}

const firmware = "VIRT1.0"

func nqn(serial string) string { return "nqn.2014.08.org.nvmexpress:virtual:" + serial }

// nvmeIO carries the I/O commands, by the way that block requests take.
func (d *drive) nvmeIO(t *transport, c *nvme.Command) (nvme.Completion, error) {
	if c.NSID != t.space.NSID {
		return nvme.Completion{}, syscall.EINVAL // the kernel sends a namespace's node that namespace's commands only
	}
	switch c.Opcode {
	case 0x0e, 0x79, 0x7a:
		return d.nvmeManage(t, c)
	case 0x7d:
		if !d.profile.zoned {
			return nvme.Completion{Status: scInvalidOpcode | scDoNotRetry}, nil
		}
	}
	d.mu.Lock()
	block := int64(d.memory.blockOf(t.space))
	d.mu.Unlock()
	off := int64(uint64(c.CDW10)|uint64(c.CDW11)<<32) * block
	if c.Opcode != 0 && int64(len(c.Data)) != (int64(c.CDW12&0xffff)+1)*block {
		return nvme.Completion{Status: scInvalidField | scDoNotRetry}, nil
	}
	var err error
	var result uint64
	failed := uint16(scReadError)
	switch c.Opcode {
	case 0x00:
		err = d.flush(t)
	case 0x01, 0x7d:
		if t.access != devices.Exclusive {
			return nvme.Completion{}, syscall.EACCES
		}
		failed = scWriteFault
		if c.Opcode == 0x7d {
			off, err = d.appendTo(t, c.Data, off)
			result = uint64(off / block)
		} else {
			_, err = d.writeAt(t, c.Data, off)
		}
		if err == nil && c.CDW12&(1<<30) != 0 {
			err = d.flush(t)
		}
	case 0x02:
		_, err = d.readAt(t, c.Data, off)
	default:
		return nvme.Completion{Status: scInvalidOpcode | scDoNotRetry}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var zone zoneError
	switch {
	case err == nil:
		return nvme.Completion{Result: result}, nil
	case off < 0 || off+int64(len(c.Data)) > t.space.SizeBytes:
		return nvme.Completion{Status: scLBAOutOfRange | scDoNotRetry}, nil
	case errors.As(err, &zone):
		return nvme.Completion{Status: uint16(zone) | scDoNotRetry}, nil
	case errors.Is(err, syscall.EBADE):
		return nvme.Completion{Status: scReservationConflict | scDoNotRetry}, nil
	case err == errIO && d.formatting():
		return nvme.Completion{Status: scFormatInProgress}, nil
	case err == errIO && (d.memory.Units[0].Operation != nil || d.memory.Units[0].Verifying && c.Opcode == 0x01):
		return nvme.Completion{Status: scSanitizeRunning | scDoNotRetry}, nil
	case err == errIO && d.memory.Units[0].FailureMode:
		return nvme.Completion{Status: scSanitizeFailed | scDoNotRetry}, nil
	case errors.Is(err, errLocked):
		return nvme.Completion{Status: scAccessDenied | scDoNotRetry}, nil
	case err == errIO:
		return nvme.Completion{Status: failed}, nil
	}
	return nvme.Completion{}, err
}
