package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ReadDefectData12 asks for the header of the primary and the grown defect list (SBC-5 5.23): how
// long they are, in short block format or what the drive gives instead.
func ReadDefectData12(primary, grown bool) *Command {
	cdb := make([]byte, 12)
	cdb[0], cdb[9] = 0xb7, 8
	if primary {
		cdb[1] |= 1 << 4
	}
	if grown {
		cdb[1] |= 1 << 3
	}
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, 8), Timeout: quick}
}

// ParseDefectCount decodes the header: the length of the list in bytes and the format of its address
// descriptors. A header that holds neither list is an error: it does not say that there is no defect.
func ParseDefectCount(b []byte) (bytes uint32, format uint8, err error) {
	if len(b) < 8 {
		return 0, 0, fmt.Errorf("read defect data: %d bytes, want 8", len(b))
	}
	if b[1]&(1<<4|1<<3) == 0 {
		return 0, 0, errors.New("read defect data: neither list is there")
	}
	bytes, format = binary.BigEndian.Uint32(b[4:]), b[1]&7
	if n := descriptorBytes[format]; n != 0 && bytes%n != 0 {
		return 0, 0, fmt.Errorf("read defect data: %d bytes of descriptors that have %d", bytes, n)
	}
	return bytes, format, nil
}

// descriptorBytes is the size of an address descriptor by its format (SBC-5 6.2): short block,
// extended bytes from index, extended physical sector, long block, bytes from index, physical
// sector; 0 is not known.
var descriptorBytes = [8]uint32{4, 8, 8, 8, 8, 8, 0, 0}

// Defects is how many defects the lists hold; false where it cannot be told.
func Defects(b []byte) (count uint32, known bool) {
	bytes, format, err := ParseDefectCount(b)
	switch n := descriptorBytes[format&7]; {
	case err != nil:
		return 0, false
	case n != 0:
		return bytes / n, true
	}
	return 0, bytes == 0
}
