package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// reference is crypto/aes's stream from a block on.
func reference(t *testing.T, key [32]byte, block uint64, n int) []byte {
	t.Helper()
	c, err := aes.NewCipher(key[:])
	if err != nil {
		t.Fatal(err)
	}
	var counter [16]byte
	binary.BigEndian.PutUint64(counter[8:], block)
	p := make([]byte, n)
	cipher.NewCTR(c, counter[:]).XORKeyStream(p, p)
	return p
}

const (
	scheduleAt = 0x10000
	dataAt     = 0x200010 // not aligned
)

// execute carries a routine out on memory of its own; all registers hold noise before.
func execute(t *testing.T, r routine, key [32]byte, memory []byte, readOnly bool, block uint64, name string) *machine {
	t.Helper()
	m := &machine{
		general: map[general]uint64{}, result: map[argument]byte{},
		arguments: map[argument]uint64{
			{"s", 0}: scheduleAt, {name + "_base", 8}: dataAt, {name + "_len", 16}: uint64(len(memory)), {"block", 32}: block,
		},
		regions: []region{{scheduleAt, scheduleOf(key), true}, {dataAt, memory, readOnly}},
	}
	noise := reference(t, key, 1<<63, 64*len(m.vectors))
	for n := range m.vectors {
		m.vectors[n] = [64]byte(noise[64*n:])
	}
	for n, g := range []general{schedule, data, left, number, upper, delta} {
		m.general[g] = binary.LittleEndian.Uint64(noise[8*n:])
	}
	if err := m.run(r); err != nil {
		t.Fatal(err)
	}
	return m
}

// Where the last one, two, four bytes of the counter carry, and far beyond any drive's end.
var blocks = []uint64{0, 224, 1<<8 - 32, 1<<16 - 32, 1<<32 - 64, 1<<36 + 32, 1<<48 - 32, 1<<59 - 32, 1<<63 - 32}

func TestRoutinesMakeTheKeystream(t *testing.T) {
	key := sha256.Sum256([]byte("a key"))
	for _, w := range []width{bits256, bits512} {
		for _, block := range blocks {
			for _, groups := range []int{0, 1, 3, 19} {
				want := reference(t, key, block, groups*w.group())
				got := make([]byte, len(want))
				execute(t, w.fill(), key, got, false, block, "dst")
				if !bytes.Equal(got, want) {
					t.Fatalf("%s from block %d on: %d groups differ from crypto/aes", w.name, block, groups)
				}
				if m := execute(t, w.equal(), key, want, true, block, "p"); m.result[argument{"ret", 40}] != 1 {
					t.Fatalf("%s from block %d on: %d groups are not what they are", w.name, block, groups)
				}
			}
		}
	}
}

// A comparison that overlooks a bit would call a drive overwritten that is not.
func TestComparisonsSeeEveryBit(t *testing.T) {
	key := sha256.Sum256([]byte("a key"))
	for _, w := range []width{bits256, bits512} {
		p := reference(t, key, 1<<40, 2*w.group())
		for bit := 0; bit < 8*len(p); bit += 5 { // every byte, and over 40 bits each bit of a byte
			p[bit/8] ^= 1 << (bit % 8)
			if m := execute(t, w.equal(), key, p, true, 1<<40, "p"); m.result[argument{"ret", 40}] != 0 {
				t.Fatalf("%s: bit %d was overlooked", w.name, bit)
			}
			p[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// The interpreter's AES against FIPS 197, appendix C.3.
func TestInterpreterKnowsAES(t *testing.T) {
	var key [32]byte
	var state [16]byte
	for i := range key {
		key[i] = byte(i)
	}
	for i := range state {
		state[i] = byte(i*0x11) ^ key[i]
	}
	w := roundKeys(key)
	for r := 1; r <= rounds; r++ {
		state = round(state, [16]byte(w[16*r:]), r == rounds)
	}
	if got := hex.EncodeToString(state[:]); got != "8ea2b7ca516745bfeafc49904b496089" {
		t.Fatalf("enciphered is %s", got)
	}
}
