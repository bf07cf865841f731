package scsi

import (
	"encoding/binary"
	"fmt"
)

// ReadKeys is PERSISTENT RESERVE IN (SPC-5), which asks for the keys that initiators registered.
// Whoever holds a reservation is among them.
func ReadKeys() *Command {
	const n = 4096
	return &Command{CDB: []byte{0x5e, 0, 0, 0, 0, 0, 0, n >> 8, n & 0xff, 0}, Direction: DataIn, Data: make([]byte, n), Timeout: quick}
}

// reservationBody checks the header, generation and length, and returns what follows it.
func reservationBody(b []byte) ([]byte, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("persistent reserve in: %d bytes, want 8", len(b))
	}
	n := binary.BigEndian.Uint32(b[4:])
	if uint64(n) > uint64(len(b)-8) {
		return nil, fmt.Errorf("persistent reserve in: %d bytes of %d", len(b)-8, n)
	}
	return b[8 : 8+n], nil
}

// ParseReservationKeys decodes the answer to ReadKeys. A list that is not whole is an error.
func ParseReservationKeys(b []byte) ([]uint64, error) {
	p, err := reservationBody(b)
	if err != nil {
		return nil, err
	}
	if len(p)%8 != 0 {
		return nil, fmt.Errorf("persistent reserve in: %d bytes of keys", len(p))
	}
	var keys []uint64
	for ; len(p) > 0; p = p[8:] {
		keys = append(keys, binary.BigEndian.Uint64(p))
	}
	return keys, nil
}
