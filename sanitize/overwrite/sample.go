package overwrite

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The shape of representative sampling: at least a thousand sections of the drive, two samples in
// each that do not overlap, each a twentieth of its section, and the drive's first and last block
// (NIST SP 800-88r1, 4.7).
const (
	sections     = 1000
	smallestDraw = 4000 // with fewer blocks everything is read
)

// SamplePRNG names the generator of Sample: the AES-256-CTR keystream of the seed from offset 0,
// taken as 64-bit big-endian words; to draw from m values, a word w at or above 2^64 - (2^64 mod m)
// is thrown away, else w mod m is drawn.
const SamplePRNG = "aes-256-ctr/u64be/reject"

// Sample draws the extents to read back on a drive of so many blocks. Sections have boundaries
// ⌊i·B/1000⌋; in a section of n blocks each sample is k = ⌈n/20⌉ blocks; two draws from [0, n-2k],
// sorted to a ≤ b, give [a, a+k) and [b+k, b+2k). full means that the drive is too small to be
// sampled so and the one extent is all of it. The seed must be drawn after the erase, or
// what will be read could be known before.
func Sample(blocks int64, block int, seed []byte) (extents []Extent, full bool, err error) {
	if blocks <= 0 || block <= 0 {
		return nil, false, fmt.Errorf("sample of %d blocks of %d bytes: nothing to read", blocks, block)
	}
	all := []Extent{{0, blocks * int64(block)}}
	if blocks < smallestDraw {
		return all, true, nil
	}
	draw, err := newDrawer(seed)
	if err != nil {
		return nil, false, err
	}
	size := int64(block)
	extents = make([]Extent, 0, 2*sections+2)
	extents = append(extents, Extent{0, size})
	for i := range int64(sections) {
		from, to := section(i, blocks), section(i+1, blocks)
		n := to - from
		k := (n + 19) / 20
		if n < 2*k {
			return all, true, nil
		}
		a, b := draw.below(n-2*k+1), draw.below(n-2*k+1)
		a, b = min(a, b), max(a, b)
		extents = append(extents, Extent{(from + a) * size, k * size}, Extent{(from + b + k) * size, k * size})
	}
	return append(extents, Extent{(blocks - 1) * size, size}), false, nil
}

// MarkerCount is how many single blocks are marked before an erase whose result is not known.
const MarkerCount = 2000

// Markers draws count different blocks to be marked, with SamplePRNG: draws from [0, blocks), of
// which those drawn before do not count, and the first and last block beside them. When there are
// at most twice as many blocks, all of them are marked.
func Markers(blocks int64, block int, count int64, seed []byte) ([]Extent, error) {
	if blocks <= 0 || block <= 0 {
		return nil, fmt.Errorf("markers on %d blocks of %d bytes", blocks, block)
	}
	size := int64(block)
	if blocks <= 2*count {
		return []Extent{{0, blocks * size}}, nil
	}
	draw, err := newDrawer(seed)
	if err != nil {
		return nil, err
	}
	extents := []Extent{{0, size}, {(blocks - 1) * size, size}}
	drawn := map[int64]bool{}
	for int64(len(drawn)) < count {
		n := draw.below(blocks)
		if !drawn[n] {
			drawn[n] = true
			extents = append(extents, Extent{n * size, size})
		}
	}
	return NewSet(extents...).Extents(), nil
}

// markedZones is how many zones are marked at most: each must be finished, which takes drives up to a second.
const markedZones = 500

// ZoneMarkers draws blocks to be marked on a drive that is written zone by zone: the first blocks of zones
// that are drawn with SamplePRNG, those drawn before not counting, so that there are count or more of them. They are
// written after the zones were reset; an eighth of the zones or more is left as it is, so that what was in
// them can be looked for after the erase. capacity is in blocks.
func ZoneMarkers(zones, capacity int64, block int, count int64, seed []byte) ([]Extent, error) {
	if zones <= 0 || capacity <= 0 || block <= 0 {
		return nil, fmt.Errorf("markers on %d zones of %d blocks of %d bytes", zones, capacity, block)
	}
	draw, err := newDrawer(seed)
	if err != nil {
		return nil, err
	}
	take := min(markedZones, zones-zones/8)
	each := min(capacity, (count+take-1)/take)
	var extents []Extent
	drawn := map[int64]bool{}
	for int64(len(drawn)) < take {
		n := draw.below(zones)
		if !drawn[n] {
			drawn[n] = true
			extents = append(extents, Extent{n * capacity * int64(block), each * int64(block)})
		}
	}
	return NewSet(extents...).Extents(), nil
}

// section is ⌊i·blocks/1000⌋ without overflow.
func section(i, blocks int64) int64 {
	return blocks/sections*i + blocks%sections*i/sections
}

// drawer draws numbers from a keystream, as SamplePRNG says.
type drawer struct {
	stream Keystream
	at     int64      // of what comes next in the stream
	ahead  [2048]byte // of the stream, of which left is not drawn yet: to begin a stream costs more than to go on with it
	left   []byte
}

func newDrawer(seed []byte) (*drawer, error) {
	stream, err := NewKeystream(seed)
	if err != nil {
		return nil, errors.Join(errors.New("sampling seed"), err)
	}
	return &drawer{stream: stream}, nil
}

// below draws uniformly from [0, m).
func (d *drawer) below(m int64) int64 {
	if m <= 1 {
		return 0
	}
	um := uint64(m)
	excess := (^uint64(0)%um + 1) % um // 2^64 mod m
	for {
		if len(d.left) == 0 {
			d.left = d.ahead[:]
			d.stream.Fill(d.left, d.at)
			d.at += int64(len(d.left))
		}
		w := binary.BigEndian.Uint64(d.left)
		d.left = d.left[8:]
		if w <= ^uint64(0)-excess {
			return int64(w % um)
		}
	}
}
