package attest

import (
	"encoding/binary"
	"slices"
)

// discovery is what a judge wants of Level 0 discovery (TCG Core 2.01, 3.3.6): how a self-encrypting drive stands
// with its locking.
type discovery struct {
	encrypts, active, shut bool // shut: locked, or covered by its shadow MBR
	removing, interrupted  bool
	removal                bool // it says how data are removed
}

// parseDiscovery reads a header of 48 bytes and descriptors of a code, a version and a length. ok is false when
// it is not whole, or has no locking feature, or two.
func parseDiscovery(page []byte) (d discovery, ok bool) {
	if len(page) < 48 {
		return d, false
	}
	length := int(binary.BigEndian.Uint32(page)) + 4
	if length < 48 || length > len(page) {
		return d, false
	}
	for rest := page[48:length]; slices.ContainsFunc(rest, func(b byte) bool { return b != 0 }); {
		if len(rest) < 4 || len(rest) < 4+int(rest[3]) {
			return d, false
		}
		data := rest[4 : 4+int(rest[3])]
		switch code := binary.BigEndian.Uint16(rest); {
		case code == 0x0002 && (ok || len(data) == 0):
			return d, false
		case code == 0x0002:
			flags := data[0]
			ok = flags&1 != 0
			d.active, d.encrypts = flags&2 != 0, flags&8 != 0
			d.shut = flags&4 != 0 || flags&0x30 == 0x10
		case code == 0x0404 && (len(data) < 2 || d.removal), code == 0x0302, code == 0x0303: // Pyrite encrypts nothing
			return d, false
		case code == 0x0404:
			d.removal, d.removing, d.interrupted = true, data[1]&1 != 0, data[1]&2 != 0
		}
		rest = rest[4+len(data):]
	}
	return d, ok
}
