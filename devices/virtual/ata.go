package virtual

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/expunge-dev/expunge/devices"
)

// The protocols of ATA commands, in the codes of ATA PASS-THROUGH (SAT-4 12.2.2.2).
const (
	nonData = 3
	pioIn   = 4
	pioOut  = 5
)

// Bits of the error register.
const (
	abrt = 1 << 2
	idnf = 1 << 4
	unc  = 1 << 6
)

// ata carries an ATA command out; g.failure is the error register. out is what the host sends. d.mu
// is held, and the drive's memory is up to date.
func (d *drive) ata(t *transport, opcode, protocol byte, g *registers, out []byte) (data []byte, err error) {
	before := d.last
	d.last = opcode
	defer func() {
		if g.failure != 0 {
			d.last = 0 // what was not carried out precedes nothing
		}
	}()
	if opcode >= trustedReceive && opcode <= trustedSendDMA && d.memory.TCG != nil {
		return d.ataTrusted(opcode, protocol, g, out)
	}
	want := byte(nonData)
	switch {
	case opcode == 0xec, opcode == 0x2f, opcode == 0xb0 && g.feature&0xff == 0xd0, opcode == 0xb1 && g.feature&0xff == 0xc2:
		want = pioIn
	case opcode == 0xf1, opcode == 0xf2, opcode == 0xf4, opcode == 0xf6:
		want = pioOut
	}
	if u := &d.memory.Units[0]; protocol != want || want == pioOut && len(out) != 512 || u.busy() && !u.allows(opcode, g.feature) {
		g.failure = abrt
		return nil, nil
	}
	switch opcode {
	case 0xec:
		return d.ataIdentity(), nil
	case 0xe7, 0xea:
		return nil, d.writeBack()
	case 0x2f:
		return d.readLog(g)
	case 0x42:
		d.readVerify(t, g)
		return nil, nil
	case 0xb4:
		return nil, d.ataSanitize(g)
	case 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6:
		g.failure, err = d.ataSecurity(opcode, before, out)
		return nil, err
	case 0x27, 0xf8, 0x37, 0xf9, 0x78, 0xb1:
		return d.ataMax(opcode, before, g)
	case 0xb0:
		switch {
		case g.lba>>8&0xffff != 0xc24f, d.faults().has(LogMissing, "smart"):
		case g.feature&0xff == 0xd0:
			return d.ataSMART(), nil
		case g.feature&0xff == 0xda:
			return nil, nil // all is well: the signature comes back as it was
		}
	}
	g.failure = abrt
	return nil, nil
}

// readVerify is READ VERIFY SECTORS EXT (ACS-3 7.41): it finds what cannot be addressed, and what
// cannot be read.
func (d *drive) readVerify(t *transport, g *registers) {
	block := int64(d.memory.Units[0].Block)
	count := int64(g.count)
	if count == 0 {
		count = 65536
	}
	switch first := int64(g.lba); {
	case d.memory.Power.Locked:
		g.failure = abrt
	case first >= d.memory.Units[0].Blocks || first+count > d.memory.Units[0].Blocks:
		g.failure, g.lba = idnf, uint64(max(first, d.memory.Units[0].Blocks))
	case d.lockedForReading(first*block, count*block):
		g.failure = abrt
	default:
		if n := int64(d.before(ReadError, first*block, int(count*block))); n < count*block {
			g.failure, g.lba = unc, uint64(first+n/block)
		}
	}
}

// rotation is the medium's rate: 1 does not rotate.
func (d *drive) rotation() uint16 {
	if d.profile.Media == devices.MediaFlash {
		return 1
	}
	return 7200
}

// text writes a string as ATA does, two bytes of each word swapped.
func ataText(page []byte, word, words int, s string) {
	padded := fmt.Sprintf("%-*s", 2*words, s)
	for i := 0; i < 2*words; i += 2 {
		page[2*word+i], page[2*word+i+1] = padded[i+1], padded[i]
	}
}

