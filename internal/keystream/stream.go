// Package keystream makes AES-256 in counter mode as fast as the CPU can, at any position, and
// compares memory with it without storing it. It is a pseudorandom sequence that a key names, not
// an encryption of anything: there is no nonce, and the comparison is not constant-time.
//
// The block at byte offset o is AES-256 of o / 16 as 128-bit big-endian number. CPUs that have VAES
// run assembly that tools/keystream wrote; crypto/aes is what it is compared with before its first
// use, and what runs everywhere else.
package keystream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

//go:generate go run -C ../../tools ./keystream -o ../internal/keystream/vaes_amd64.s

// KeySize is the size of a key in bytes: AES-256.
const KeySize = 32

// Stream is the keystream of one key. It may be used by several goroutines at a time.
type Stream struct {
	block    cipher.Block
	vector   *vector   // nil is crypto/aes
	schedule *schedule // for vector
}

// New makes the stream of a key of KeySize bytes, not all of them zero, with the fastest
// implementation that can be trusted here.
func New(key []byte) (*Stream, error) { return newStream(key, fastest()) }

// NewUsing is New with the implementation of that name, one of Implementations.
func NewUsing(name string, key []byte) (*Stream, error) {
	if name == portable {
		return newStream(key, nil)
	}
	for _, v := range trusted() {
		if v.name == name {
			return newStream(key, &v)
		}
	}
	return nil, fmt.Errorf("keystream by %s: what can be trusted here is %v", name, Implementations())
}

func newStream(key []byte, v *vector) (*Stream, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("keystream key of %d bytes, want %d", len(key), KeySize)
	}
	if bytes.Equal(key, make([]byte, KeySize)) {
		return nil, errors.New("keystream key is all zero")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("keystream key: %w", err)
	}
	s := &Stream{block: block, vector: v}
	if v != nil {
		s.schedule = expand([KeySize]byte(key))
	}
	return s, nil
}

// Implementation is the name of what makes this stream.
func (s *Stream) Implementation() string {
	if s.vector == nil {
		return portable
	}
	return s.vector.name
}

// maxRun bounds what is made in one call of assembly, which the scheduler cannot interrupt.
const maxRun = 1 << 20

// Fill writes the keystream's bytes for [off, off+len(p)) to p. off is not negative.
func (s *Stream) Fill(p []byte, off int64) {
	at := uint64(off)
	if s.vector == nil {
		s.fillPortable(p, at)
		return
	}
	for len(p) > 0 {
		n := s.run(p, at)
		if n > 0 {
			s.vector.fill(s.schedule, p[:n], at/aes.BlockSize)
		} else {
			n = copy(p, s.part(at))
		}
		p, at = p[n:], at+uint64(n)
	}
}

// Equal says whether p is the keystream's bytes for [off, off+len(p)). off is not negative.
func (s *Stream) Equal(p []byte, off int64) bool {
	at := uint64(off)
	if s.vector == nil {
		return s.equalPortable(p, at)
	}
	for len(p) > 0 {
		n := s.run(p, at)
		if n > 0 {
			if !s.vector.equal(s.schedule, p[:n], at/aes.BlockSize) {
				return false
			}
		} else {
			part := s.part(at)
			n = min(len(p), len(part))
			if !bytes.Equal(p[:n], part[:n]) {
				return false
			}
		}
		p, at = p[n:], at+uint64(n)
	}
	return true
}

// run is how many bytes of p, at that position, are whole groups; 0 when it does not begin with one.
func (s *Stream) run(p []byte, at uint64) int {
	group := s.vector.group
	if at%uint64(group) != 0 {
		return 0
	}
	return min(len(p), maxRun) / group * group
}

// part makes what is left of a group from a position in it on.
func (s *Stream) part(at uint64) []byte {
	group := make([]byte, s.vector.group)
	skip := at % uint64(len(group))
	s.vector.fill(s.schedule, group, (at-skip)/aes.BlockSize)
	return group[skip:]
}

// portable is the name of crypto/aes.
const portable = "crypto/aes"

func (s *Stream) fillPortable(p []byte, at uint64) {
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], at/aes.BlockSize)
	stream := cipher.NewCTR(s.block, counter[:])
	if skip := at % aes.BlockSize; skip > 0 {
		var before [aes.BlockSize]byte
		stream.XORKeyStream(before[:skip], before[:skip])
	}
	clear(p)
	stream.XORKeyStream(p, p)
}

// portablePart is what is compared at a time: small enough to stay in the CPU's cache.
const portablePart = 16 << 10

func (s *Stream) equalPortable(p []byte, at uint64) bool {
	want := make([]byte, min(len(p), portablePart))
	for len(p) > 0 {
		want = want[:min(len(p), len(want))]
		s.fillPortable(want, at)
		if !bytes.Equal(p[:len(want)], want) {
			return false
		}
		p, at = p[len(want):], at+uint64(len(want))
	}
	return true
}
