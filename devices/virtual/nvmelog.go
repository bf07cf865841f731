package virtual

import (
	"encoding/binary"
	"slices"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// logPage is Get Log Page (NVMe base 2.0, 5.16).
func (d *drive) logPage(c *nvme.Command) uint16 {
	words := map[uint32]string{0x02: "smart", 0x03: "firmware", 0x05: "effects", 0x15: "boot", 0x81: "sanitize"}
	lid := c.CDW10 & 0xff
	word, known := words[lid]
	if !known || d.faults().has(LogMissing, word) || lid == 0x81 && len(d.info.Spec.Sanitize) == 0 || lid == 0x15 && !d.profile.boots {
		return scInvalidLogPage
	}
	if len(c.Data) != 4*(int(c.CDW10>>16)+1) {
		return scInvalidField
	}
	page := make([]byte, 4096)
	if !d.faults().has(LogZero, word) {
		switch lid {
		case 0x02:
			if err := d.healthLog(page); err != nil {
				return scInternalError
			}
		case 0x03:
			d.firmwareLog(page)
		case 0x05:
			if status := d.effectsLog(page, c); status != 0 {
				return status
			}
		case 0x15:
			page[0] = 0x15
			binary.LittleEndian.PutUint32(page[4:], 1<<31|4) // two of 512 KiB, the second is active
		default:
			d.sanitizeLog(page)
		}
	}
	clear(c.Data)
	copy(c.Data, page)
	return 0
}

// From these degrees Celsius on a drive warns, and may stop.
const (
	warm = 70
	hot  = 80
)

// temperature is a made-up one: a drive at work is warmer. One that gets hot warms with what is written, and cools while
// nothing is, by five degrees each time that it is asked.
func (d *drive) temperature() int {
	if f, ok := d.faults().find(Hot); ok {
		degree := f.Count << 10
		if d.asked == d.writes {
			d.heat = max(0, d.heat-5*degree)
		}
		d.asked = d.writes
		return 34 + int(min(d.heat/degree, 60))
	}
	if slices.ContainsFunc(d.memory.Units, func(u unit) bool { return u.Operation != nil }) {
		return 48
	}
	return 34
}

func (d *drive) healthLog(page []byte) error {
	le := binary.LittleEndian
	if f, ok := d.faults().find(SMARTCritical); ok {
		page[0] = byte(f.Count)
	}
	le.PutUint16(page[1:], uint16(d.temperature()+273))
	page[3], page[4], page[5] = 100, 10, 3
	bytes, err := d.bytesWritten()
	le.PutUint64(page[48:], dataUnits(bytes))
	le.PutUint64(page[112:], d.powerCycles())
	le.PutUint64(page[128:], d.memory.Hours)
	le.PutUint64(page[144:], 4)
	return err
}

// firmwareLog is the firmware slot information: what runs, and what will from a reset on.
func (d *drive) firmwareLog(page []byte) {
	page[0] = 1
	field(page, 8, 16, firmware)
	if d.memory.Power.FirmwarePending != 0 {
		page[0] |= 2 << 4
		field(page, 16, 24, "VIRT1.1")
	}
}
