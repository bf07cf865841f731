package keystream

import (
	"bytes"
	"math"
	"sync"
)

// vector is an implementation in assembly. It makes whole groups of blocks, and a group begins at a
// multiple of its size.
type vector struct {
	name  string
	group int // bytes, a divisor of 4096
	fill  func(s *schedule, dst []byte, block uint64)
	equal func(s *schedule, p []byte, block uint64) bool
}

// trusted are the vector implementations that this CPU has and that are right, the fastest first.
// They are tested when it is first asked.
var trusted = sync.OnceValue(func() []vector { return right(vectors()) })

func right(all []vector) []vector {
	var list []vector
	for _, v := range all {
		if v.right() {
			list = append(list, v)
		}
	}
	return list
}

func fastest() *vector {
	if list := trusted(); len(list) > 0 {
		return &list[0]
	}
	return nil
}

// Implementations names what can make a keystream here, the fastest first: vaes-512 and vaes-256
// where the CPU has them, and crypto/aes.
func Implementations() []string {
	var names []string
	for _, v := range trusted() {
		names = append(names, v.name)
	}
	return append(names, portable)
}

// right compares an implementation with crypto/aes. A CPU, or a machine that plays one, may claim
// an instruction and do something else; a wrong stream could not be made again by anybody.
func (v *vector) right() bool {
	key := []byte("expunge: a key to test streams..")
	s, err := newStream(key, v)
	if err != nil {
		return false
	}
	reference, err := newStream(key, nil)
	if err != nil {
		return false
	}
	const longest = 4096 + 512 + 31
	want, got := make([]byte, longest+1), make([]byte, longest+1)
	for _, off := range []int64{
		0, 16, 77, 4096 - 256, // the counter's last byte carries into the next
		1<<20 - 2048, 1<<36 - 1024, 1<<40 + 4096, // its last two and four bytes, and beyond
		1<<44 - 512 - 3, 1<<52 - 4096, 1<<60 - 16, math.MaxInt64 - longest,
	} {
		for _, n := range []int{1, 16, 255, 512, 1024, longest} {
			reference.Fill(want[:n], off)
			const guard = 0xA5
			got[n] = guard
			clear(got[:n])
			s.Fill(got[:n], off)
			if !bytes.Equal(got[:n], want[:n]) || got[n] != guard || !s.Equal(got[:n], off) {
				return false
			}
			for _, at := range []int{0, n / 3, n / 2, n - 1} {
				got[at] ^= 1 << (at % 8)
				if s.Equal(got[:n], off) {
					return false
				}
				got[at] ^= 1 << (at % 8)
			}
		}
	}
	return true
}
