package keystream

import (
	"encoding/binary"
	"math/bits"
)

// rounds of AES-256 (FIPS 197, table 3).
const rounds = 14

// schedule is what assembly needs of a key; its layout is known to tools/keystream.
//
// Of 256 blocks in sequence only the counter's last byte differs. In round 1 it changes four bytes
// of the state, by amounts that depend on that byte alone: they are kept in deltas, and the rest of
// the round is the same for all.
type schedule struct {
	deltas [256][16]byte
	keys   [rounds + 1][16]byte
}

func expand(key [KeySize]byte) *schedule {
	s := &schedule{keys: expandKey(key)}
	// Round 1 with the last byte b, against round 1 with 0. ShiftRows moves byte 15, which is in row 3
	// and column 3, to column 0; MixColumns multiplies row 3 by 1, 1, 3 and 2.
	last := s.keys[0][15]
	for b := range s.deltas {
		d := sbox[byte(b)^last] ^ sbox[last]
		twice := double(d)
		s.deltas[b] = [16]byte{d, d, twice ^ d, twice}
	}
	return s
}

// expandKey is KeyExpansion of FIPS 197, 5.2, for keys of 8 words.
func expandKey(key [KeySize]byte) (keys [rounds + 1][16]byte) {
	const words = KeySize / 4
	var w [4 * (rounds + 1)]uint32
	for i := range words {
		w[i] = binary.BigEndian.Uint32(key[4*i:])
	}
	constant := byte(1)
	for i := words; i < len(w); i++ {
		t := w[i-1]
		switch i % words {
		case 0:
			t = substitute(bits.RotateLeft32(t, 8)) ^ uint32(constant)<<24
			constant = double(constant)
		case 4:
			t = substitute(t)
		}
		w[i] = w[i-words] ^ t
	}
	for i, word := range w {
		binary.BigEndian.PutUint32(keys[i/4][i%4*4:], word)
	}
	return keys
}

// substitute is SubWord.
func substitute(w uint32) uint32 {
	return uint32(sbox[w>>24])<<24 | uint32(sbox[w>>16&0xff])<<16 | uint32(sbox[w>>8&0xff])<<8 | uint32(sbox[w&0xff])
}

// double multiplies by x in GF(2^8) (FIPS 197, 4.2: XTIMES).
func double(b byte) byte { return b<<1 ^ b>>7*0x1b }

// sbox is SubBytes (FIPS 197, 5.1.1): the inverse in GF(2^8), and an affine map of its bits.
var sbox = makeSBox()

func makeSBox() (box [256]byte) {
	// 3 generates the field: its powers in one direction are the inverses of those in the other.
	var power [255]byte
	p := byte(1)
	for i := range power {
		power[i] = p
		p ^= double(p)
	}
	affine := func(b byte) byte {
		return b ^ bits.RotateLeft8(b, 1) ^ bits.RotateLeft8(b, 2) ^ bits.RotateLeft8(b, 3) ^ bits.RotateLeft8(b, 4) ^ 0x63
	}
	box[0] = affine(0)
	for i, p := range power {
		box[p] = affine(power[(255-i)%255])
	}
	return box
}
