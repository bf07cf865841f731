package virtual

import (
	"encoding/binary"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// logSense is LOG SENSE (SPC-5 6.8) of temperature and of the background scan, which knows the hours
// that the drive had power.
func (d *drive) logSense(c *scsi.Command) scsi.Result {
	be, code := binary.BigEndian, c.CDB[2]&0x3f
	var body []byte
	switch {
	case c.CDB[3] != 0, d.faults().has(LogMissing, "smart"):
		return illegal(0x24)
	case code == 0x00:
		body = []byte{0x00, 0x0d, 0x0e, 0x15, 0x19}
	case code == 0x0d:
		body = []byte{0, 0, 3, 2, 0, byte(d.temperature()), 0, 1, 3, 2, 0, warm}
	case code == 0x0e && d.profile.Media == devices.MediaMagnetic:
		body = append([]byte{0, 4, 3, 4}, be.AppendUint32(nil, uint32(d.powerCycles()))...)
	case code == 0x19:
		var err error
		if body, err = d.generalStatistics(); err != nil {
			return sense{key: 4, asc: 0x44}.check()
		}
	case code == 0x15:
		body = append([]byte{0, 0, 3, 12}, make([]byte, 12)...)
		be.PutUint32(body[4:], uint32(d.memory.Hours*60))
	default:
		return illegal(0x24)
	}
	page := append([]byte{code, 0, 0, byte(len(body))}, body...)
	if d.faults().has(LogZero, "smart") {
		clear(page)
	}
	return in(c, int(be.Uint16(c.CDB[7:])), page)
}

// defects is READ DEFECT DATA(12) (SBC-4 5.20): the grown defects; the drive left its factory with none.
func (d *drive) defects(c *scsi.Command) scsi.Result {
	be, flags := binary.BigEndian, c.CDB[1]&0x1f
	size := map[byte]int{0: 4, 3: 8, 4: 8, 5: 8}[flags&7]
	if size == 0 {
		return illegal(0x24)
	}
	list := make([]byte, 8)
	list[1] = flags
	if flags&(1<<3) != 0 {
		for n := range d.info.Spec.GrownDefects {
			entry := make([]byte, size)
			be.PutUint32(entry[size-4:], uint32(n*1000+7))
			list = append(list, entry...)
		}
	}
	be.PutUint32(list[4:], uint32(len(list)-8))
	return in(c, int(be.Uint32(c.CDB[6:])), list)
}

// reservations is PERSISTENT RESERVE IN (SPC-5 6.16): keys, and the reservation.
func (d *drive) reservations(c *scsi.Command) scsi.Result {
	be := binary.BigEndian
	page := make([]byte, 8)
	if d.reserved() {
		be.PutUint32(page, 1)
		key, _ := d.info.Spec.reservation() // it was checked when the drive was added
		page = be.AppendUint64(page, key)
		if c.CDB[1]&0x1f == 1 {
			page = append(page, 0, 0, 0, 0, 0, 1, 0, 0) // write exclusive
		}
	}
	be.PutUint32(page[4:], uint32(len(page)-8))
	return in(c, int(be.Uint16(c.CDB[7:])), page)
}

// elements is GET PHYSICAL ELEMENT STATUS (SBC-4 5.9): the heads of a disk, all of them well.
func (d *drive) elements() []byte {
	be := binary.BigEndian
	page := make([]byte, 32)
	if d.profile.Media == devices.MediaMagnetic {
		for n := range 4 {
			e := make([]byte, 32)
			be.PutUint32(e[4:], uint32(n+1))
			e[14], e[15] = 1, 0x10
			page = append(page, e...)
		}
	}
	count := uint32(len(page)/32 - 1)
	be.PutUint32(page, count)
	be.PutUint32(page[4:], count)
	return page
}
