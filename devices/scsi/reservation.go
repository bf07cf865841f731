package scsi

import (
	"encoding/binary"
	"fmt"
)

// The service actions of PERSISTENT RESERVE IN that are read here (SPC-5).
const (
	ReadKeys        = 0x00
	ReadReservation = 0x01
)

// PersistentReserveIn asks for the keys that initiators registered, or for the reservation.
func PersistentReserveIn(action uint8) *Command {
	const n = 4096
	return &Command{CDB: []byte{0x5e, action & 0x1f, 0, 0, 0, 0, 0, n >> 8, n & 0xff, 0}, Direction: DataIn, Data: make([]byte, n), Timeout: quick}
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

// ParseReservationKeys decodes ReadKeys. A list that is not whole is an error.
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

// ParseReservation decodes ReadReservation: whether the logical unit is reserved, by which key, and
// how.
func ParseReservation(b []byte) (held bool, key uint64, kind uint8, err error) {
	p, err := reservationBody(b)
	switch {
	case err != nil:
		return false, 0, 0, err
	case len(p) == 0:
		return false, 0, 0, nil
	case len(p) != 16:
		return false, 0, 0, fmt.Errorf("persistent reserve in: a reservation of %d bytes, want 16", len(p))
	}
	return true, binary.BigEndian.Uint64(p), p[13] & 0x0f, nil
}
