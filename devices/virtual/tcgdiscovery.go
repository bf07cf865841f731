package virtual

import "encoding/binary"

// The bits of supported data removal mechanisms, by number (Opal SSC 2.02, 3.1.1.6).
const (
	removeOverwrite = 0
	removeBlock     = 1
	removeCrypto    = 2
	removeUnmap     = 3
)

// mechanisms are those of a class; crypto only where there are keys.
func (p Profile) mechanisms() []byte {
	switch p.tcg.kind {
	case tcgPyrite:
		return []byte{removeOverwrite, removeBlock}
	case tcgOpal, tcgRuby:
		return []byte{removeBlock, removeCrypto}
	}
	return nil
}

// firstMechanism is the one that is active from the factory.
func (t tcgProfile) firstMechanism() byte {
	if t.kind == tcgPyrite {
		return removeBlock
	}
	return removeCrypto
}

// discovery is Level 0 Discovery (Core 3.3.6): a header of 48 bytes and feature descriptors.
func (d *drive) discovery() []byte {
	be, s, p := binary.BigEndian, d.memory.TCG, d.profile
	page := make([]byte, 48)
	be.PutUint32(page[4:], 1)
	copy(page[16:], "expunge virtual")
	feature := func(code uint16, version byte, data []byte) {
		page = be.AppendUint16(page, code)
		page = append(append(page, version<<4, byte(len(data))), data...)
	}
	tper := make([]byte, 12)
	tper[0] = 1<<0 | 1<<4 // synchronous, streaming
	feature(0x0001, 1, tper)
	feature(0x0002, 1, d.lockingFeature())
	if p.tcg.kind != tcgPyrite {
		feature(0x0003, 1, d.geometryFeature())
	}
	class := make([]byte, 16)
	be.PutUint16(class[0:], p.comID())
	be.PutUint16(class[2:], 1)
	pin := flagBit(s.Vendor != "") * 0xff
	class[9], class[10] = pin, pin
	switch p.tcg.kind {
	case tcgEnterprise:
		class[9], class[10] = 0, 0
		feature(0x0100, 1, class)
	case tcgPyrite:
		feature(0x0303, 1, class)
	case tcgRuby, tcgOpal:
		be.PutUint16(class[5:], tcgAdmins)
		be.PutUint16(class[7:], tcgUsers)
		tables := make([]byte, 12)
		be.PutUint16(tables[2:], 1)
		be.PutUint32(tables[4:], dataStoreSize)
		be.PutUint32(tables[8:], 1)
		feature(0x0202, 1, tables)
		code := map[tcgKind]uint16{tcgRuby: 0x0304, tcgOpal: 0x0203}[p.tcg.kind]
		feature(code, 1, class)
	}
	if p.tcg.kind != tcgEnterprise {
		feature(0x0402, 1, d.blockSIDFeature())
		feature(0x0404, 1, d.removalFeature())
	}
	be.PutUint32(page, uint32(len(page)-4))
	return page
}

func (d *drive) lockingFeature() []byte {
	b, s := make([]byte, 12), d.memory.TCG
	for bit, is := range map[int]bool{0: true, 1: s.Active, 2: s.locked(), 3: d.profile.encrypts, 4: s.MBREnabled && s.Active, 5: s.MBRDone && s.Active, 6: d.profile.tcg.kind == tcgRuby, 7: d.profile.tcg.kind != tcgEnterprise} {
		b[0] |= flagBit(is) << bit
	}
	return b
}

// shadows says whether a class has a shadow MBR.
func (p Profile) shadows() bool { return p.tcg.kind == tcgOpal || p.tcg.kind == tcgPyrite }

func (d *drive) geometryFeature() []byte {
	be, b := binary.BigEndian, make([]byte, 28)
	b[0] = 1 // ranges have to be aligned
	be.PutUint32(b[8:], uint32(d.memory.TCG.Block))
	be.PutUint64(b[12:], d.memory.TCG.granularity())
	return b
}

// granularity is what starts and lengths of ranges are multiples of, in logical blocks.
func (s *tcgMemory) granularity() uint64 { return uint64(max(1, 4096/s.Block)) }

func (d *drive) blockSIDFeature() []byte {
	b, s, power := make([]byte, 12), d.memory.TCG, d.memory.Power.TCG
	if sid := s.Admin[authSID]; string(sid.PIN) != s.MSID {
		b[0] |= 1 << 0
	}
	if power.Blocked {
		b[0] |= 1 << 1
		b[1] = flagBit(power.UnblockedByReset)
	}
	return b
}

// removalFeature is the supported data removal mechanisms, with how long each takes.
func (d *drive) removalFeature() []byte {
	be, b, s := binary.BigEndian, make([]byte, 32), d.memory.TCG
	b[1] = flagBit(s.Removal != nil) | flagBit(s.Interrupted)<<1
	for _, bit := range d.profile.mechanisms() {
		b[2] |= 1 << bit
		seconds := int64((&removal{Mechanism: bit}).duration(d.info.Spec).Seconds())
		units := (seconds + 1) / 2
		if units > 0xffff {
			b[3] |= 1 << bit // in units of two minutes
			units = min(0xffff, (seconds+119)/120)
		}
		be.PutUint16(b[4+2*int(bit):], uint16(units))
	}
	return b
}
