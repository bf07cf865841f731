package virtual

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// scsiSanitize is SANITIZE (SBC-4 5.30). d.mu is held.
func (d *drive) scsiSanitize(t *transport, c *scsi.Command) (scsi.Result, error) {
	cdb, u := c.CDB, d.unit(t)
	action, ause, length := cdb[1]&0x1f, cdb[1]&(1<<5) != 0, int(binary.BigEndian.Uint16(cdb[7:]))
	_, refused := d.faults().find(SanitizeRefused)
	switch {
	case u.Format != "":
		return d.standing(t).check(), nil
	case action == 0x1f:
		return d.exitFailure(t, length)
	case refused, cdb[1]&(1<<6) != 0 && d.info.Spec.ZonesReset, u.FailureMode && !u.AUSE && ause, action == 1 && (length <= 4 || length >= u.Block+5), action != 1 && length != 0:
		return illegal(0x24), nil
	}
	if d.memory.TCG.locked() {
		return accessDenied.check(), nil
	}
	o := operation{Kind: map[byte]string{1: kindOverwrite, 2: kindBlock, 3: kindCrypto}[action], KeepZones: cdb[1]&(1<<6) != 0}
	if action == 1 {
		list := out(c, length)
		if list == nil {
			return illegal(0x1a), nil
		}
		o.Passes = int64(list[0] & 0x1f)
		pattern := int(binary.BigEndian.Uint16(list[2:]))
		if list[0]&0x60 != 0 || o.Passes == 0 || pattern < 1 || pattern > u.Block || pattern > length-4 {
			return illegal(0x26), nil
		}
		o.Pattern = slices.Clone(list[4 : 4+pattern]) // the last pass leaves it, inverted passes or not
	}
	if d.faults().has(Lie, LieIgnored) {
		return scsi.Result{Transferred: length}, nil
	}
	err := d.start(d.memory.unitOf(t.space), fmt.Sprintf("48:%02x", action), o, func(u *unit) { u.begin(0, ause) })
	if err != nil {
		return scsi.Result{}, err
	}
	return d.await(t, c, cdb[1]&(1<<7) != 0, length)
}

// exitFailure leaves a failure that may be left, as if the sanitize had succeeded.
func (d *drive) exitFailure(t *transport, length int) (scsi.Result, error) {
	u := d.unit(t)
	switch {
	case length != 0, u.FailureMode && !u.AUSE:
		return illegal(0x24), nil
	case !u.FailureMode:
		return scsi.Result{}, nil
	}
	number := d.memory.unitOf(t.space)
	return scsi.Result{}, d.recall(func(m *memory) error { m.Units[number].FailureMode, m.Units[number].SOS = false, 0; return nil })
}

// await answers the command that began an operation: at once when it is to, else at its end, for
// which the host may not wait so long.
func (d *drive) await(t *transport, c *scsi.Command, immediate bool, transferred int) (scsi.Result, error) {
	good := scsi.Result{Transferred: transferred}
	if immediate {
		return good, nil
	}
	number := d.memory.unitOf(t.space)
	o := d.memory.Units[number].Operation
	if o != nil && c.Timeout < o.duration(d.info.Spec) {
		return scsi.Result{HostStatus: 3}, nil
	}
	// The rack's clock stands still in a command: the operation has run its time.
	err := d.recall(func(m *memory) error {
		if o := m.Units[number].Operation; o != nil {
			o.Done = o.duration(d.info.Spec)
		}
		return nil
	})
	if err == nil {
		err = d.recall(nil)
	}
	if err != nil {
		return scsi.Result{}, err
	}
	if s := d.standing(t); s != nil {
		return s.check(), nil
	}
	return good, nil
}
