package overwrite

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/internal/keystream"
)

// Pattern is what a drive shall hold, byte for byte, as a function of the offset alone: any part
// can be made again at any time, for verification, for resuming, by a stranger.
type Pattern interface {
	// Fill writes the pattern's bytes for [off, off+len(p)) to p.
	Fill(p []byte, off int64)
	// Equal says whether p is what Fill would write to it. It needs no second buffer.
	Equal(p []byte, off int64) bool
}

// Repeating is a byte string repeated from the drive's first byte on: byte i of the drive is
// byte i mod len of the string, so a string of three bytes keeps its phase across requests.
type Repeating struct{ unit []byte }

// maxUnit bounds a repeating pattern; the legacy schemes need three bytes.
const maxUnit = 64

// NewRepeating makes a pattern of a string of 1 to 64 bytes.
func NewRepeating(unit []byte) (Repeating, error) {
	if len(unit) == 0 || len(unit) > maxUnit {
		return Repeating{}, fmt.Errorf("pattern of %d bytes: 1 to %d are possible", len(unit), maxUnit)
	}
	return Repeating{bytes.Clone(unit)}, nil
}

// Fill implements Pattern.
func (r Repeating) Fill(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	phase := int(off % int64(len(r.unit)))
	n := copy(p, r.unit[phase:])
	n += copy(p[n:], r.unit[:phase])
	// Doubling keeps the phase, because n is a multiple of the unit from here on.
	for n < len(p) {
		n += copy(p[n:], p[:n])
	}
}

// Equal implements Pattern.
func (r Repeating) Equal(p []byte, off int64) bool {
	first := p[:min(len(p), len(r.unit))]
	phase := int(off % int64(len(r.unit)))
	for i, b := range first {
		if b != r.unit[(phase+i)%len(r.unit)] {
			return false
		}
	}
	// The rest repeats it when it is equal to itself, a unit on.
	return bytes.Equal(p[len(first):], p[:len(p)-len(first)])
}

// Shifted is a pattern in the addresses of a part of the drive that begins at base.
func Shifted(whole Pattern, base int64) Pattern {
	r, ok := whole.(Repeating)
	if !ok {
		return shifted{whole, base}
	}
	phase := int(base % int64(len(r.unit)))
	return Repeating{slices.Concat(r.unit[phase:], r.unit[:phase])}
}

type shifted struct {
	whole Pattern
	base  int64
}

// Fill implements Pattern.
func (s shifted) Fill(p []byte, off int64) { s.whole.Fill(p, s.base+off) }

// Equal implements Pattern.
func (s shifted) Equal(p []byte, off int64) bool { return s.whole.Equal(p, s.base+off) }

// KeySize is the size of a keystream's key in bytes: AES-256.
const KeySize = keystream.KeySize

// Keystream is AES-256 in counter mode with the drive's byte offset as position: the counter
// block of byte offset o is o / 16 as 128-bit big-endian number and nothing else. openssl makes
// the same bytes: enc -aes-256-ctr -K <key> -iv <o/16 as 32 hex digits>, over zeros.
type Keystream struct{ stream *keystream.Stream }

// NewKeystream makes the stream of one key of KeySize bytes, which must not be all zero.
func NewKeystream(key []byte) (Keystream, error) {
	stream, err := keystream.New(key)
	return Keystream{stream}, err
}

// Fill implements Pattern.
func (k Keystream) Fill(p []byte, off int64) { k.stream.Fill(p, off) }

// Equal implements Pattern.
func (k Keystream) Equal(p []byte, off int64) bool { return k.stream.Equal(p, off) }
