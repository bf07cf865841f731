package scsi

import (
	"encoding/hex"
	"testing"
)

// SPC-5 6.41, 6.42: the length is in bytes, or with INC_512 in blocks of 512.
func TestSecurityProtocol(t *testing.T) {
	for _, x := range []struct {
		s         SecurityProtocol
		cdb       string
		direction Direction
	}{
		{SecurityProtocol{Protocol: 1, Specific: 0x07fe, In: true, Data: make([]byte, 2048), Timeout: 1}, "a20107fe0000000008000000", DataIn},
		{SecurityProtocol{Protocol: 1, Specific: 0x07fe, In: true, InBlocks: true, Data: make([]byte, 2048), Timeout: 1}, "a20107fe8000000000040000", DataIn},
		{SecurityProtocol{Protocol: 2, Specific: 5, Data: make([]byte, 512), Timeout: 1}, "b50200050000000002000000", DataOut},
		{SecurityProtocol{Protocol: 1, Specific: 0x1000, InBlocks: true, Data: make([]byte, 512), Timeout: 1}, "b50110008000000000010000", DataOut},
	} {
		c, err := x.s.Command()
		if err != nil || hex.EncodeToString(c.CDB) != x.cdb || c.Direction != x.direction || len(c.Data) != len(x.s.Data) || c.Timeout != 1 {
			t.Errorf("%s: %+v, %v", x.cdb, c, err)
		}
	}
	for _, s := range []SecurityProtocol{{}, {InBlocks: true, Data: make([]byte, 513)}} {
		if c, err := s.Command(); err == nil {
			t.Errorf("%x", c.CDB)
		}
	}
}
