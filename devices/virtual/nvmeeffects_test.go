package virtual

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// What a drive says of its commands is what it takes.
func TestEffectsLog(t *testing.T) {
	for _, x := range []struct {
		profile               string
		csi                   uint32
		status                uint16
		format, sanitize, zns bool
	}{
		{"nvme-ssd", 0, 0, false, true, false},
		{"nvme-ssd", 2, scInvalidField, false, false, false},
		{"nvme-format", 0, 0, true, false, false},
		{"nvme-zns", 0, 0, false, true, false},
		{"nvme-zns", 2, 0, false, true, true},
	} {
		g := newRig(t, Spec{Profile: x.profile, SizeBytes: 2 << 20})
		b := make([]byte, 4096)
		g.nvmeWant(x.profile, x.status, nvme.Command{Opcode: 0x02, CDW10: 0x05 | 1023<<16, CDW14: x.csi << 24, Data: b})
		if x.status != 0 {
			continue
		}
		has := func(at, opcode int) bool { return binary.LittleEndian.Uint32(b[at+4*opcode:])&1 != 0 }
		if !has(0, 0x06) || has(0, 0x80) != x.format || has(0, 0x84) != x.sanitize || !has(1024, 0x01) || has(1024, 0x7d) != x.zns || has(1024, 0x09) {
			t.Errorf("%s, command set %d: % x", x.profile, x.csi, b[4*0x80:4*0x85])
		}
		if effects := binary.LittleEndian.Uint32(b[4*0x84:]); x.sanitize && effects != 1|1<<1|2<<16 {
			t.Errorf("%s: effects of Sanitize %#x", x.profile, effects)
		}
	}
}

// Zone Append writes at the write pointer, and says where that was.
func TestZoneAppend(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-zns", SizeBytes: 2 << 20})
	appendTo := func(what string, status uint16, slba uint32, want uint64) {
		t.Helper()
		c := nvme.Command{Queue: nvme.IO, Opcode: 0x7d, NSID: 1, CDW10: slba, CDW12: 1, Data: make([]byte, 1024), Timeout: time.Second}
		done, err := g.tr.NVMe(t.Context(), &c)
		if err != nil || done.Status&0x7ff != status || status == 0 && done.Result != want {
			t.Errorf("%s: %+v %v, want status %#x at %d", what, done, err, status, want)
		}
	}
	appendTo("to a full zone", scZoneFull, 2048, 0)
	g.nvmeWant("reset", 0, nvme.Command{Queue: nvme.IO, Opcode: 0x79, NSID: 1, CDW10: 2048, CDW13: 4})
	appendTo("to an empty zone", 0, 2048, 2048)
	appendTo("behind that", 0, 2048, 2050)
	appendTo("not to a zone's beginning", scInvalidField, 2049, 0)
	appendTo("to no zone", scLBAOutOfRange, 4096, 0)
	plain := newRig(t, Spec{Profile: "nvme-ssd", SizeBytes: 2 << 20})
	plain.nvmeWant("of a drive without zones", scInvalidOpcode, nvme.Command{Queue: nvme.IO, Opcode: 0x7d, NSID: 1, CDW12: 1, Data: make([]byte, 1024)})
}
