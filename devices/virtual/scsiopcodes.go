package virtual

import (
	"encoding/binary"
	"slices"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// scsiCommand is a command that a SCSI drive has.
type scsiCommand struct {
	opcode  byte
	action  int // service action; -1 when it has none
	length  int // of the CDB
	always  bool
	changes bool // the medium, or what it is to become
}

// commands lists what the drive has; those of its erases only where it can. always are those that
// neither a unit attention nor an erase holds back.
func (d *drive) commands() []scsiCommand {
	list := []scsiCommand{
		{opcode: 0x00, action: -1, length: 6},
		{opcode: 0x03, action: -1, length: 6, always: true},
		{opcode: 0x12, action: -1, length: 6, always: true},
		{opcode: 0x1a, action: -1, length: 6},
		{opcode: 0x25, action: -1, length: 10},
		{opcode: 0x28, action: -1, length: 10},
		{opcode: 0x2a, action: -1, length: 10, changes: true},
		{opcode: 0x35, action: -1, length: 10},
		{opcode: 0x5a, action: -1, length: 10},
		{opcode: 0x88, action: -1, length: 16},
		{opcode: 0x8a, action: -1, length: 16, changes: true},
		{opcode: 0x91, action: -1, length: 16},
		{opcode: 0x9e, action: 0x10, length: 16},
		{opcode: 0xa0, action: -1, length: 12, always: true},
	}
	if d.memory.TCG != nil {
		list = append(list, scsiCommand{opcode: 0xa2, action: -1, length: 12}, scsiCommand{opcode: 0xb5, action: -1, length: 12})
	}
	if !d.profile.Format {
		return list
	}
	list = append(list,
		scsiCommand{opcode: 0x04, action: -1, length: 6, changes: true},
		scsiCommand{opcode: 0x4d, action: -1, length: 10},
		scsiCommand{opcode: 0x55, action: -1, length: 10, changes: true},
		scsiCommand{opcode: 0x5e, action: 0, length: 10},
		scsiCommand{opcode: 0x5e, action: 1, length: 10},
		scsiCommand{opcode: 0x9e, action: 0x17, length: 16},
		scsiCommand{opcode: 0xb7, action: -1, length: 12})
	if d.profile.zoned {
		list = append(list, scsiCommand{opcode: 0x94, action: zoneFinish, length: 16, changes: true},
			scsiCommand{opcode: 0x94, action: zoneReset, length: 16, changes: true}, scsiCommand{opcode: 0x95, action: 0, length: 16})
	}
	if !d.info.Spec.NoOpcodeReports {
		list = append(list, scsiCommand{opcode: 0xa3, action: 0x0c, length: 12})
	}
	for _, action := range d.sanitizeActions() {
		list = append(list, scsiCommand{opcode: 0x48, action: action, length: 10, changes: true})
	}
	return list
}

// sanitizeActions are the service actions of SANITIZE that the drive has.
func (d *drive) sanitizeActions() []int {
	var list []int
	for action, kind := range map[int]string{1: kindOverwrite, 2: kindBlock, 3: kindCrypto} {
		if slices.Contains(d.info.Spec.Sanitize, kind) {
			list = append(list, action)
		}
	}
	if len(list) > 0 {
		list = append(list, 0x1f)
	}
	slices.Sort(list)
	return list
}

// knows says whether the drive has any command of an operation code.
func (d *drive) knows(opcode byte) bool {
	return slices.ContainsFunc(d.commands(), func(c scsiCommand) bool { return c.opcode == opcode })
}

// commandOf is the command that a CDB names.
func (d *drive) commandOf(cdb []byte) (scsiCommand, bool) {
	return d.lookUp(cdb[0], int(cdb[1]&0x1f))
}

func (d *drive) lookUp(opcode byte, action int) (scsiCommand, bool) {
	list := d.commands()
	at := slices.IndexFunc(list, func(c scsiCommand) bool { return c.opcode == opcode && (c.action == action || c.action < 0) })
	if at < 0 {
		return scsiCommand{}, false
	}
	return list[at], true
}

// opcodes is REPORT SUPPORTED OPERATION CODES (SPC-5 6.34).
func (d *drive) opcodes(c *scsi.Command) scsi.Result {
	be, cdb := binary.BigEndian, c.CDB
	allocated := int(be.Uint32(cdb[6:]))
	opcode, action := cdb[3], int(be.Uint16(cdb[4:]))
	option := cdb[2] & 7
	if option == 0 {
		list := make([]byte, 4)
		for _, k := range d.commands() {
			entry := []byte{k.opcode, 0, 0, 0, 0, 0, 0, byte(k.length)}
			if k.action >= 0 {
				entry[3], entry[5] = byte(k.action), 1
			}
			list = append(list, entry...)
		}
		be.PutUint32(list, uint32(len(list)-4))
		return in(c, allocated, list)
	}
	found, has := d.lookUp(opcode, action)
	actions := slices.ContainsFunc(d.commands(), func(k scsiCommand) bool { return k.opcode == opcode && k.action >= 0 })
	switch {
	case option > 3, option == 1 && actions, option == 2 && has && found.action < 0:
		return illegal(0x24)
	case !has || found.action < 0 && option == 3 && action != 0:
		return in(c, allocated, []byte{0, 1, 0, 0})
	}
	reply := make([]byte, 4+found.length)
	reply[1], reply[3] = 3, byte(found.length)
	for i := range found.length {
		reply[4+i] = 0xff
	}
	reply[4] = opcode
	if found.action >= 0 { // the service action stands where it does in the CDB
		reply[5] = 0xe0 | byte(found.action)
		if opcode == 0x48 && d.info.Spec.ZonesReset {
			reply[5] &^= 1 << 6 // ZNR
		}
	}
	return in(c, allocated, reply)
}
