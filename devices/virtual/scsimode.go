package virtual

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// modePages are the mode pages that the drive has, with nothing in them that can be changed.
var modePages = map[byte][]byte{
	0x01: append([]byte{0x01, 10}, make([]byte, 10)...),
	0x08: append([]byte{0x08, 18, 1 << 2}, make([]byte, 17)...), // the write cache is on
	0x0a: append([]byte{0x0a, 10}, make([]byte, 10)...),
	0x18: append([]byte{0x18, 6, 6}, make([]byte, 5)...),
	0x19: append([]byte{0x19, 6, 6}, make([]byte, 5)...),
	0x1c: append([]byte{0x1c, 10}, make([]byte, 10)...),
}

// modeSense is MODE SENSE(6) and (10) (SPC-5 6.14, 6.15).
func (d *drive) modeSense(t *transport, c *scsi.Command) scsi.Result {
	cdb, be := c.CDB, binary.BigEndian
	data := make([]byte, 8)
	if d.info.Spec.ReadOnly {
		data[3] = 1 << 7
	}
	if cdb[1]&(1<<3) == 0 {
		descriptor := d.blockDescriptor(t, cdb[0] == 0x5a && cdb[1]&(1<<4) != 0)
		if len(descriptor) == 16 {
			data[4] = 1
		}
		data[7] = byte(len(descriptor))
		data = append(data, descriptor...)
	}
	code := cdb[2] & 0x3f
	page, has := modePages[code]
	switch {
	case code == 0x3f:
		for _, code := range []byte{0x01, 0x08, 0x0a, 0x18, 0x19, 0x1c} {
			data = append(data, modePages[code]...)
		}
	case !has || cdb[3] != 0:
		return illegal(0x24)
	case cdb[2]>>6 == 1: // what can be changed
		data = append(append(data, page[:2]...), make([]byte, len(page)-2)...)
	default:
		data = append(data, page...)
	}
	if cdb[0] == 0x1a {
		short := append([]byte{byte(len(data) - 5), data[2], data[3], data[7]}, data[8:]...)
		return in(c, int(cdb[4]), short)
	}
	be.PutUint16(data, uint16(len(data)-2))
	return in(c, int(be.Uint16(cdb[7:])), data)
}

// blockDescriptor is the shape of the unit, or the one that its next format gives it.
func (d *drive) blockDescriptor(t *transport, long bool) []byte {
	u := d.unit(t)
	s := shape{u.Block, u.Blocks}
	if u.Next != nil {
		s = *u.Next
	}
	if long {
		b := make([]byte, 16)
		binary.BigEndian.PutUint64(b, uint64(s.Blocks))
		binary.BigEndian.PutUint32(b[12:], uint32(s.Block))
		return b
	}
	b := make([]byte, 8)
	binary.BigEndian.PutUint32(b[4:], uint32(s.Block)) // of which the first byte is reserved
	binary.BigEndian.PutUint32(b, uint32(min(s.Blocks, 0xffffffff)))
	return b
}

// unchanged says whether what follows the block descriptor is mode pages as they are.
func unchanged(list []byte) bool {
	for len(list) > 0 {
		page, has := modePages[list[0]&0x3f]
		if !has || len(list) < len(page) || !bytes.Equal(list[1:len(page)], page[1:]) {
			return false
		}
		list = list[len(page):]
	}
	return true
}

// modeSelect is MODE SELECT(10): of the block descriptor only, which the next format brings about. Pages
// may follow it that change nothing.
func (d *drive) modeSelect(t *transport, c *scsi.Command) (scsi.Result, error) {
	be := binary.BigEndian
	length := int(be.Uint16(c.CDB[7:]))
	list := out(c, length)
	switch {
	case d.faults().has(Refuse, "mode-select"), c.CDB[1]&(1<<4) == 0, c.CDB[1]&1 != 0:
		return illegal(0x24), nil
	case length == 0:
		return scsi.Result{}, nil
	case len(list) < 8:
		return illegal(0x1a), nil
	}
	long, size := list[4]&1 != 0, int(be.Uint16(list[6:]))
	if len(list) < 8+size {
		return illegal(0x1a), nil
	}
	descriptor := list[8 : 8+size]
	if !unchanged(list[8+size:]) {
		return illegal(0x26), nil
	}
	next := shape{}
	all := false // as many as there is room for
	switch {
	case size == 0:
		return scsi.Result{Transferred: length}, nil
	case long && size == 16:
		blocks := be.Uint64(descriptor)
		all = blocks == 0 || blocks == 1<<64-1
		next = shape{int(be.Uint32(descriptor[12:])), int64(min(blocks, 1<<62))}
	case !long && size == 8:
		blocks := be.Uint32(descriptor)
		all = blocks == 0 || blocks == 0xffffffff
		next = shape{int(be.Uint32(descriptor[4:]) & 0xffffff), int64(blocks)}
	default:
		return illegal(0x26), nil
	}
	if !slices.Contains(scsiBlocks, next.Block) {
		return illegal(0x26), nil
	}
	most := t.space.SizeBytes / int64(next.Block)
	if all {
		next.Blocks = most
	}
	if next.Blocks > most {
		return illegal(0x26), nil
	}
	number := d.memory.unitOf(t.space)
	return scsi.Result{Transferred: length}, d.recall(func(m *memory) error { m.Units[number].Next = &next; return nil })
}
