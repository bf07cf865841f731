package ata

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The signature that every SMART command carries in LBA(23:8) (ACS-3 7.48).
const smartSignature = 0xc24f00

// SMARTReadData is SMART READ DATA (ACS-3 7.48.6).
func SMARTReadData() Command {
	return Command{Protocol: PIOIn, Feature: 0xd0, Count: 1, LBA: smartSignature, Opcode: 0xb0, Data: make([]byte, 512), Timeout: quick}
}

// SMARTReturnStatus is SMART RETURN STATUS (ACS-3 7.48.8), which answers in its registers.
func SMARTReturnStatus() Command {
	return Command{Protocol: NonData, Feature: 0xda, LBA: smartSignature, Opcode: 0xb0, CheckCondition: true, Timeout: quick}
}

// ParseSMARTStatus tells whether the drive says that a threshold is exceeded. Any answer but the
// two of the standard is an error.
func ParseSMARTStatus(g Registers) (exceeded bool, err error) {
	if !g.Whole {
		return false, fmt.Errorf("SMART RETURN STATUS: %w", ErrNoRegisters)
	}
	switch g.LBA >> 8 & 0xffff {
	case 0xc24f:
		return false, nil
	case 0x2cf4:
		return true, nil
	}
	return false, fmt.Errorf("SMART RETURN STATUS: LBA is %06xh, which the standard does not know", g.LBA)
}

// Attribute is one of the vendor's attributes. Their meaning is custom, not standard.
type Attribute struct {
	ID           uint8
	Flags        uint16
	Value, Worst uint8
	Raw          uint64 // 48 bits
}

// SMART is what SMART READ DATA says.
type SMART struct{ Attributes []Attribute }

// ParseSMART decodes SMART READ DATA: thirty attributes of twelve bytes from byte 2 on, as vendors
// lay it out. A page of zeros or with a wrong checksum is an error.
func ParseSMART(b []byte) (SMART, error) {
	if len(b) != 512 {
		return SMART{}, fmt.Errorf("SMART READ DATA: %d bytes, want 512", len(b))
	}
	sum, any := byte(0), byte(0)
	for _, c := range b {
		sum, any = sum+c, any|c
	}
	switch {
	case any == 0:
		return SMART{}, errors.New("SMART READ DATA: the page is all zero")
	case sum != 0:
		return SMART{}, errors.New("SMART READ DATA: its checksum is wrong")
	}
	var s SMART
	for n := range 30 {
		a := b[2+12*n:]
		if a[0] == 0 {
			continue
		}
		s.Attributes = append(s.Attributes, Attribute{
			ID: a[0], Flags: binary.LittleEndian.Uint16(a[1:]), Value: a[3], Worst: a[4],
			Raw: uint64(binary.LittleEndian.Uint32(a[5:])) | uint64(binary.LittleEndian.Uint16(a[9:]))<<32,
		})
	}
	return s, nil
}

// The attributes that most vendors agree on.
const (
	AttributeReallocated    = 5
	AttributePowerOnHours   = 9
	AttributeTemperatureAir = 190
	AttributeTemperature    = 194
	AttributePending        = 197
	AttributeUncorrectable  = 198
)

// Get finds an attribute.
func (s SMART) Get(id uint8) (Attribute, bool) {
	for _, a := range s.Attributes {
		if a.ID == id {
			return a, true
		}
	}
	return Attribute{}, false
}

// Temperature is degrees Celsius; false where none can be told. The low byte of the raw value is
// the temperature with every vendor that uses these attributes so; others are left alone.
func (s SMART) Temperature() (int, bool) {
	for _, id := range []uint8{AttributeTemperature, AttributeTemperatureAir} {
		if a, ok := s.Get(id); ok {
			if c := int(int8(a.Raw)); c > -40 && c < 120 && c != 0 {
				return c, true
			}
		}
	}
	return 0, false
}

// PowerOnHours is the low 32 bits of attribute 9, which some vendors follow by minutes; false
// where it is not there.
func (s SMART) PowerOnHours() (int64, bool) {
	a, ok := s.Get(AttributePowerOnHours)
	hours := int64(a.Raw & 0xffffffff)
	return hours, ok && hours < 50*366*24
}
