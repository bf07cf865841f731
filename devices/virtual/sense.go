package virtual

import (
	"errors"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// sense is what a device says of a command or of itself: key, additional code and qualifier, and how
// far an operation has come, where one runs (SPC-5 4.4).
type sense struct {
	key, asc, ascq byte
	progress       *uint16
}

// bytes is the sense data in descriptor or in fixed format.
func (s sense) bytes(descriptor bool) []byte {
	var specific [3]byte
	if s.progress != nil {
		specific = [3]byte{0x80, byte(*s.progress >> 8), byte(*s.progress)}
	}
	if !descriptor {
		return append([]byte{0x70, 0, s.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, s.asc, s.ascq, 0}, specific[:]...)
	}
	data := []byte{0x72, s.key, s.asc, s.ascq, 0, 0, 0, 0}
	if s.progress != nil {
		data[7] = 8
		data = append(data, 0x02, 6, 0, 0, specific[0], specific[1], specific[2], 0)
	}
	return data
}

// check is CHECK CONDITION with sense data in fixed format.
func (s sense) check() scsi.Result {
	return scsi.Result{Status: 2, DriverStatus: 8, Sense: s.bytes(false)}
}

// illegal is ILLEGAL REQUEST: 20h for the operation code, 24h for a field of the CDB, 26h for one of
// the parameter list.
func illegal(asc byte) scsi.Result { return sense{key: 5, asc: asc}.check() }

// accessDenied is DATA PROTECT: no access rights, as blocks of a locked range answer.
var accessDenied = sense{key: 7, asc: 0x20, ascq: 0x02}

// mediumError is how a read or a write of blocks failed; the other errors are the transport's.
func (d *drive) mediumError(asc byte, err error) (scsi.Result, error) {
	if s, is := zoneSense(err, asc == 0x11); is {
		return s.check(), nil
	}
	switch {
	case errors.Is(err, errUnwritten) && d.info.Spec.WriteAfterErase == 3:
		return sense{key: 3, asc: 0x11, ascq: 0x15}.check(), nil
	case errors.Is(err, errLocked) && d.profile.translated():
		return sense{key: 0x0b}.check(), nil // the ATA command was aborted
	case errors.Is(err, errLocked):
		return accessDenied.check(), nil
	case errors.Is(err, errIO):
		return sense{key: 3, asc: asc}.check(), nil
	}
	return scsi.Result{}, err
}

// in answers a data-in command.
func in(c *scsi.Command, allocated int, data []byte) scsi.Result {
	return scsi.Result{Transferred: copy(c.Data[:min(len(c.Data), allocated)], data)}
}

// out is the parameter list of a data-out command; nil when the host sent less than its CDB says.
func out(c *scsi.Command, length int) []byte {
	if length > len(c.Data) {
		return nil
	}
	return c.Data[:length]
}
