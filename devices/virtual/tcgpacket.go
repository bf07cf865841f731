package virtual

import (
	"encoding/binary"
	"errors"
)

// The lengths of headers (Core 3.2.3).
const (
	comPacketHeader = 20
	packetHeader    = 24
	subpacketHeader = 12
)

// ifFailure is why an IF-SEND or IF-RECV itself failed; each interface has its own words for it.
type ifFailure int

// The failures (TCG SIIS, error codes).
const (
	ifGood     ifFailure = iota
	ifInvalid            // a security protocol, ComID or length that there is not
	ifSequence           // a synchronous protocol violation: an answer has not been fetched
)

// The TPer's security protocols and fixed ComIDs.
const (
	protocolInfo    = 0x00
	protocolTCG     = 0x01
	protocolManage  = 0x02
	comIDDiscovery  = 0x0001
	comIDTPerReset  = 0x0004
	comIDBlockSID   = 0x0005
	mostComPacket   = 64 << 10 // bytes that are taken or returned at once
	leastComPacket  = 1024     // of Core; every host can take it
	leastComPacket2 = 2048     // of Opal 2 and its family
)

// comID is the one static ComID.
func (p Profile) comID() uint16 {
	if p.tcg.kind == tcgEnterprise {
		return 0x07fe
	}
	return 0x1000
}

// packet is what a host sent in a ComPacket.
type packet struct {
	tsn, hsn uint32
	payload  []byte
}

var errPacket = errors.New("malformed ComPacket")

// parseComPacket takes the one packet with the one data subpacket out, which is what the TPer's
// properties permit. What follows it in the transfer is padding.
func parseComPacket(b []byte, comID uint16) (packet, error) {
	be := binary.BigEndian
	if len(b) < comPacketHeader || be.Uint16(b[4:]) != comID || be.Uint16(b[6:]) != 0 {
		return packet{}, errPacket
	}
	n := be.Uint32(b[16:])
	if b = b[comPacketHeader:]; uint64(n) > uint64(len(b)) {
		return packet{}, errPacket
	}
	if b = b[:n]; len(b) < packetHeader {
		return packet{}, errPacket
	}
	p := packet{tsn: be.Uint32(b), hsn: be.Uint32(b[4:])}
	n = be.Uint32(b[20:])
	if b = b[packetHeader:]; uint64(n) > uint64(len(b)) {
		return packet{}, errPacket
	}
	for b = b[:n]; len(b) >= subpacketHeader; {
		kind, length := be.Uint16(b[6:]), be.Uint32(b[8:])
		b = b[subpacketHeader:]
		if uint64(length) > uint64(len(b)) {
			return packet{}, errPacket
		}
		if kind == 0 {
			p.payload = b[:length]
			return p, nil
		}
		b = b[min(len(b), (int(length)+3)/4*4):] // credit control
	}
	return packet{}, errPacket
}

// comPacket puts a payload, of a session or of the session manager (0, 0), into a ComPacket.
func comPacket(comID uint16, tsn, hsn uint32, payload []byte) []byte {
	be := binary.BigEndian
	padded := (len(payload) + 3) / 4 * 4
	b := make([]byte, comPacketHeader+packetHeader+subpacketHeader+padded)
	be.PutUint16(b[4:], comID)
	be.PutUint32(b[16:], uint32(len(b)-comPacketHeader))
	be.PutUint32(b[20:], tsn)
	be.PutUint32(b[24:], hsn)
	be.PutUint32(b[40:], uint32(subpacketHeader+padded))
	be.PutUint32(b[52:], uint32(len(payload)))
	copy(b[56:], payload)
	return b
}

// emptyComPacket says that there is nothing to fetch, or, with outstanding bytes, that there is more
// than was asked for (Core 3.3.10.2.1).
func emptyComPacket(comID uint16, outstanding, least int) []byte {
	be := binary.BigEndian
	b := make([]byte, comPacketHeader)
	be.PutUint16(b[4:], comID)
	be.PutUint32(b[8:], uint32(outstanding))
	be.PutUint32(b[12:], uint32(least))
	return b
}
