package virtual

import (
	"encoding/binary"
	"slices"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// The bits of the second byte of a format's parameter list.
const (
	formatOptionsValid = 1 << 7
	formatOptions      = 1<<6 | 1<<5 | 1<<4 | 1<<3 // of which each wants it
	formatPattern      = 1 << 3
	formatImmediate    = 1 << 1
)

// formatUnit is FORMAT UNIT (SBC-4 5.4): it writes what the host can address, and gives the unit the
// shape that a MODE SELECT asked for. A fast format writes nothing.
func (d *drive) formatUnit(t *transport, c *scsi.Command) (scsi.Result, error) {
	cdb, u := c.CDB, d.unit(t)
	fast := cdb[4] & 3
	_, refused := d.faults().find(SanitizeRefused)
	if refused || d.faults().has(Refuse, "format") || fast == 3 {
		return illegal(0x24), nil
	}
	if d.memory.TCG.locked() {
		return accessDenied.check(), nil
	}
	o := operation{Kind: kindFormat, Visible: true, Quick: fast != 0, Shape: u.Next}
	immediate, initialize, transferred := false, false, 0
	if cdb[1]&(1<<4) != 0 { // FMTDATA
		list, bad := d.formatList(t, c)
		if bad != nil {
			return bad.check(), nil
		}
		o.Pattern, immediate, initialize, transferred = list.pattern, list.immediate, list.initialize, list.length
	}
	if cdb[1]&0xc0 != 0 && !initialize {
		return illegal(0x24), nil // no protection information
	}
	o.Visible = !initialize
	if o.Shape == nil {
		o.Shape = &shape{u.Block, u.Blocks}
	}
	if d.faults().has(Lie, LieIgnored) {
		return scsi.Result{Transferred: transferred}, nil
	}
	if err := d.start(d.memory.unitOf(t.space), "04", o, func(u *unit) { u.Format = "" }); err != nil {
		return scsi.Result{}, err
	}
	return d.await(t, c, immediate, transferred)
}

// formatList is a parameter list of FORMAT UNIT.
type formatList struct {
	pattern               []byte
	immediate, initialize bool
	length                int
}

func (d *drive) formatList(t *transport, c *scsi.Command) (l formatList, bad *sense) {
	field := &sense{key: 5, asc: 0x26}
	list := out(c, len(c.Data))
	header := 4
	if c.CDB[1]&(1<<5) != 0 { // LONGLIST
		header = 8
	}
	if len(list) < header {
		return l, &sense{key: 5, asc: 0x1a}
	}
	options := list[1]
	defects := uint32(binary.BigEndian.Uint16(list[2:]))
	if header == 8 {
		defects = binary.BigEndian.Uint32(list[4:])
	}
	if options&formatOptionsValid == 0 && options&formatOptions != 0 || defects != 0 {
		return l, field
	}
	l.immediate, l.length = options&formatImmediate != 0, header
	if options&formatPattern != 0 {
		if len(list) < header+4 {
			return l, &sense{key: 5, asc: 0x1a}
		}
		descriptor := list[header:]
		n := int(binary.BigEndian.Uint16(descriptor[2:]))
		if descriptor[1] > 1 || descriptor[1] == 0 && n != 0 || descriptor[1] == 1 && (n < 1 || n > d.unit(t).Block) || len(descriptor) < 4+n {
			return l, field
		}
		l.pattern, l.initialize = slices.Clone(descriptor[4:4+n]), descriptor[0]&(1<<5) != 0
		l.length += 4 + n
	}
	if !l.initialize && list[0]&7 != 0 {
		return l, field // no protection information
	}
	return l, nil
}
