package virtual

import (
	"encoding/binary"
	"testing"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// answer is what came back in the ATA return descriptor.
type answer struct {
	failed        bool
	failure       byte
	count         uint16
	lba           uint64
	status        byte
	senseLength   int
	checkReturned bool
}

func readAnswer(r scsi.Result) answer {
	a := answer{senseLength: len(r.Sense), checkReturned: r.Status == 2}
	if s := r.Sense; len(s) == 22 && s[0] == 0x72 && s[8] == 9 {
		a.failure, a.count, a.status = s[11], binary.BigEndian.Uint16(s[12:]), s[21]
		a.lba = uint64(s[15]) | uint64(s[17])<<8 | uint64(s[19])<<16 | uint64(s[14])<<24 | uint64(s[16])<<32 | uint64(s[18])<<40
	}
	a.failed = a.status&1 != 0
	return a
}

// pass is ATA PASS-THROUGH(16) with CK_COND, 48 bits wide.
func pass(protocol, opcode byte, feature, count uint16, lba uint64) []byte {
	return []byte{0x85, protocol<<1 | 1, 0x20, byte(feature >> 8), byte(feature), byte(count >> 8), byte(count),
		byte(lba >> 24), byte(lba), byte(lba >> 32), byte(lba >> 8), byte(lba >> 40), byte(lba >> 16), 0x40, opcode, 0}
}

func (g *rig) ata(protocol, opcode byte, feature, count uint16, lba uint64, out []byte) answer {
	g.t.Helper()
	r, _ := g.send(pass(protocol, opcode, feature, count, lba), out, 0)
	return readAnswer(r)
}

func (g *rig) identity() []uint16 {
	g.t.Helper()
	_, page := g.send([]byte{0x85, 0x08, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0}, nil, 512)
	if len(page) != 512 {
		g.t.Fatalf("IDENTIFY DEVICE: %d bytes", len(page))
	}
	words := make([]uint16, 256)
	for i := range words {
		words[i] = binary.LittleEndian.Uint16(page[2*i:])
	}
	return words
}

func (g *rig) sectors() uint64 {
	w := g.identity()
	return uint64(w[100]) | uint64(w[101])<<16 | uint64(w[102])<<32
}

// secret is the data block of ATA Security: identifier, enhanced or maximum in its first word.
func secret(word uint16, password string) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint16(b, word)
	copy(b[2:34], password)
	return b
}

const (
	crypto    = 0x43727970
	blockSig  = 0x426b4572
	overwrite = 0x4f57 << 32
)

func TestReadVerify(t *testing.T) {
	g := newRig(t, Spec{Profile: "sata-hdd", SizeBytes: 40 << 20}, "read-error:1000+2")
	for _, x := range []struct {
		name    string
		lba     uint64
		count   uint16
		failure byte
		at      uint64
	}{{"good", 0, 1000, 0, 0}, {"unreadable", 990, 20, 1 << 6, 1000}, {"0 is 65536", 10000, 0, 0, 0}, {"0 is 65536, beyond", 20000, 0, 1 << 4, 81920}, {"last", 81919, 1, 0, 0}, {"behind", 81920, 1, 1 << 4, 81920}} {
		if a := g.ata(3, 0x42, 0, x.count, x.lba, nil); a.failure != x.failure || a.failed != (x.failure != 0) || a.failed && a.lba != x.at {
			t.Errorf("%s: %+v", x.name, a)
		}
	}
}
