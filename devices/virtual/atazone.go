package virtual

import (
	"encoding/binary"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// translateZones is the translation's REPORT ZONES, FINISH ZONE and RESET WRITE POINTER, which it makes ZAC
// commands of (SAT-5; libata): a report is whole sectors, as many as the host has room for.
func (d *drive) translateZones(t *transport, c *scsi.Command) (scsi.Result, error) {
	if !d.profile.zoned {
		return illegal(0x20), nil
	}
	if u := &d.memory.Units[0]; u.busy() || d.memory.Power.Locked {
		return sense{key: 0x0b}.check(), nil // the drive aborts it
	}
	d.last = 0
	if c.CDB[0] == 0x94 {
		return d.zonesOut(t, c)
	}
	allocated := binary.BigEndian.Uint32(c.CDB[10:])
	switch {
	case c.CDB[1]&0x1f != 0:
		return illegal(0x24), nil
	case int(allocated) != len(c.Data) || allocated%512 != 0 || allocated == 0 || allocated/512 > 0xffff:
		return illegal(0x1a), nil
	}
	return d.zonesIn(t, c), nil
}

// zonedWord are bits 1:0 of IDENTIFY DEVICE word 69 (ACS-4): a disk that the host manages has a signature instead.
func (p Profile) zonedWord() uint64 {
	if p.zoned && p.aware {
		return 1
	}
	return 0
}
