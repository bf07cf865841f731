package tcg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Code is that of a feature of Level 0 discovery.
type Code uint16

// The features that are known (Opal 2.30 3.1.1 and the feature sets' own specifications).
const (
	CodeTPer             Code = 0x0001
	CodeLocking          Code = 0x0002
	CodeGeometry         Code = 0x0003
	CodeEnterprise       Code = 0x0100
	CodeOpal1            Code = 0x0200
	CodeSingleUser       Code = 0x0201
	CodeDataStore        Code = 0x0202
	CodeOpal2            Code = 0x0203
	CodeOpalite          Code = 0x0301
	CodePyrite1          Code = 0x0302
	CodePyrite2          Code = 0x0303
	CodeRuby             Code = 0x0304
	CodeKeyPerIO         Code = 0x0305
	CodeBlockSID         Code = 0x0402
	CodeNamespaceLocking Code = 0x0403
	CodeDataRemoval      Code = 0x0404
)

// leastData is how many bytes of data a feature must have for what is read of it.
var leastData = map[Code]int{
	CodeTPer: 1, CodeLocking: 1, CodeGeometry: 28, CodeEnterprise: 5, CodeOpal1: 4, CodeSingleUser: 5, CodeOpal2: 11, CodeOpalite: 11, CodePyrite1: 11,
	CodePyrite2: 11, CodeRuby: 11, CodeKeyPerIO: 4, CodeBlockSID: 2, CodeDataRemoval: 16,
}

// Feature is one descriptor as it came.
type Feature struct {
	Code    Code
	Version uint8 // bits 7:4 of its byte 2: the descriptor's, and
	Minor   uint8 // bits 3:0, the SSC's minor version
	Data    []byte
}

// Discovery is what Level 0 discovery says (Core 3.3.6), every feature in the order it came.
type Discovery struct {
	Major, Minor uint16
	Features     []Feature
	Page         []byte // all of it as it came
}

// Has finds a feature.
func (d Discovery) Has(c Code) (Feature, bool) {
	at := slices.IndexFunc(d.Features, func(f Feature) bool { return f.Code == c })
	if at < 0 {
		return Feature{}, false
	}
	return d.Features[at], true
}

const (
	discoveryHeader = 48
	featureHeader   = 4
	longestAnswer   = 64 << 10
)

// ParseDiscovery decodes the answer. The error is ErrNoAnswer for a blank one, which some bridges give,
// and ErrTruncated for one that is longer than what came. A descriptor that goes beyond the end, or is too
// short for what it must say, makes all of it worthless.
func ParseDiscovery(b []byte) (Discovery, error) {
	fail := func(format string, a ...any) (Discovery, error) {
		return Discovery{}, fmt.Errorf("Level 0 discovery: "+format, a...)
	}
	switch {
	case zeros(b):
		return fail("%d bytes, all zero: %w", len(b), ErrNoAnswer)
	case len(b) < discoveryHeader:
		return fail("%d bytes, want %d: %w", len(b), discoveryHeader, ErrTruncated)
	}
	be := binary.BigEndian
	total := uint64(be.Uint32(b)) + 4 // the length does not count itself
	switch {
	case total < discoveryHeader:
		return fail("a length of %d, which is less than its header", total-4)
	case total > uint64(len(b)):
		return fail("%d bytes, of which %d came: %w", total, len(b), ErrTruncated)
	}
	d := Discovery{Major: be.Uint16(b[4:]), Minor: be.Uint16(b[6:]), Page: slices.Clone(b[:total])}
	for rest := b[discoveryHeader:total]; !zeros(rest); {
		if len(rest) < featureHeader {
			return fail("%d bytes where a feature should begin", len(rest))
		}
		f := Feature{Code: Code(be.Uint16(rest)), Version: rest[2] >> 4, Minor: rest[2] & 0x0f}
		n := featureHeader + int(rest[3])
		switch {
		case n > len(rest):
			return fail("feature %04xh has %d bytes, and %d are left", f.Code, n, len(rest))
		case n-featureHeader < leastData[f.Code]:
			return fail("feature %04xh has %d bytes of data, want %d", f.Code, n-featureHeader, leastData[f.Code])
		}
		if _, twice := d.Has(f.Code); twice && leastData[f.Code] > 0 {
			return fail("feature %04xh twice", f.Code)
		}
		f.Data = slices.Clone(rest[featureHeader:n])
		d.Features, rest = append(d.Features, f), rest[n:]
	}
	if len(d.Features) == 0 {
		return fail("no features: %w", ErrNoAnswer)
	}
	return d, nil
}

// Discover asks for Level 0 discovery, which any drive that has a TPer answers without a session. An
// answer that is longer than usual is asked for again.
func Discover(ctx context.Context, door Door) (Discovery, error) {
	for size := 2048; ; {
		b, err := door.Receive(ctx, protocolTPer, comIDDiscovery, size)
		if err != nil {
			return Discovery{}, fmt.Errorf("Level 0 discovery: %w", err)
		}
		d, err := ParseDiscovery(b)
		if !errors.Is(err, ErrTruncated) || len(b) < size || size == longestAnswer {
			return d, err
		}
		size = longestAnswer
	}
}

// Protocols asks which security protocols a drive knows (SPC-5 7.7.1.2).
func Protocols(ctx context.Context, door Door) ([]uint8, error) {
	b, err := door.Receive(ctx, protocolList, 0, block)
	if err != nil {
		return nil, fmt.Errorf("list of security protocols: %w", err)
	}
	return ParseProtocols(b)
}

// ParseProtocols decodes the list: ascending, and it begins with protocol 00h, by which it was asked for.
func ParseProtocols(b []byte) ([]uint8, error) {
	const header = 8
	if len(b) < header {
		return nil, fmt.Errorf("list of security protocols: %d bytes, want %d: %w", len(b), header, ErrTruncated)
	}
	n := int(binary.BigEndian.Uint16(b[6:]))
	switch {
	case n == 0:
		return nil, fmt.Errorf("list of security protocols: empty: %w", ErrNoAnswer)
	case n > 256:
		return nil, fmt.Errorf("list of security protocols: it counts %d", n)
	case n > len(b)-header:
		return nil, fmt.Errorf("list of security protocols: %d, of which %d came: %w", n, len(b)-header, ErrTruncated)
	}
	list := slices.Clone(b[header : header+n])
	if list[0] != protocolList {
		return nil, fmt.Errorf("list of security protocols: it begins with %02xh", list[0])
	}
	for i, p := range list[1:] {
		if p <= list[i] {
			return nil, fmt.Errorf("list of security protocols: %02xh after %02xh", p, list[i])
		}
	}
	return list, nil
}

// SpeaksTCG says whether a list of protocols has those of the TCG.
func SpeaksTCG(protocols []uint8) bool { return slices.Contains(protocols, protocolTPer) }

// BlockSID blocks authentication as SID (feature set Block SID 1.00): until the next loss of power, and where asked until the
// next hardware reset, no session can be opened as SID. Level 0 discovery tells whether it is so.
func BlockSID(ctx context.Context, door Door, clearedByReset bool) error {
	b := make([]byte, block)
	if clearedByReset {
		b[0] = 1
	}
	if err := door.Send(ctx, protocolManagement, comIDBlockSID, b); err != nil {
		return fmt.Errorf("Block SID: %w", err)
	}
	return nil
}
