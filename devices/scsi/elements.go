package scsi

import (
	"encoding/binary"
	"fmt"
)

// GetPhysicalElementStatus asks for the state of a drive's storage elements, its heads or dies
// (SBC-5 5.8; the same in SBC-4, where the command is new).
func GetPhysicalElementStatus() *Command {
	const n = 32 + 32*126
	cdb := make([]byte, 16)
	cdb[0], cdb[1], cdb[14] = 0x9e, 0x17, 1 // storage elements, whatever their health
	binary.BigEndian.PutUint32(cdb[10:], n)
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, n), Timeout: quick}
}

// Elements counts storage elements by what a command can still reach of them.
type Elements struct {
	Total       int
	OutsideSpec int // health 65h to CFh: in use, outside its maker's limits
	Depopulated int // health FFh: out of use, with what was on it
	Unsettled   int // health FBh to FEh: being taken out or put back, or that failed
}

// ParseElements decodes GetPhysicalElementStatus. A list that is not whole, or a health that the
// standard does not know, is an error.
func ParseElements(b []byte) (Elements, error) {
	const size = 32
	if len(b) < size {
		return Elements{}, fmt.Errorf("get physical element status: %d bytes, want %d", len(b), size)
	}
	total, here := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if total == 0 || here != total || uint64(here)*size > uint64(len(b)-size) {
		return Elements{}, fmt.Errorf("get physical element status: %d of %d elements in %d bytes", here, total, len(b))
	}
	var e Elements
	last := uint32(0)
	for p := b[size : size*(1+int(here))]; len(p) > 0; p = p[size:] {
		id, kind, health := binary.BigEndian.Uint32(p[4:]), p[14], p[15]
		if id <= last || kind != 1 {
			return Elements{}, fmt.Errorf("get physical element status: element %d of type %02xh after %d", id, kind, last)
		}
		last = id
		e.Total++
		switch {
		case health >= 0x65 && health <= 0xcf:
			e.OutsideSpec++
		case health == 0xff:
			e.Depopulated++
		case health >= 0xfb:
			e.Unsettled++
		case health >= 0xd0:
			return Elements{}, fmt.Errorf("get physical element status: element %d has health %02xh", id, health)
		}
	}
	if binary.BigEndian.Uint32(b[8:]) != 0 && e.Unsettled == 0 {
		e.Unsettled++ // the header names one that is being taken out
	}
	return e, nil
}

// ParseDepopulated is how many elements are out of use, or not surely in use, whatever was on them.
func ParseDepopulated(b []byte) (int, error) {
	e, err := ParseElements(b)
	return e.Depopulated + e.Unsettled, err
}
