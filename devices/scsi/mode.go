package scsi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ModeSense10 is MODE SENSE(10) (SPC-5) for the current values of a page, with the block descriptor
// before it, which may be the long one.
func ModeSense10(page uint8) *Command {
	return &Command{CDB: []byte{0x5a, 1 << 4, page & 0x3f, 0, 0, 0, 0, 0, 252, 0}, Direction: DataIn, Data: make([]byte, 252), Timeout: quick}
}

// BlockDescriptor is the mode parameter block descriptor with what the header before it says (SBC-5).
type BlockDescriptor struct {
	Blocks         uint64 // 0 where it is not told, as when it does not fit the short form
	Length         uint32
	Long           bool // 16 bytes
	WriteProtected bool // the header's WP
}

// modeParts splits a MODE SENSE(10) answer into its block descriptors and its pages.
func modeParts(b []byte) (descriptors, pages []byte, err error) {
	if len(b) < 8 {
		return nil, nil, fmt.Errorf("mode sense: %d bytes, want 8", len(b))
	}
	n, d := int(binary.BigEndian.Uint16(b))+2, int(binary.BigEndian.Uint16(b[6:]))
	if n < 8+d || len(b) < 8+d {
		return nil, nil, fmt.Errorf("mode sense: %d bytes of %d, %d of them block descriptors", len(b), n, d)
	}
	return b[8 : 8+d], b[8+d : min(n, len(b))], nil
}

// ParseWriteProtected reads WP of the mode parameter header, which is there whatever follows (SBC-5).
func ParseWriteProtected(b []byte) (bool, error) {
	if _, _, err := modeParts(b); err != nil {
		return false, err
	}
	return b[3]&0x80 != 0, nil
}

// ParseBlockDescriptor decodes the first block descriptor of a MODE SENSE(10) answer. None, or one of
// zeros, is an error.
func ParseBlockDescriptor(b []byte) (BlockDescriptor, error) {
	p, _, err := modeParts(b)
	if err != nil {
		return BlockDescriptor{}, err
	}
	d := BlockDescriptor{Long: b[4]&1 != 0, WriteProtected: b[3]&0x80 != 0}
	size := 8
	if d.Long {
		size = 16
	}
	if len(p) == 0 || len(p)%size != 0 {
		return BlockDescriptor{}, fmt.Errorf("mode sense: %d bytes of block descriptors, which have %d", len(p), size)
	}
	if d.Long {
		d.Blocks, d.Length = binary.BigEndian.Uint64(p), binary.BigEndian.Uint32(p[12:])
	} else {
		d.Blocks, d.Length = uint64(binary.BigEndian.Uint32(p)), binary.BigEndian.Uint32(p[4:])&0xffffff
	}
	if bytes.Count(p[:size/2], []byte{0xff}) == size/2 {
		d.Blocks = 0
	}
	if d.Length == 0 {
		return BlockDescriptor{}, errors.New("mode sense: blocks of 0 bytes")
	}
	return d, nil
}
