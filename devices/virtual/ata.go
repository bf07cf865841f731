package virtual

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/expunge-dev/expunge/devices"
)

// ata carries an ATA command out. false is ABRT. d.mu is held.
func (d *drive) ata(t *transport, opcode, protocol byte, g *registers) (data []byte, ok bool) {
	switch opcode {
	case 0xec:
		return d.ataIdentity(), protocol == 4
	case 0xe7, 0xea:
		return nil, protocol == 3 && d.writeBack() == nil
	case 0xb0:
		if g.lba>>8&0xffff != 0xc24f || d.faults().has(LogMissing, "smart") {
			return nil, false
		}
		switch g.feature & 0xff {
		case 0xd0:
			return d.ataSMART(), protocol == 4
		case 0xda:
			return nil, protocol == 3 // all is well: the signature comes back as it was
		}
	}
	return nil, false
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
	sectors := uint64(spec.SizeBytes / int64(spec.LogicalBlock))
	ataText(page, 10, 10, spec.Serial)
	ataText(page, 23, 4, firmware)
	ataText(page, 27, 20, d.profile.model)
	put(0, 0x0040, 1)
	put(49, 1<<9|1<<8, 1)
	put(60, min(sectors, 0xfffffff), 2)
	if d.profile.encrypts {
		put(69, 1<<4, 1)
	}
	put(76, 0x000e, 1)
	put(80, 0x0ff0, 1)
	put(82, 1<<0|1<<5, 1)
	put(83, 1<<14|1<<13|1<<10, 1)
	put(84, 1<<14|1<<8, 1)
	put(85, 1<<0|1<<5, 1)
	put(86, 1<<13|1<<10, 1)
	put(87, 1<<14|1<<8, 1)
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
	put(217, uint64(d.rotation()), 1)
	page[510] = 0xa5
	seal(page)
	return page
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
	}{{5, 0}, {9, d.memory.Hours}, {12, 21}, {194, uint64(d.temperature())}, {197, 0}, {198, 0}} {
		at := page[2+12*i:]
		at[0], at[1], at[3], at[4] = a.id, 0x32, 100, 100
		for n := range 6 {
			at[5+n] = byte(a.raw >> (8 * n))
		}
	}
	seal(page)
	return page
}
