package main

import "math/bits"

// AES by the letter of FIPS 197, for the interpreter and for what a routine is given. Nothing of it
// is internal/keystream's.

// times multiplies in GF(2^8) (4.2).
func times(a, b byte) (p byte) {
	for ; b > 0; b >>= 1 {
		if b&1 != 0 {
			p ^= a
		}
		a = a<<1 ^ a>>7*0x1b
	}
	return p
}

// box is SubBytes (5.1.1).
var box = func() (box [256]byte) {
	for b := range box {
		inverse := byte(0)
		for c := range 256 {
			if times(byte(b), byte(c)) == 1 {
				inverse = byte(c)
			}
		}
		s := byte(0x63)
		for turn := range 5 {
			s ^= bits.RotateLeft8(inverse, turn)
		}
		box[b] = s
	}
	return box
}()

// round is one of 5.1's rounds, as AESENC and AESENCLAST do it.
func round(state, key [16]byte, last bool) (out [16]byte) {
	for column := range 4 {
		var c [4]byte
		for row := range 4 {
			c[row] = box[state[(column+row)%4*4+row]]
		}
		for row := range 4 {
			b := c[row]
			if !last {
				b = times(c[row], 2) ^ times(c[(row+1)%4], 3) ^ c[(row+2)%4] ^ c[(row+3)%4]
			}
			out[4*column+row] = b ^ key[4*column+row]
		}
	}
	return out
}

// roundKeys is KeyExpansion (5.2) of AES-256.
func roundKeys(key [32]byte) []byte {
	w := key[:]
	constant := byte(1)
	for i := 8; i < 4*(rounds+1); i++ {
		t := [4]byte(w[4*i-4:])
		if i%8 == 0 {
			t = [4]byte{box[t[1]] ^ constant, box[t[2]], box[t[3]], box[t[0]]}
			constant = times(constant, 2)
		} else if i%4 == 0 {
			t = [4]byte{box[t[0]], box[t[1]], box[t[2]], box[t[3]]}
		}
		for k := range t {
			w = append(w, t[k]^w[4*i-32+k])
		}
	}
	return w
}

// scheduleOf is what a routine is given of a key. What the last byte adds is the difference that it
// makes in round 1.
func scheduleOf(key [32]byte) []byte {
	w := roundKeys(key)
	first := func(last byte) [16]byte {
		state := [16]byte(w)
		state[15] ^= last
		return round(state, [16]byte{}, false)
	}
	var s []byte
	zero := first(0)
	for b := range 256 {
		one := first(byte(b))
		for i := range one {
			s = append(s, one[i]^zero[i])
		}
	}
	return append(s, w...)
}
