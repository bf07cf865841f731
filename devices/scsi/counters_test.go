package scsi

import "testing"

func TestParseCounters(t *testing.T) {
	stops := []byte{0x0e, 0, 0, 16, 0, 3, 3, 4, 0, 0, 0xc3, 0x50, 0, 4, 3, 4, 0, 0, 0, 34}
	if n, known, err := ParseStartStopCycles(stops); err != nil || !known || n != 34 {
		t.Errorf("%d, %v, %v", n, known, err)
	}
	for n := 16; n < 20; n++ {
		stops[n] = 0xff
	}
	if n, known, err := ParseStartStopCycles(stops); err != nil || known {
		t.Errorf("a counter that says that it does not count: %d, %v", n, err)
	}
	general := append([]byte{0x19, 0, 0, 68, 0, 1, 3, 64}, make([]byte, 64)...)
	general[8+16+6], general[8+16+7] = 1, 2 // logical blocks received
	general[8+24+7] = 9                     // transmitted
	if n, err := ParseBlocksReceived(general); err != nil || n != 0x102 {
		t.Errorf("%d, %v", n, err)
	}
	for _, b := range [][]byte{nil, make([]byte, 72), general[:20], stops} {
		if n, err := ParseBlocksReceived(b); err == nil {
			t.Errorf("%d bytes are taken: %d", len(b), n)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 20), stops[:14], general} {
		if n, known, err := ParseStartStopCycles(b); err == nil && known {
			t.Errorf("%d bytes are taken: %d", len(b), n)
		}
	}
}
