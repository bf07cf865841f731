package virtual

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// sanitizeLog is the Sanitize Status log (NVMe base 2.3, 5.2.12.1.33).
func (d *drive) sanitizeLog(page []byte) {
	le, u := binary.LittleEndian, d.memory.Units[0]
	le.PutUint16(page[0:], 0xffff)
	status := uint16(u.SOS) | uint16(u.Passes)<<3 | uint16(flagBit(u.GDE))<<8 | uint16(flagBit(u.Cancelled))<<9 | uint16(flagBit(u.Purged))<<11
	if o := u.Operation; o != nil && o.Format == nil && o.Kind != kindUnmap {
		shown, _ := o.progress(d.info, d.rack.now())
		le.PutUint16(page[0:], shown)
		status |= uint16(min(o.Passes, int64(o.elapsed(d.rack.now())*time.Duration(o.Passes)/o.duration(d.info.Spec)))) << 3
	}
	le.PutUint16(page[2:], status)
	le.PutUint32(page[4:], u.Code)
	block, overwrite := uint32(d.info.Spec.EraseSeconds), uint32(0xffffffff)
	if slices.Contains(d.info.Spec.Sanitize, kindOverwrite) {
		overwrite = 16 * block
	}
	for at, seconds := range map[int]uint32{8: overwrite, 12: block, 16: (block + 1) / 2, 20: overwrite, 24: block, 28: (block + 1) / 2} {
		le.PutUint32(page[at:], seconds)
	}
	if d.profile.verifies {
		le.PutUint32(page[32:], (block+9)/10)
		page[36] = u.sans()
	}
}

// sans is the state of the sanitize machine, and the one that it failed in.
func (u *unit) sans() byte {
	switch {
	case u.Verifying:
		return 5
	case u.Operation != nil && u.Operation.Kind == kindUnmap && u.Operation.Format == nil:
		return 6
	case u.Operation != nil && u.Operation.Format == nil:
		return 1 + 2*flagBit(u.AUSE)
	case u.FailureMode:
		return 2 + 2*flagBit(u.AUSE) | (1+2*flagBit(u.AUSE))<<4
	}
	return 0
}

// sanitize begins an operation (NVMe base 2.0, 5.24).
func (d *drive) sanitize(c *nvme.Command) (status uint16, err error) {
	if f, ok := d.faults().find(SanitizeRefused); ok {
		return uint16(f.Count), nil
	}
	action, ause, ndas, verify, purge := c.CDW10&7, c.CDW10&(1<<3) != 0, c.CDW10&(1<<9) != 0, c.CDW10&(1<<10) != 0, c.CDW10&(1<<11) != 0
	kind := map[uint32]string{2: kindBlock, 3: kindOverwrite, 4: kindCrypto}[action]
	u := d.memory.Units[0]
	restricted := u.FailureMode && !u.AUSE
	switch {
	case c.NSID != 0, c.CDW10>>12 != 0, action == 5 && !u.Verifying, action != 1 && action != 5 && !slices.Contains(d.info.Spec.Sanitize, kind),
		ndas && d.info.Spec.NoDeallocateInhibited, verify && (!d.profile.verifies || ndas || action == 3), purge && !d.profile.purges:
		return scInvalidField, nil
	case d.memory.Power.PMR:
		return scSanitizeProhibited, nil
	case d.memory.TCG.locked():
		return scOperationDenied, nil
	case d.info.Spec.ReadOnly:
		return scWriteProtected, nil
	case d.memory.Power.FirmwarePending != 0:
		return d.memory.Power.FirmwarePending, nil
	case action == 5:
		return 0, d.recall(func(m *memory) error { m.Units[0].leaveVerification(d.rack.now()); return nil })
	case u.Operation != nil, u.Verifying:
		return scSanitizeRunning, nil
	case restricted && (ause || action == 1):
		return scSanitizeFailed, nil
	case action == 1:
		return 0, d.recall(func(m *memory) error { m.Units[0].FailureMode = false; return nil })
	case d.faults().has(Lie, LieIgnored):
		return 0, nil
	}
	o := operation{Kind: kind, NDAS: ndas, Verify: verify, Purge: purge}
	if kind == kindOverwrite {
		if o.Passes = int64(c.CDW10 >> 4 & 15); o.Passes == 0 {
			o.Passes = 16
		}
		// Where passes invert the pattern, the last one writes it as it is.
		o.Pattern = binary.LittleEndian.AppendUint32(nil, c.CDW11)
	}
	return 0, d.start(0, fmt.Sprintf("84:%08x", c.CDW10), o, func(u *unit) { u.begin(c.CDW10, ause) })
}

// leaveVerification goes on to deallocate what was sanitized. Blocks that were erased hold nothing
// that would be moved.
func (u *unit) leaveVerification(now time.Time) {
	u.Verifying = false
	u.Operation = &operation{Kind: kindUnmap, Quick: u.Code&7 == 2, Since: now}
}
