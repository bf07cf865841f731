package virtual

import "encoding/binary"

// The drive came into the rack used: it had power so often, and so many bytes were written to it.
const (
	pastPowerOns = 21
	pastWritten  = 7_654_321 << 16
)

// bytesWritten are all that hosts wrote. d.mu is held.
func (d *drive) bytesWritten() (uint64, error) {
	if n := d.written; n > 0 {
		if err := d.recall(func(m *memory) error { m.Written += n; return nil }); err != nil {
			return 0, err
		}
		d.written = 0
	}
	return pastWritten + uint64(d.memory.Written), nil
}

func (d *drive) powerCycles() uint64 { return pastPowerOns + uint64(d.memory.PowerOns) }

// dataUnits are bytes as the SMART log of NVMe counts them: thousands of 512, rounded up.
func dataUnits(bytes uint64) uint64 { return (bytes + 511_999) / 512_000 }

// readLog is READ LOG EXT (ACS-4 7.22) of the directory and of the general device statistics.
func (d *drive) readLog(g *registers) ([]byte, error) {
	le, page := binary.LittleEndian, make([]byte, 512)
	log, number := g.lba&0xff, g.lba>>8&0xff
	if g.count != 1 || d.faults().has(LogMissing, "smart") {
		g.failure = abrt
		return nil, nil
	}
	const supported = 3 << 62 // and valid
	switch {
	case log == 0 && number == 0:
		le.PutUint16(page, 1)
		le.PutUint16(page[8:], 6) // pages of log 04h, up to the last
	case log == 4 && number == 0:
		le.PutUint64(page, 1)
		page[8], page[9], page[10], page[11] = 3, 0, 1, 5
	case log == 4 && number == 1:
		bytes, err := d.bytesWritten()
		if err != nil {
			return nil, err
		}
		le.PutUint64(page, 1<<16|1)
		le.PutUint64(page[8:], supported|d.powerCycles())
		le.PutUint64(page[16:], supported|d.memory.Hours)
		le.PutUint64(page[24:], supported|bytes/uint64(d.memory.Units[0].Block))
	case log == 4 && number == 5:
		le.PutUint64(page, 5<<16|1)
		le.PutUint64(page[8:], supported|uint64(d.temperature()))
		le.PutUint64(page[88:], supported|warm)
	default:
		g.failure = abrt
		return nil, nil
	}
	if d.faults().has(LogZero, "smart") {
		clear(page)
	}
	return page, nil
}

// generalStatistics is parameter 1 of the general statistics and performance page (SPC-5): the blocks that hosts
// wrote, and nothing of the rest.
func (d *drive) generalStatistics() ([]byte, error) {
	bytes, err := d.bytesWritten()
	if err != nil {
		return nil, err
	}
	body := append([]byte{0, 1, 3, 64}, make([]byte, 64)...)
	binary.BigEndian.PutUint64(body[4+16:], bytes/uint64(d.memory.Units[0].Block))
	return body, nil
}
