package virtual

import "encoding/binary"

// The commands that show and change how much of an ATA drive the host can address.
const (
	readNativeMax    = 0xf8
	readNativeMaxExt = 0x27
	setMax           = 0xf9
	setMaxExt        = 0x37
	accessibleMax    = 0x78
	configOverlay    = 0xb1
)

// ataMax are the host protected area (ATA8-ACS 4.10), the accessible max address (ACS-3 4.3) and the
// device configuration overlay (ATA8-ACS 4.7). Addresses are of the last block.
func (d *drive) ataMax(opcode, before byte, g *registers) ([]byte, error) {
	a, power, native := d.memory.ATA, d.memory.Power, uint64(d.memory.ATA.DCO-1)
	extended := opcode == readNativeMaxExt || opcode == setMaxExt
	g.failure = abrt
	switch opcode {
	case readNativeMax, readNativeMaxExt:
		if !d.profile.hpa || extended && !g.extend {
			return nil, nil
		}
		g.failure, g.lba = 0, native
		if !extended {
			g.lba = min(native, 0x0fffffff)
			g.device = g.device&0xf0 | byte(g.lba>>24)
		}
	case setMax, setMaxExt:
		address, preceding := g.lba, byte(readNativeMaxExt)
		if !extended {
			address, preceding = g.lba&0xffffff|uint64(g.device&0x0f)<<24, readNativeMax
		}
		keep := g.count&1 != 0
		switch {
		case !d.profile.hpa, before != preceding, extended && !g.extend, !extended && g.feature&0xff != 0, power.Locked, d.faults().has(Refuse, "set-max"):
		case address > native, keep && power.Changed:
			g.failure = idnf
		default:
			g.failure = 0
			return nil, d.setBlocks(int64(address)+1, keep)
		}
	case accessibleMax:
		switch {
		case !d.profile.ama || !g.extend:
		case g.feature == 0:
			g.failure, g.lba = 0, native
		case g.feature == 1 && g.lba > native:
			g.failure = idnf
		case g.feature == 1 && !power.Changed && !power.MaxFrozen && !power.Locked && !d.faults().has(Refuse, "set-max"):
			g.failure = 0
			return nil, d.setBlocks(int64(g.lba)+1, true)
		case g.feature == 2:
			g.failure = 0
			return nil, d.recall(func(m *memory) error { m.Power.MaxFrozen = true; return nil })
		}
	case configOverlay:
		if !d.profile.dco || power.DCOFrozen {
			return nil, nil
		}
		switch g.feature & 0xff {
		case 0xc0:
			if a.Max != a.DCO || d.memory.Units[0].Blocks != a.DCO && !d.info.Spec.SizeAfterPowerCycle || power.Locked || d.faults().has(Refuse, "set-max") {
				return nil, nil // a host protected area is set
			}
			g.failure = 0
			return nil, d.restoreOverlay()
		case 0xc1:
			g.failure = 0
			return nil, d.recall(func(m *memory) error { m.Power.DCOFrozen = true; return nil })
		case 0xc2:
			g.failure = 0
			return d.overlay(), nil
		}
	}
	return nil, nil
}

// setBlocks changes how many blocks the host can address: for good, or until the power goes.
func (d *drive) setBlocks(blocks int64, keep bool) error {
	return d.recall(func(m *memory) error {
		if keep {
			m.ATA.Max, m.Power.Changed = blocks, true
		}
		if !keep || !d.info.Spec.SizeAfterPowerCycle {
			m.Units[0].Blocks = blocks
		}
		return nil
	})
}

// restoreOverlay gives the drive the size back that it left its factory with.
func (d *drive) restoreOverlay() error {
	return d.recall(func(m *memory) error {
		m.ATA.DCO = d.info.addressable() / int64(m.Units[0].Block)
		m.ATA.Max = m.ATA.DCO
		if !d.info.Spec.SizeAfterPowerCycle {
			m.Units[0].Blocks = m.ATA.Max
		}
		return nil
	})
}

// overlay is DEVICE CONFIGURATION IDENTIFY data: what the drive can be given back.
func (d *drive) overlay() []byte {
	page := make([]byte, 512)
	binary.LittleEndian.PutUint16(page, 2)
	binary.LittleEndian.PutUint64(page[6:], uint64(d.info.addressable()/int64(d.memory.Units[0].Block)-1))
	page[510] = 0xa5
	seal(page)
	return page
}
