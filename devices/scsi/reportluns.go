package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ReportLUNs asks for the logical units of the target (SPC-5), without the well known ones.
func ReportLUNs() *Command {
	const n = 8 + 8*256
	cdb := make([]byte, 12)
	cdb[0] = 0xa0
	binary.BigEndian.PutUint32(cdb[6:], n)
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, n), Timeout: quick}
}

// ParseLUNs decodes the answer. A list that is not whole is an error, and so is an empty one: a unit
// has answered.
func ParseLUNs(b []byte) ([]uint64, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("report LUNs: %d bytes, want 8", len(b))
	}
	n := binary.BigEndian.Uint32(b)
	switch {
	case uint64(n) > uint64(len(b)-8):
		return nil, fmt.Errorf("report LUNs: %d bytes of %d", len(b)-8, n)
	case n == 0:
		return nil, errors.New("report LUNs: the list is empty")
	case n%8 != 0:
		return nil, fmt.Errorf("report LUNs: %d bytes of logical units", n)
	}
	var luns []uint64
	for p := b[8 : 8+n]; len(p) > 0; p = p[8:] {
		luns = append(luns, binary.BigEndian.Uint64(p))
	}
	return luns, nil
}
