package overwrite

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

// Pattern is what a drive shall hold, byte for byte, as a function of the offset alone: any part
// can be made again at any time, for verification, for resuming, by a stranger.
type Pattern interface {
	// Fill writes the pattern's bytes for [off, off+len(p)) to p.
	Fill(p []byte, off int64)
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

// KeySize is the size of a keystream's key in bytes: AES-256.
const KeySize = 32

// Keystream is AES-256 in counter mode with the drive's byte offset as position: the counter
// block of byte offset o is o / 16 as 128-bit big-endian number and nothing else. openssl makes
// the same bytes: enc -aes-256-ctr -K <key> -iv <o/16 as 32 hex digits>, over zeros.
type Keystream struct{ block cipher.Block }

// NewKeystream makes the stream of one key of KeySize bytes.
func NewKeystream(key []byte) (Keystream, error) {
	if len(key) != KeySize {
		return Keystream{}, fmt.Errorf("keystream key of %d bytes, want %d", len(key), KeySize)
	}
	if bytes.Equal(key, make([]byte, KeySize)) {
		return Keystream{}, errors.New("keystream key is all zero")
	}
	block, err := aes.NewCipher(key)
	return Keystream{block}, err
}

// Fill implements Pattern.
func (k Keystream) Fill(p []byte, off int64) {
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(off)/aes.BlockSize)
	stream := cipher.NewCTR(k.block, counter[:])
	if skip := off % aes.BlockSize; skip > 0 {
		var before [aes.BlockSize]byte
		stream.XORKeyStream(before[:skip], before[:skip])
	}
	clear(p)
	stream.XORKeyStream(p, p)
}
