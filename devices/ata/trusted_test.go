package ata

import (
	"encoding/hex"
	"testing"
)

// ACS-4 7.56, 7.58: FEATURE is the protocol, LBA 23:8 what is specific to it, COUNT the blocks.
func TestTrusted(t *testing.T) {
	for _, x := range []struct {
		c           Trusted
		long, short string
	}{
		{Trusted{Protocol: 1, Specific: 0x07fe, Receive: true, Data: make([]byte, 2048), Timeout: 1}, "85080e0001000400000" + "0fe0007005c00", "a1080e010400fe07005c0000"},
		{Trusted{Protocol: 1, Specific: 0x07fe, Data: make([]byte, 512), Timeout: 1}, "850a26000100010000" + "00fe0007005e00", "a10a26010100fe07005e0000"},
	} {
		c, err := x.c.Command()
		if err != nil {
			t.Fatal(err)
		}
		long, err := c.SCSI()
		if err != nil || hex.EncodeToString(long.CDB) != x.long {
			t.Errorf("%x, want %s, %v", long.CDB, x.long, err)
		}
		if short, err := c.SCSI12(); err != nil || hex.EncodeToString(short.CDB) != x.short {
			t.Errorf("%x, want %s, %v", short.CDB, x.short, err)
		}
	}
	for _, n := range []int{0, 511, 513, 256 * 512} {
		if c, err := (Trusted{Data: make([]byte, n), Timeout: 1}).Command(); err == nil {
			t.Errorf("%d bytes: %+v", n, c)
		}
	}
	for w, is := range map[uint16]bool{0x4001: true, 0x4000: false, 0x0001: false, 0xffff: false, 0x8001: false, 0: false} {
		if words(map[int]uint16{48: w}).TrustedComputing() != is {
			t.Errorf("word 48 %04x", w)
		}
	}
}
