package ata

import (
	"encoding/binary"
	"testing"
)

// A number counts only where the drive says that it has it and that it is valid; an answer of zeros counts nothing.
func TestParseStatistics(t *testing.T) {
	page := func(flags uint64) []byte {
		b := make([]byte, 512)
		binary.LittleEndian.PutUint64(b, 1<<16|1)
		binary.LittleEndian.PutUint64(b[8:], flags|21)
		binary.LittleEndian.PutUint64(b[24:], flags|148_493_136_176)
		return b
	}
	s, err := ParseStatistics(page(3 << 62))
	if err != nil || s.PowerOnResets == nil || *s.PowerOnResets != 21 || s.SectorsWritten == nil || *s.SectorsWritten != 148_493_136_176 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, flags := range []uint64{0, 1 << 62, 2 << 62} {
		if s, err := ParseStatistics(page(flags)); err != nil || s.PowerOnResets != nil || s.SectorsWritten != nil {
			t.Errorf("flags %#x: %+v, %v", flags, s, err)
		}
	}
	other := page(3 << 62)
	other[2] = 4
	for _, b := range [][]byte{nil, make([]byte, 512), page(3 << 62)[:511], other} {
		if s, err := ParseStatistics(b); err == nil {
			t.Errorf("%d bytes are taken: %+v", len(b), s)
		}
	}
	// READ LOG EXT, one sector of page 1 of log 04h: 48 bits, data-in.
	c, err := ReadStatistics().SCSI()
	if err != nil || c.CDB[14] != 0x2f || c.CDB[1] != 4<<1|1 || c.CDB[6] != 1 || c.CDB[8] != 4 || c.CDB[10] != 1 {
		t.Errorf("% x, %v", c.CDB, err)
	}
}