func (d *drive) ataIdentity() []byte {
	page := make([]byte, 512)
	put := func(word int, v uint64, words int) {
		for i := range words {
			binary.LittleEndian.PutUint16(page[2*(word+i):], uint16(v>>(16*i)))
		}
	}
	spec := d.info.Spec
	sectors := uint64(d.memory.Units[0].Blocks)
	ataText(page, 10, 10, spec.Serial)
	ataText(page, 23, 4, firmware)
	ataText(page, 27, 20, d.profile.model)
	put(0, 0x0040, 1)
	put(49, 1<<9|1<<8, 1)
	if d.memory.TCG != nil {
		put(48, 1<<14|1, 1) // the trusted computing feature set
	}
	put(60, min(sectors, 0xfffffff), 2)
	d.ataFeatures(put)
	put(76, 0x000e, 1)
	put(80, 0x0ff0, 1)
	put(84, 1<<14|1<<8|1<<5, 1)
	put(87, 1<<14|1<<8|1<<5, 1)
	put(100, sectors, 4)
	shape := uint64(1 << 14)
	if spec.LogicalBlock > 512 {
		shape |= 1 << 12
		put(117, uint64(spec.LogicalBlock/2), 2)
	}
	for n := spec.PhysicalBlock / spec.LogicalBlock; n > 1; n /= 2 {
		shape |= 1 << 13
		shape++
	}
	put(106, shape, 1)
	name, _ := strconv.ParseUint(wwn(spec.Serial), 16, 64) // sixteen hex digits
	for i := range 4 {
		put(108+i, name>>(48-16*i), 1)
	}
	if d.profile.Media == devices.MediaFlash {
		put(169, 1, 1)
	}
	put(168, 3, 1) // 2.5 inch
	put(217, uint64(d.rotation()), 1)
	page[510] = 0xa5
	seal(page)
	return page
}

// ataFeatures are the words of IDENTIFY DEVICE data about what the drive can do (ACS-3 7.12.7).
func (d *drive) ataFeatures(put func(word int, v uint64, words int)) {
	p, m := d.profile, d.memory
	var sanitize, extra, set uint64
	for word, bit := range map[string]uint64{kindCrypto: 1 << 13, kindOverwrite: 1 << 14, kindBlock: 1 << 15} {
		if slices.Contains(d.info.Spec.Sanitize, word) {
			sanitize |= bit | 1<<12 | 1<<11 | 1<<10
		}
	}
	put(59, sanitize, 1)
	if p.encrypts {
		extra |= 1 << 4
	}
	if p.solid() {
		extra |= 1<<14 | 1<<5 // reads zeros after a trim
	}
	put(69, extra|p.zonedWord(), 1)
	supported, enabled := uint64(1<<0|1<<5), uint64(1<<0|1<<5)
	if p.hpa {
		supported, enabled = supported|1<<10, enabled|1<<10
	}
	if p.dco {
		set = 1 << 11
	}
	if d.secured() {
		supported |= 1 << 1
		put(128, d.securityState(), 1)
		normal, enhanced := d.securityTimes()
		put(89, uint64(normal), 1)
		put(90, uint64(enhanced), 1)
		put(92, uint64(m.ATA.MasterID), 1)
	}
	if m.ATA.Enabled {
		enabled |= 1 << 1
	}
	put(82, supported, 1)
	put(83, 1<<14|1<<13|1<<10|set, 1)
	put(85, enabled, 1)
	put(86, 1<<15|1<<13|1<<10|set, 1)
	address := [2]uint64{1 << 14, 1 << 14}
	if p.ama {
		address[0] |= 1 << 8
		if m.Units[0].Blocks < m.ATA.DCO {
			address[1] |= 1 << 8
		}
	}
	put(119, address[0], 1)
	put(120, address[1], 1)
}

// seal makes the bytes of a page add up to zero.
func seal(page []byte) {
	page[511] = 0
	sum := byte(0)
	for _, c := range page {
		sum += c
	}
	page[511] = -sum
}

func (d *drive) ataSMART() []byte {
	page := make([]byte, 512)
	if d.faults().has(LogZero, "smart") {
		return page
	}
	page[0] = 16
	for i, a := range []struct {
		id  byte
		raw uint64
	}{{5, 0}, {9, d.memory.Hours}, {12, d.powerCycles()}, {194, uint64(d.temperature())}, {197, 0}, {198, 0}} {
		at := page[2+12*i:]
		at[0], at[1], at[3], at[4] = a.id, 0x32, 100, 100
		for n := range 6 {
			at[5+n] = byte(a.raw >> (8 * n))
		}
	}
	seal(page)
	return page
}
