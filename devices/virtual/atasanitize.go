package virtual

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// The functions of SANITIZE DEVICE, and the signatures that go with them (ACS-3 7.36).
const (
	sanitizeStatus     = 0x0000
	cryptoScramble     = 0x0011
	blockErase         = 0x0012
	overwriteExt       = 0x0014
	sanitizeFreeze     = 0x0020
	sanitizeAntifreeze = 0x0040
)

var signatures = map[uint16]uint64{cryptoScramble: 0x43727970, blockErase: 0x426b4572, sanitizeFreeze: 0x46724c6b, sanitizeAntifreeze: 0x416e7469}

// The reasons in LBA(7:0) of a function that was aborted.
const (
	reasonNone        = 0
	reasonNotAll      = 1
	reasonUnsupported = 2
	reasonFrozen      = 3
	reasonAntifreeze  = 4
)

// allows says whether a busy unit carries a command out: while a sanitize runs or has failed, what
// ACS-3 4.17 lists. During a security erase only who asks what it is has an answer, as a translation
// has kept it; everything else finds it busy.
func (u *unit) allows(opcode byte, feature uint16) bool {
	if o := u.Operation; o != nil && o.Security {
		return opcode == 0xec
	}
	switch opcode {
	case 0xec, 0xb4, unlock:
		return true
	case 0xb0:
		return feature&0xff == 0xda
	}
	return false
}

// ataSanitize is SANITIZE DEVICE. Registers come back with the state, or with why not.
func (d *drive) ataSanitize(g *registers) error {
	feature, count, lba := g.feature, g.count, g.lba
	reason, failed, err := uint64(reasonNone), true, error(nil)
	switch feature {
	case sanitizeStatus:
		reason, failed, err = d.sanitizeStatus(g, count)
	case sanitizeFreeze, sanitizeAntifreeze:
		reason, failed, err = d.sanitizeLock(feature, lba)
	case cryptoScramble, blockErase, overwriteExt:
		reason, failed, err = d.sanitizeStart(feature, count, lba)
	default:
		reason = reasonUnsupported
	}
	if err != nil {
		return err
	}
	if failed {
		g.failure, g.count, g.lba = abrt, 0, reason
		return nil
	}
	u, power := &d.memory.Units[0], d.memory.Power
	g.count, g.lba = 0, 0xffff
	for bit, is := range map[int]bool{15: u.SOS == 1, 14: u.Operation != nil, 13: power.SanitizeFrozen, 12: power.Antifreeze} {
		if is {
			g.count |= 1 << bit
		}
	}
	if u.Operation != nil {
		shown, _ := u.Operation.progress(d.info, d.rack.now())
		g.lba = uint64(shown)
	}
	return nil
}

// sanitizeStatus is SANITIZE STATUS EXT; bit 0 of COUNT leaves a failure that may be left.
func (d *drive) sanitizeStatus(g *registers, count uint16) (reason uint64, failed bool, err error) {
	u := &d.memory.Units[0]
	switch {
	case len(d.info.Spec.Sanitize) == 0, d.faults().has(LogMissing, "sanitize"):
		return reasonUnsupported, true, nil
	case d.faults().has(LogZero, "sanitize"):
		g.lost = true
		return 0, false, nil
	case !u.FailureMode:
		return 0, false, nil
	case count&1 == 0:
		return reasonNotAll, true, nil
	case !u.AUSE:
		return reasonNone, true, nil
	}
	return 0, false, d.recall(func(m *memory) error { m.Units[0].FailureMode, m.Units[0].SOS = false, 0; return nil })
}

// sanitizeLock is FREEZE LOCK and ANTIFREEZE LOCK.
func (d *drive) sanitizeLock(feature uint16, lba uint64) (reason uint64, failed bool, err error) {
	u, power := &d.memory.Units[0], d.memory.Power
	switch {
	case len(d.info.Spec.Sanitize) == 0, lba != signatures[feature]:
		return reasonUnsupported, true, nil
	case feature == sanitizeFreeze && u.busy():
		return reasonNone, true, nil
	case feature == sanitizeFreeze && power.Antifreeze:
		return reasonAntifreeze, true, nil
	case feature == sanitizeAntifreeze && power.SanitizeFrozen:
		return reasonFrozen, true, nil
	}
	return 0, false, d.recall(func(m *memory) error {
		if feature == sanitizeFreeze {
			m.Power.SanitizeFrozen = true
		} else {
			m.Power.Antifreeze = true
		}
		return nil
	})
}

// sanitizeStart begins a crypto scramble, a block erase or an overwrite.
func (d *drive) sanitizeStart(feature, count uint16, lba uint64) (reason uint64, failed bool, err error) {
	u, power := &d.memory.Units[0], d.memory.Power
	kind, allowed := kindBlock, uint16(1<<4|1<<15)
	switch feature {
	case cryptoScramble:
		kind = kindCrypto
	case overwriteExt:
		kind, allowed = kindOverwrite, allowed|1<<7|1<<6|0x0f
	}
	signed := lba == signatures[feature]
	if feature == overwriteExt {
		signed = lba>>32 == 0x4f57
	}
	ause := count&(1<<4) != 0
	refused, refuses := d.faults().find(SanitizeRefused)
	switch {
	case !slices.Contains(d.info.Spec.Sanitize, kind), !signed, count&^allowed != 0:
		return reasonUnsupported, true, nil
	case refuses:
		return uint64(refused.Count & 0xff), true, nil
	case power.SanitizeFrozen:
		return reasonFrozen, true, nil
	case u.Operation != nil, power.Locked, d.info.Spec.ReadOnly, ause && (u.FailureMode && !u.AUSE || power.Restricted):
		return reasonNone, true, nil
	case d.faults().has(Lie, LieIgnored):
		return 0, false, nil
	}
	if d.memory.TCG.locked() {
		return reasonNone, true, nil
	}
	o := operation{Kind: kind, KeepZones: count&(1<<15) != 0}
	if feature == overwriteExt {
		o.Passes = int64(count & 0x0f)
		orElse(&o.Passes, 16)
		pattern := uint32(lba)
		if count&(1<<7) != 0 && count&(1<<6) == 0 && o.Passes%2 == 0 {
			pattern = ^pattern // passes alternate, and the first wrote the pattern
		}
		o.Pattern = binary.LittleEndian.AppendUint32(nil, pattern)
	}
	return 0, false, d.start(0, fmt.Sprintf("b4:%04x", feature), o, func(u *unit) { u.begin(0, ause) })
}
