package scsi

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// quick bounds commands that a drive answers from its memory.
const quick = 20 * time.Second

// Inquiry asks for the standard INQUIRY data, or with EVPD for a vital product data page (SPC-5 6.6).
type Inquiry struct {
	EVPD       bool
	PageCode   uint8
	Allocation uint16 // bytes asked for; 0 is 252
}

// The pages that are read here (SPC-5 7.7, SAT-4 12.4.2).
const (
	PageSupported      = 0x00
	PageUnitSerial     = 0x80
	PageIdentification = 0x83
	PageATAInformation = 0x89
	PageCharacter      = 0xb1 // block device characteristics (SBC-4 6.6.2)
	PageProvisioning   = 0xb2 // logical block provisioning
)

// Command encodes it.
func (i Inquiry) Command() *Command {
	n := i.Allocation
	if n == 0 {
		n = 252
	}
	cdb := []byte{0x12, 0, i.PageCode, byte(n >> 8), byte(n), 0}
	if i.EVPD {
		cdb[1] = 1
	}
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, n), Timeout: quick}
}

// InquiryData is the standard INQUIRY data (SPC-5 6.6.2).
type InquiryData struct {
	PeripheralQualifier uint8 // 0: a unit is connected
	PeripheralType      uint8 // 00h direct access, 05h optical, 14h zoned
	Removable           bool
	Version             uint8
	Vendor              string // "ATA" for drives behind a translation (SAT-4 9.2)
	Product             string
	Revision            string
}

// ParseInquiry decodes the standard INQUIRY data.
func ParseInquiry(b []byte) (InquiryData, error) {
	if len(b) < 36 {
		return InquiryData{}, fmt.Errorf("inquiry: %d bytes, want 36", len(b))
	}
	d := InquiryData{
		PeripheralQualifier: b[0] >> 5, PeripheralType: b[0] & 0x1f, Removable: b[1]&0x80 != 0, Version: b[2],
		Vendor: ascii(b[8:16]), Product: ascii(b[16:32]), Revision: ascii(b[32:36]),
	}
	if d.Vendor == "" && d.Product == "" {
		return InquiryData{}, errors.New("inquiry: it has neither vendor nor product")
	}
	return d, nil
}

// page checks a vital product data page's header and returns what follows it (SPC-5 7.7.2).
func page(b []byte, code uint8) ([]byte, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("VPD page %02xh: %d bytes", code, len(b))
	}
	if b[1] != code {
		return nil, fmt.Errorf("VPD page %02xh: the answer is page %02xh", code, b[1])
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > len(b)-4 {
		return nil, fmt.Errorf("VPD page %02xh: %d bytes of %d", code, len(b)-4, n)
	}
	return b[4 : 4+n], nil
}

// ParsePages decodes the list of supported pages (SPC-5 7.7.16).
func ParsePages(b []byte) ([]uint8, error) { return page(b, PageSupported) }

// ParseUnitSerial decodes the unit serial number page (SPC-5 7.7.19). An empty one is an error.
func ParseUnitSerial(b []byte) (string, error) {
	p, err := page(b, PageUnitSerial)
	if err != nil {
		return "", err
	}
	s := ascii(p)
	if s == "" {
		return "", errors.New("VPD page 80h: no serial number")
	}
	return s, nil
}

// ParseNAA finds the logical unit's NAA name in the device identification page (SPC-5 7.7.6) and
// returns it in hex, "" when there is none.
func ParseNAA(b []byte) (string, error) {
	p, err := page(b, PageIdentification)
	if err != nil {
		return "", err
	}
	for len(p) >= 4 {
		n := int(p[3])
		if n > len(p)-4 {
			return "", fmt.Errorf("VPD page 83h: designator of %d bytes in %d", n, len(p)-4)
		}
		kind, body := p[1]&0x0f, p[4:4+n]
		if p[1]>>4&3 == 0 && kind == 3 && p[0]&0x0f == 1 && (n == 8 || n == 16) {
			return hex.EncodeToString(body), nil
		}
		p = p[4+n:]
	}
	return "", nil
}

// ParseATAInformation returns the copy of IDENTIFY DEVICE data that a translation keeps, 512 bytes
// (SAT-4 12.4.2). A translation may have altered it.
func ParseATAInformation(b []byte) ([]byte, error) {
	p, err := page(b, PageATAInformation)
	if err != nil {
		return nil, err
	}
	if len(p) < 568 {
		return nil, fmt.Errorf("VPD page 89h: %d bytes, want 568", len(p))
	}
	return p[56:568], nil
}

func ascii(b []byte) string { return strings.Trim(string(b), " \x00") }
