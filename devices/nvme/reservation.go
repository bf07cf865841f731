package nvme

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ReservationReport asks who is registered for a namespace's reservation, and who holds it (NVMe base
// 2.1, 7.8). Extended asks in the form for host identifiers of 128 bits; a controller whose hosts have
// the other kind answers StatusHostIDFormat.
type ReservationReport struct {
	NSID     uint32
	Extended bool
}

// Command encodes it. The buffer begins as ones: an answer that wrote nothing says nothing, and not that
// nobody is registered, which is a page of zeros.
func (r ReservationReport) Command() *Command {
	c := &Command{Queue: IO, Opcode: 0x0e, NSID: r.NSID, CDW10: 4096/4 - 1, Data: bytes.Repeat([]byte{0xff}, 4096), Timeout: quick}
	if r.Extended {
		c.CDW11 = 1 << 0
	}
	return c
}

// ReservationType is RTYPE: who may do what while a namespace is reserved; 0 when it is not.
type ReservationType uint8

func (t ReservationType) String() string {
	if int(t) < len(reservationTypes) {
		return reservationTypes[t]
	}
	return fmt.Sprintf("reserved type %d", uint8(t))
}

var reservationTypes = []string{"none", "write exclusive", "exclusive access", "write exclusive, registrants only", "exclusive access, registrants only",
	"write exclusive, all registrants", "exclusive access, all registrants"}

// Registrant is a controller whose host is registered.
type Registrant struct {
	CNTLID uint16
	Holds  bool
	RKEY   uint64
}

// ReservationStatus is the answer. Registrants are those of REGCTL that it has room for.
type ReservationStatus struct {
	GEN         uint32
	RTYPE       ReservationType
	REGCTL      uint16
	Registrants []Registrant
}

// ParseReservationStatus decodes the answer in the form that was asked for.
func ParseReservationStatus(b []byte, extended bool) (ReservationStatus, error) {
	head, size, key := 24, 24, 16
	if extended {
		head, size, key = 64, 64, 8
	}
	if len(b) < head {
		return ReservationStatus{}, fmt.Errorf("reservation report: %d bytes, want %d", len(b), head)
	}
	le := binary.LittleEndian
	s := ReservationStatus{GEN: le.Uint32(b), RTYPE: ReservationType(b[4]), REGCTL: le.Uint16(b[5:])}
	switch {
	case int(s.RTYPE) >= len(reservationTypes):
		return ReservationStatus{}, fmt.Errorf("reservation report: %v", s.RTYPE)
	case s.RTYPE != 0 && s.REGCTL == 0:
		return ReservationStatus{}, fmt.Errorf("reservation report: it is reserved (%v), and by nobody", s.RTYPE)
	}
	for b = b[head:]; len(s.Registrants) < int(s.REGCTL) && len(b) >= size; b = b[size:] {
		s.Registrants = append(s.Registrants, Registrant{le.Uint16(b), b[2]&1 != 0, le.Uint64(b[key:])})
	}
	if len(s.Registrants) == 0 && s.REGCTL > 0 {
		return ReservationStatus{}, fmt.Errorf("reservation report: %d registrants, and none is listed", s.REGCTL)
	}
	return s, nil
}
