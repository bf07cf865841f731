package tcg

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Lengths of the three headers that a payload is in (Core 3.2.3).
const (
	comPacketHeader = 20
	packetHeader    = 24
	subpacketHeader = 12
	headers         = comPacketHeader + packetHeader + subpacketHeader
)

// ComPacket is what a TPer answered, out of its three wrappings. Without Payload it holds none.
type ComPacket struct {
	ComID       uint16
	Outstanding uint32 // bytes that are still to come; 1 is also "some time"
	MinTransfer uint32 // 0, or what must be asked for at least to be given them
	TSN, HSN    uint32 // of the packet: the TPer's and the host's session number
	Payload     []byte
}

// NotYet says whether the TPer is still at work (Core 3.3.10.2.1).
func (c ComPacket) NotYet() bool {
	return c.Payload == nil && c.Outstanding != 0
}

// seal puts the headers before a payload, which stands in b from byte headers on, and pads the whole to
// blocks with zeros. b has room for that.
func seal(b []byte, comID uint16, tsn, hsn uint32) []byte {
	payload := len(b) - headers
	padded := (payload + 3) &^ 3
	be := binary.BigEndian
	clear(b[:headers])
	be.PutUint16(b[4:], comID)
	be.PutUint32(b[16:], uint32(packetHeader+subpacketHeader+padded))
	p := b[comPacketHeader:]
	be.PutUint32(p, tsn)
	be.PutUint32(p[4:], hsn)
	be.PutUint32(p[20:], uint32(subpacketHeader+padded))
	be.PutUint32(b[comPacketHeader+packetHeader+8:], uint32(payload))
	end := (headers + padded + block - 1) / block * block
	whole := b[:end]
	clear(whole[len(b):])
	return whole
}

// ParseComPacket decodes an answer of one packet with one subpacket of data, which is all that a host
// gets that asks for no more (Core 3.2.3, 5.2.2.4). Each length must fit into the one around it, and
// what is between them must be zeros; what the outermost does not cover is no part of it. A ComID extension is a ComID that was never asked for.
func ParseComPacket(b []byte) (ComPacket, error) {
	fail := func(format string, a ...any) (ComPacket, error) {
		return ComPacket{}, fmt.Errorf("ComPacket: "+format, a...)
	}
	if len(b) < comPacketHeader {
		return fail("%d bytes, want %d: %w", len(b), comPacketHeader, ErrTruncated)
	}
	if zeros(b) {
		return fail("all zero: %w", ErrNoAnswer)
	}
	be := binary.BigEndian
	c := ComPacket{ComID: be.Uint16(b[4:]), Outstanding: be.Uint32(b[8:]), MinTransfer: be.Uint32(b[12:])}
	if extension := be.Uint16(b[6:]); extension != 0 {
		return fail("ComID extension %04xh", extension)
	}
	length := be.Uint32(b[16:])
	if length == 0 {
		return c, nil
	}
	p, err := within(b[comPacketHeader:], length, packetHeader)
	if err != nil {
		return fail("%w", err)
	}
	c.TSN, c.HSN = be.Uint32(p), be.Uint32(p[4:])
	s, err := within(p[packetHeader:], be.Uint32(p[20:]), subpacketHeader)
	if err != nil {
		return fail("packet: %w", err)
	}
	if kind := be.Uint16(s[6:]); kind != 0 {
		return fail("a subpacket of kind %04xh", kind)
	}
	if c.Payload, err = within(s[subpacketHeader:], be.Uint32(s[8:]), 1); err != nil {
		return fail("subpacket: %w", err)
	}
	for _, rest := range [][]byte{p[packetHeader+len(s):], s[subpacketHeader+len(c.Payload):]} {
		if !zeros(rest) {
			return fail("more than one packet of one subpacket")
		}
	}
	return c, nil
}

// within takes the first length bytes, of which there must be at least least.
func within(b []byte, length uint32, least int) ([]byte, error) {
	switch {
	case uint64(length) > uint64(len(b)):
		return nil, fmt.Errorf("a length of %d, and %d bytes are there: %w", length, len(b), ErrTruncated)
	case int(length) < least:
		return nil, fmt.Errorf("a length of %d, want at least %d", length, least)
	}
	return b[:length:length], nil
}

func zeros(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

var errOtherSession = errors.New("it is of another session")
