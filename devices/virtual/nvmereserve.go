package virtual

import (
	"encoding/binary"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// reserves says whether a drive has reservations: those that other hosts may reach.
func (d *drive) reserves() bool {
	return d.profile.Protocol == devices.ProtocolNVMe && (d.profile.controllers > 1 || d.info.Spec.ReservedBy != "")
}

func (d *drive) formatting() bool {
	o := d.memory.Units[0].Operation
	return o != nil && o.Format != nil
}

// nvmeManage carries the I/O commands that move no blocks.
func (d *drive) nvmeManage(t *transport, c *nvme.Command) (nvme.Completion, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.arrive(t); err != nil {
		return nvme.Completion{}, err
	}
	if err := d.recall(nil); err != nil {
		return nvme.Completion{}, err
	}
	status, err := d.manage(t, c)
	if status != 0 {
		status |= scDoNotRetry
	}
	return nvme.Completion{Status: status}, err
}

func (d *drive) manage(t *transport, c *nvme.Command) (status uint16, err error) {
	u := d.memory.Units[0]
	switch zoned := d.profile.zoned; {
	case c.Opcode == 0x0e && !d.reserves(), c.Opcode != 0x0e && !zoned:
		return scInvalidOpcode, nil
	case d.formatting():
		return scFormatInProgress, nil
	case u.Operation != nil, u.Verifying:
		return scSanitizeRunning, nil
	case u.FailureMode:
		return scSanitizeFailed, nil
	case c.Opcode == 0x79:
		return d.manageZones(t, c)
	case c.Opcode == 0x7a:
		return d.reportZones(t, c), nil
	}
	return d.reportReservations(c), nil
}

// reportReservations is Reservation Report (NVMe base 2.1, 7.8): another host's controller, which
// holds it for its writes, and those that are registered beside it.
func (d *drive) reportReservations(c *nvme.Command) uint16 {
	if len(c.Data) < 24 || len(c.Data) != 4*(int(c.CDW10)+1) {
		return scInvalidField
	}
	clear(c.Data)
	key, err := d.info.Spec.reservation()
	if err != nil || key == 0 {
		return 0 // nobody is registered
	}
	le, extended := binary.LittleEndian, c.CDW11&1 != 0
	size, keyAt, hostAt := 24, 16, 8
	if extended {
		size, keyAt, hostAt = 64, 8, 16
	}
	n := 1 + d.info.Spec.Registrants
	page := make([]byte, size*(1+n))
	le.PutUint32(page, 1) // generation
	page[4] = 1
	le.PutUint16(page[5:], uint16(n))
	for i := range n {
		p := page[size*(1+i):]
		le.PutUint16(p, uint16(2+i))
		p[2] = flagBit(i == n-1) // holds it
		le.PutUint64(p[keyAt:], key+uint64(n-1-i))
		le.PutUint64(p[hostAt:], 0x0123456789abcdef+uint64(i))
	}
	copy(c.Data, page)
	return 0
}
