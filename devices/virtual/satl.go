package virtual

import (
	"encoding/binary"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// translate carries a SCSI command out as the translation in front of a SATA drive does (SAT-4).
func (d *drive) translate(t *transport, c *scsi.Command) (scsi.Result, error) {
	cdb := c.CDB
	if n := map[byte]int{0: 6, 1: 10, 2: 10, 4: 16, 5: 12}[cdb[0]>>5]; n != len(cdb) {
		return illegal(0x24), nil
	}
	switch cdb[0] {
	case 0x00:
		return d.testUnit(), nil
	case 0x03:
		return in(c, int(cdb[4]), sense{}.bytes(cdb[1]&1 != 0)), nil
	case 0x12:
		return d.inquiry(t, c), nil
	case 0x1a, 0x5a:
		return d.modeSense(t, c), nil
	case 0x25, 0x28, 0x2a, 0x35, 0x88, 0x8a, 0x91, 0x9e, 0xa0:
		return d.blockCommand(t, c)
	case 0x94, 0x95:
		return d.translateZones(t, c)
	case 0xa1, 0x85:
		return d.passThrough(t, c)
	case 0xa2:
		if c.CDB[1] != 0xef && d.memory.TCG != nil {
			return d.scsiSecurityIn(c)
		}
		return d.securityIn(c), nil
	case 0xb5:
		if c.CDB[1] != 0xef && d.memory.TCG != nil {
			return d.scsiSecurityOut(c)
		}
		return d.securityOut(t, c)
	}
	return illegal(0x20), nil
}

// testUnit is TEST UNIT READY: a locked drive, or one that erases itself, is not.
func (d *drive) testUnit() scsi.Result {
	switch u := &d.memory.Units[0]; {
	case d.memory.Power.Locked:
		return sense{key: 5, asc: 0x74, ascq: 0x71}.check()
	case u.Operation != nil && u.Operation.Security:
		return sense{key: 2, asc: 0x04, ascq: 0x07}.check()
	case u.Operation != nil:
		return sense{key: 2, asc: 0x04, ascq: 0x1b}.check()
	}
	return scsi.Result{}
}

// registers of an ATA drive, in and out.
type registers struct {
	feature, count uint16
	lba            uint64
	device         byte
	extend         bool
	status         byte
	failure        byte // the error register
	lost           bool // a fault: they come back as zeros
}

// passThrough takes an ATA command out of its CDB, 12 or 16 bytes long, and has the drive carry it out.
func (d *drive) passThrough(t *transport, c *scsi.Command) (scsi.Result, error) {
	b := c.CDB
	g, opcode := registers{}, byte(0)
	if b[0] == 0xa1 {
		g = registers{feature: uint16(b[3]), count: uint16(b[4]), lba: uint64(b[5]) | uint64(b[6])<<8 | uint64(b[7])<<16, device: b[8]}
		opcode = b[9]
	} else {
		g = registers{feature: uint16(b[4]), count: uint16(b[6]), lba: uint64(b[8]) | uint64(b[10])<<8 | uint64(b[12])<<16, device: b[13], extend: b[1]&1 != 0}
		opcode = b[14]
	}
	if g.extend {
		g.feature |= uint16(b[3]) << 8
		g.count |= uint16(b[5]) << 8
		g.lba |= uint64(b[7])<<24 | uint64(b[9])<<32 | uint64(b[11])<<40
	}
	protocol, ck := b[1]>>1&0x0f, b[2]&(1<<5) != 0
	if opcode >= 0xf1 && opcode <= 0xf6 && d.info.Spec.FilterSecurity {
		return illegal(0x24), nil
	}
	if opcode >= trustedReceive && opcode <= trustedSendDMA && d.info.Spec.FilterTrusted {
		return illegal(0x24), nil
	}
	if protocol == nonData {
		if d.faults().has(HBAZero, "count") {
			g.count = 0
		}
		if d.faults().has(HBAZero, "lba") {
			g.lba = 0
		}
	}
	data, err := d.ata(t, opcode, protocol, &g, c.Data)
	if err != nil {
		return scsi.Result{}, err
	}
	r := scsi.Result{}
	switch {
	case g.failure != 0:
	case data != nil:
		r = in(c, len(c.Data), data)
	case protocol == pioOut, opcode == trustedSendDMA:
		r.Transferred = len(c.Data)
	}
	return d.withRegisters(r, &g, ck), nil
}

// withRegisters answers as the translation does: registers when they were asked for or the command
// failed.
func (d *drive) withRegisters(r scsi.Result, g *registers, ck bool) scsi.Result {
	g.status = 0x50
	if g.failure != 0 {
		g.status = 0x51
	}
	switch {
	case g.failure == 0 && !ck:
		return r
	case d.profile.drops || d.faults().has(Registers, "none"):
		if ck {
			return r // nothing is told, whatever came of it
		}
		return sense{key: 0x0b}.check()
	}
	r.Status, r.DriverStatus = 2, 8
	s := sense{key: 1, ascq: 0x1d}
	if g.failure != 0 {
		s = sense{key: 0x0b}
	}
	if g.lost || d.faults().has(Registers, "zero") {
		*g = registers{}
	}
	if d.info.Spec.FixedSense {
		r.Sense = g.fixed(s)
	} else {
		r.Sense = g.descriptor(s)
	}
	return r
}

// descriptor is the ATA return descriptor (SAT-4 12.2.2.6).
func (g *registers) descriptor(s sense) []byte {
	count, lba, extend := g.count, g.lba, byte(1)
	if !g.extend {
		count, lba, extend = count&0xff, lba&0xffffff, 0
	}
	return []byte{
		0x72, s.key, s.asc, s.ascq, 0, 0, 0, 14, 0x09, 12, extend, g.failure, byte(count >> 8), byte(count),
		byte(lba >> 24), byte(lba), byte(lba >> 32), byte(lba >> 8), byte(lba >> 40), byte(lba >> 16), g.device, g.status,
	}
}

// fixed is the fixed format, which has no room for the upper half of most registers (SAT-4 12.2.2.7).
func (g *registers) fixed(s sense) []byte {
	flags := byte(0)
	if g.extend {
		flags |= 1 << 7
	}
	if g.count>>8 != 0 {
		flags |= 1 << 6
	}
	if g.lba>>24 != 0 {
		flags |= 1 << 5
	}
	code := byte(0x70)
	if g.failure != 0 {
		code |= 0x80 // the information field is valid
	}
	return []byte{code, 0, s.key, g.failure, g.status, g.device, byte(g.count), 10, flags, byte(g.lba), byte(g.lba >> 8), byte(g.lba >> 16), s.asc, s.ascq, 0, 0, 0, 0}
}

// securityIn and securityOut are the translation's security protocol EFh, which stands for the
// commands of ATA Security (SAT-4 12.5).
func (d *drive) securityIn(c *scsi.Command) scsi.Result {
	if c.CDB[1] != 0xef || !d.secured() {
		return illegal(0x24)
	}
	if c.CDB[2] != 0 || c.CDB[3] != 0 {
		return illegal(0x24)
	}
	m, info := d.memory, make([]byte, 16)
	info[1] = 0x0e
	normal, enhanced := d.securityTimes()
	binary.BigEndian.PutUint16(info[2:], normal)
	binary.BigEndian.PutUint16(info[4:], enhanced)
	binary.BigEndian.PutUint16(info[6:], m.ATA.MasterID)
	if m.ATA.Maximum {
		info[8] = 1
	}
	info[9] = byte(d.securityState() & 0x3f)
	return in(c, int(binary.BigEndian.Uint32(c.CDB[6:])), info)
}

func (d *drive) securityOut(t *transport, c *scsi.Command) (scsi.Result, error) {
	function := binary.BigEndian.Uint16(c.CDB[2:])
	if c.CDB[1] != 0xef || !d.secured() || function < 1 || function > 6 || c.CDB[4]&(1<<7) != 0 {
		return illegal(0x24), nil
	}
	length := int(binary.BigEndian.Uint32(c.CDB[6:]))
	if want := []int{1: 36, 2: 36, 3: 0, 4: 36, 5: 0, 6: 36}[function]; length != want {
		return illegal(0x24), nil
	}
	list, block := []byte{}, []byte(nil)
	protocol := byte(nonData)
	if length > 0 {
		if list = out(c, length); list == nil {
			return illegal(0x1a), nil
		}
		protocol, block = pioOut, make([]byte, 512)
		block[0] = list[1] & 1 // whose password
		copy(block[2:34], list[2:34])
		switch function {
		case 1:
			block[1] = list[0] & 1 // maximum capability
			block[34], block[35] = list[35], list[34]
		case 4:
			block[0] |= list[0] & 1 << 1 // enhanced
		}
	}
	g := registers{}
	if _, err := d.ata(t, 0xf0+byte(function), protocol, &g, block); err != nil {
		return scsi.Result{}, err
	}
	r := scsi.Result{Transferred: length}
	if g.failure != 0 {
		r.Transferred = 0
	}
	return d.withRegisters(r, &g, false), nil
}
