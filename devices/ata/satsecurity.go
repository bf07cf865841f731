package ata

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// satSecurity is the ATA device server password security protocol (SAT-4), by which a
// translation runs the security commands itself.
const satSecurity = 0xef

const (
	satInformationBytes = 16
	satParameterBytes   = 36
)

// SATSecurityInfo asks the translation for the state of the Security feature set: SECURITY PROTOCOL
// IN, protocol EFh, specific 0000h (SAT-4).
func SATSecurityInfo() *scsi.Command {
	return &scsi.Command{
		CDB:       []byte{0xa2, satSecurity, 0, 0, 0, 0, 0, 0, 0, satInformationBytes, 0, 0},
		Direction: scsi.DataIn, Data: make([]byte, satInformationBytes), Timeout: quick,
	}
}

// ParseSATSecurity decodes the answer. Its erase times are those of IDENTIFY DEVICE; translations
// differ in whether the format bit comes with them, so that 255 is "more than" either way.
func ParseSATSecurity(b []byte) (Security, error) {
	if len(b) < satInformationBytes {
		return Security{}, fmt.Errorf("SAT security information: %d bytes, want %d", len(b), satInformationBytes)
	}
	if b[1] != satInformationBytes-2 {
		return Security{}, fmt.Errorf("SAT security information: its length says %d, want %d", b[1], satInformationBytes-2)
	}
	s := Security{
		Supported: b[9]&1 != 0, Enabled: b[9]&(1<<1) != 0, Locked: b[9]&(1<<2) != 0, Frozen: b[9]&(1<<3) != 0,
		CountExpired: b[9]&(1<<4) != 0, EnhancedSupported: b[9]&(1<<5) != 0, MasterMaximum: b[8]&1 != 0,
	}
	if !s.Supported && b[9]&0x3f != 0 {
		return Security{}, errors.New("SAT security information: it contradicts itself: a state, and no support")
	}
	s.EraseMinutes, s.EraseAtLeast = satEraseTime(binary.BigEndian.Uint16(b[2:]))
	s.EnhancedMinutes, s.EnhancedAtLeast = satEraseTime(binary.BigEndian.Uint16(b[4:]))
	if id := binary.BigEndian.Uint16(b[6:]); reported(id) {
		s.MasterID = id
	}
	return s, nil
}

func satEraseTime(w uint16) (minutes int, atLeast bool) {
	if w > 0xff && w < 1<<15 {
		w |= 1 << 15
		if w == 0xffff {
			return 0x7ffe * 2, true
		}
	}
	return eraseTime(w)
}

// SATSecurity turns a command of the Security feature set into SECURITY PROTOCOL OUT
// (SAT-4). Its parameter list, of 36 bytes, has the enhanced bit, or the capability, in byte 0, the master bit
// in byte 1, and the password from byte 2 on.
func (c Command) SATSecurity() (*scsi.Command, error) {
	specific := map[uint8]byte{securitySetPassword: 1, securityUnlock: 2, securityErasePrepare: 3, securityEraseUnit: 4, securityDisablePassword: 6}[c.Opcode]
	if specific == 0 {
		return nil, fmt.Errorf("ATA command %02xh: the SAT security protocol has none such", c.Opcode)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("ATA command %02xh: %w", c.Opcode, err)
	}
	s := &scsi.Command{CDB: []byte{0xb5, satSecurity, 0, specific, 0, 0, 0, 0, 0, 0, 0, 0}, Timeout: c.Timeout}
	if c.Opcode == securityErasePrepare {
		return s, nil
	}
	if len(c.Data) != 512 {
		return nil, fmt.Errorf("ATA command %02xh: %d bytes of parameters, want 512", c.Opcode, len(c.Data))
	}
	p := make([]byte, satParameterBytes)
	switch c.Opcode {
	case securitySetPassword:
		p[0] = c.Data[1] & 1
		p[34], p[35] = c.Data[35], c.Data[34]
	case securityEraseUnit:
		p[0] = c.Data[0] >> 1 & 1
	}
	p[1] = c.Data[0] & 1
	copy(p[2:34], c.Data[2:34])
	s.CDB[9], s.Direction, s.Data = satParameterBytes, scsi.DataOut, p
	return s, nil
}
