package virtual

import (
	"encoding/binary"
	"errors"
	"slices"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// scsi is the drive's SCSI door: its own, or the translation in front of a SATA drive.
func (d *drive) scsi(t *transport, c *scsi.Command) (scsi.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.arrive(t); err != nil {
		return scsi.Result{}, err
	}
	if len(c.CDB) < 6 {
		return scsi.Result{}, syscall.EINVAL
	}
	if t.access != devices.Exclusive && changes(c.CDB) {
		return scsi.Result{}, syscall.EPERM
	}
	if err := d.recall(nil); err != nil {
		return scsi.Result{}, err
	}
	answer := d.translate
	if !d.profile.translated() {
		answer = d.obey
	}
	r, err := answer(t, c)
	if err != nil {
		return scsi.Result{}, err
	}
	if d.resets(t) {
		return scsi.Result{HostStatus: 8}, errors.Join(d.tcgReset(), d.rack.dropFaults(d.info.Name, Reset))
	}
	return r, nil
}

// changes says whether a command changes something about the drive: it wants an exclusive open.
func changes(cdb []byte) bool {
	switch cdb[0] {
	case 0x04, 0x2a, 0x48, 0x55, 0x8a, 0x94, 0xb5:
		return true
	case 0xa1, 0x85:
		opcode, feature, count := cdb[9], cdb[3], cdb[4]
		if cdb[0] == 0x85 && len(cdb) == 16 {
			opcode, feature, count = cdb[14], cdb[4], cdb[6]
		}
		switch opcode {
		case setPassword, unlock, erasePrepare, eraseUnit, freezeLock, disablePassword, setMax, setMaxExt, trustedSend, trustedSendDMA:
			return true
		case 0xb4:
			return feature != 0 || count != 0
		case accessibleMax:
			return feature != 0
		case configOverlay:
			return feature != 0xc2
		}
	}
	return false
}

// obey carries a command out as a SCSI drive does (SPC-5, SBC-4).
func (d *drive) obey(t *transport, c *scsi.Command) (scsi.Result, error) {
	cdb := c.CDB
	command, known := d.commandOf(cdb)
	switch {
	case !known && cdb[0] != 0x12 && cdb[0] != 0x00:
		if d.knows(cdb[0]) {
			return illegal(0x24), nil
		}
		return illegal(0x20), nil
	case len(cdb) != command.length:
		return illegal(0x24), nil
	}
	if !command.always {
		if t.alarms < d.alarms {
			t.alarms = d.alarms
			return sense{key: 6, asc: 0x29}.check(), nil
		}
		if s := d.barrier(t, cdb); s != nil {
			return s.check(), nil
		}
		if command.changes && d.reserved() {
			return scsi.Result{Status: 0x18}, nil
		}
		if command.changes && d.info.Spec.ReadOnly {
			return sense{key: 7, asc: 0x27}.check(), nil
		}
	}
	switch cdb[0] {
	case 0x00:
		return scsi.Result{}, nil
	case 0x03:
		return d.requestSense(t, c), nil
	case 0x04:
		return d.formatUnit(t, c)
	case 0x12:
		return d.inquiry(t, c), nil
	case 0x37, 0xb7:
		return d.defects(c), nil
	case 0x48:
		return d.scsiSanitize(t, c)
	case 0x4d:
		return d.logSense(c), nil
	case 0x55:
		return d.modeSelect(t, c)
	case 0x1a, 0x5a:
		return d.modeSense(t, c), nil
	case 0x5e:
		return d.reservations(c), nil
	case 0xa2:
		return d.scsiSecurityIn(c)
	case 0xb5:
		return d.scsiSecurityOut(c)
	case 0xa3:
		return d.opcodes(c), nil
	case 0x94:
		return d.zonesOut(t, c)
	case 0x95:
		return d.zonesIn(t, c), nil
	}
	return d.blockCommand(t, c)
}

// standing is what a unit says of itself: that an erase runs, or how one failed; nil when it is ready.
func (d *drive) standing(t *transport) *sense {
	u := d.unit(t)
	switch o := u.Operation; {
	case o != nil:
		shown, _ := o.progress(d.info, d.rack.now())
		s := &sense{key: 2, asc: 0x04, ascq: 0x1b, progress: &shown}
		if o.Kind == kindFormat {
			s.ascq = 0x04
		}
		return s
	case u.FailureMode:
		return &sense{key: 3, asc: 0x31, ascq: 0x03}
	case u.Format == "failed":
		return &sense{key: 3, asc: 0x31, ascq: 0x01}
	case u.Format != "":
		return &sense{key: 3, asc: 0x31}
	}
	return nil
}

// barrier is why a unit does not carry a command out now. While a sanitize runs or has failed it does
// what SBC-4 4.11.2 lists and no more; without a format, what a format needs.
func (d *drive) barrier(t *transport, cdb []byte) *sense {
	s := d.standing(t)
	if s == nil {
		return nil
	}
	u := d.unit(t)
	switch op := cdb[0]; {
	case op == 0x4d && cdb[2]&0x3f == 0x0d, op == 0x25, op == 0x9e && cdb[1]&0x1f == 0x10, op == 0xa3,
		op == 0x5a && slices.Contains([]byte{0x1c, 0x08, 0x0a, 0x18, 0x19}, cdb[2]&0x3f),
		op == 0x48 && u.FailureMode,
		u.Format != "" && u.Operation == nil && slices.Contains([]byte{0x04, 0x5a, 0x55, 0x4d}, op):
		return nil
	}
	return s
}

// requestSense returns what would else come with a command that fails.
func (d *drive) requestSense(t *transport, c *scsi.Command) scsi.Result {
	s := sense{}
	switch standing := d.standing(t); {
	case d.faults().has(LogMissing, "sanitize"):
		return illegal(0x20)
	case d.faults().has(LogZero, "sanitize"):
		return in(c, int(c.CDB[4]), make([]byte, 18))
	case t.alarms < d.alarms:
		t.alarms = d.alarms
		s = sense{key: 6, asc: 0x29}
	case standing != nil:
		s = *standing
	}
	return in(c, int(c.CDB[4]), s.bytes(c.CDB[1]&1 != 0))
}

// blockCommand carries out what drives and translations have in common.
func (d *drive) blockCommand(t *transport, c *scsi.Command) (scsi.Result, error) {
	cdb, be := c.CDB, binary.BigEndian
	switch cdb[0] {
	case 0x25:
		return in(c, len(c.Data), d.capacity10(t)), nil
	case 0x28:
		return d.readBlocks(t, c, uint64(be.Uint32(cdb[2:])), uint32(be.Uint16(cdb[7:])))
	case 0x88:
		return d.readBlocks(t, c, be.Uint64(cdb[2:]), be.Uint32(cdb[10:]))
	case 0x2a:
		return d.writeBlocks(t, c, uint64(be.Uint32(cdb[2:])), uint32(be.Uint16(cdb[7:])))
	case 0x8a:
		return d.writeBlocks(t, c, be.Uint64(cdb[2:]), be.Uint32(cdb[10:]))
	case 0x35, 0x91:
		return scsi.Result{}, d.writeBack()
	case 0x9e:
		switch {
		case cdb[1]&0x1f == 0x10:
			return in(c, int(be.Uint32(cdb[10:])), d.capacity16(t)), nil
		case cdb[1]&0x1f == 0x17 && d.profile.Format:
			return in(c, int(be.Uint32(cdb[10:])), d.elements()), nil
		}
		return illegal(0x24), nil
	case 0xa0:
		list := make([]byte, 8, 8+8*len(d.info.Spaces))
		for _, s := range d.info.Spaces {
			if s.Path > 0 {
				continue // another port's node of a unit that is listed
			}
			list = append(list, 0, byte(s.LUN), 0, 0, 0, 0, 0, 0)
		}
		be.PutUint32(list, uint32(len(list)-8))
		return in(c, int(be.Uint32(cdb[6:])), list), nil
	}
	return illegal(0x20), nil
}

// extent checks the blocks that a command names; bad is why they are refused.
func (d *drive) extent(t *transport, c *scsi.Command, lba uint64, count uint32) (off int64, n int, bad *sense) {
	u := d.unit(t)
	switch {
	case lba > uint64(u.Blocks) || uint64(count) > uint64(u.Blocks)-lba:
		return 0, 0, &sense{key: 5, asc: 0x21}
	case int64(count)*int64(u.Block) > int64(len(c.Data)):
		return 0, 0, &sense{key: 5, asc: 0x24}
	case d.profile.translated() && u.busy(), d.memory.Power.Locked:
		return 0, 0, &sense{key: 0x0b}
	}
	return int64(lba) * int64(u.Block), int(count) * u.Block, nil
}

func (d *drive) readBlocks(t *transport, c *scsi.Command, lba uint64, count uint32) (scsi.Result, error) {
	off, n, bad := d.extent(t, c, lba, count)
	if bad != nil {
		return bad.check(), nil
	}
	d.last = 0
	done, err := 0, error(nil)
	if n > 0 {
		done, err = d.read(t, c.Data[:n], off)
	}
	if err != nil {
		return d.mediumError(0x11, err)
	}
	return scsi.Result{Transferred: done}, nil
}

func (d *drive) writeBlocks(t *transport, c *scsi.Command, lba uint64, count uint32) (scsi.Result, error) {
	off, n, bad := d.extent(t, c, lba, count)
	switch {
	case bad != nil:
		return bad.check(), nil
	case d.info.Spec.ReadOnly:
		return sense{key: 7, asc: 0x27}.check(), nil
	}
	d.last = 0
	done, err := 0, error(nil)
	if n > 0 {
		done, err = d.write(t, c.Data[:n], off)
	}
	switch {
	case errors.Is(err, devices.ErrGone):
		return scsi.Result{}, err
	case err != nil:
		return d.mediumError(0x0c, err)
	}
	if c.CDB[1]&(1<<3) != 0 { // FUA
		err = d.writeBack()
	}
	return scsi.Result{Transferred: done}, err
}
