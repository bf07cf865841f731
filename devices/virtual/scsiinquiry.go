package virtual

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// wwn is a name in NAA format 5 that belongs to the serial.
func wwn(serial string) string { return hex.EncodeToString(wwnBytes(serial)) }

func wwnBytes(serial string) []byte {
	sum := sha256.Sum256([]byte("virtual drive " + serial))
	sum[0] = 0x50 | sum[0]&0x0f
	return sum[:8]
}

// unitName is what a logical unit's name is made of.
func unitName(serial string, lun int) string { return serial + atUnit(lun) }

// inquiryNames are vendor, product and revision of INQUIRY data: those of a dock are its own.
func (p Profile) inquiryNames() (vendor, product, revision string) {
	switch {
	case p.bridge != "":
		return "USB", p.bridge, "0100"
	case p.translated():
		return "ATA", p.model, firmware[4:] // of eight characters the last four (SAT-4 9.2)
	}
	return "VIRTUAL", p.model, firmware
}

// unitSerial is the page of the unit serial number (SPC-5 7.7.18); a drive's in a dock is the dock's.
func (p Profile) unitSerial(s Spec) []byte {
	if p.bridge != "" && (p.translated() || p.docked) {
		return fmt.Appendf(nil, "%-12.12s", "D0C"+wwn("dock of "+s.Serial))
	}
	return fmt.Appendf(nil, "%20s", s.Serial)
}

// designators is the device identification page (SPC-5 7.7.6): the logical unit's name, and that of
// the target port's device, which all logical units of a drive share.
func (p Profile) designators(s Spec, space Space) []byte {
	page := append([]byte{0x01, 0x03, 0, 8}, wwnBytes(unitName(s.Serial, space.LUN))...)
	if p.Format {
		page = append(append(page, 0x61, 0xa3, 0, 8), wwnBytes("target "+s.Serial)...)
	}
	return page
}

// vpd puts the header before a page of vital product data.
func vpd(code byte, body []byte) []byte {
	return append([]byte{0, code, byte(len(body) >> 8), byte(len(body))}, body...)
}

func (d *drive) inquiry(t *transport, c *scsi.Command) scsi.Result {
	if c.CDB[1]&1 != 0 {
		return d.productData(t, c)
	}
	if c.CDB[2] != 0 {
		return illegal(0x24)
	}
	data := make([]byte, 36, 96)
	data[2], data[3] = 6, 2
	if d.profile.managed() {
		data[0] = 0x14
	}
	if d.profile.Format {
		data[7] = 2 // it queues
		data = data[:96]
	}
	data[4] = byte(len(data) - 5)
	vendor, product, revision := d.profile.inquiryNames()
	copy(data[8:], fmt.Sprintf("%-8.8s%-16.16s%-4.4s", vendor, product, revision))
	return in(c, int(binary.BigEndian.Uint16(c.CDB[3:])), data)
}

func (d *drive) productData(t *transport, c *scsi.Command) scsi.Result {
	p, spec := d.profile, d.info.Spec
	var body []byte
	switch code := c.CDB[2]; {
	case code == 0x00:
		body = []byte{0x00, 0x80, 0x83}
		if p.translated() {
			body = append(body, 0x89)
		}
		body = append(body, 0xb0, 0xb1, 0xb2)
		if p.scsiZoned() {
			body = append(body, 0xb6)
		}
	case code == 0x80:
		body = p.unitSerial(spec)
	case code == 0x83:
		body = p.designators(spec, t.space)
	case code == 0x89 && p.translated():
		body = make([]byte, 56)
		copy(body[4:], fmt.Sprintf("%-8s%-16s%-4s", "expunge", "virtual SATL", "1"))
		body[32], body[52] = 0x34, 0xec
		body = append(body, d.ataIdentity()...)
	case code == 0xb0:
		body = make([]byte, 60) // nothing of UNMAP, which it does not have
	case code == 0xb1:
		body = make([]byte, 60)
		if p.Media != devices.MediaUnknown {
			binary.BigEndian.PutUint16(body, d.rotation())
		}
		if p.aware {
			body[4] = 1 << 4
		}
		body[3] = spec.WriteAfterErase<<6 | spec.WriteAfterErase<<4 | 3
	case code == 0xb6 && p.scsiZoned():
		body = d.zonedPage()
	case code == 0xb2:
		body = make([]byte, 4) // fully provisioned
	default:
		return illegal(0x24)
	}
	return in(c, int(binary.BigEndian.Uint16(c.CDB[3:])), vpd(c.CDB[2], body))
}

// capacity10 and capacity16 are the answers of READ CAPACITY (SBC-4 5.15, 5.16).
func (d *drive) capacity10(t *transport) []byte {
	u := d.unit(t)
	data := make([]byte, 8)
	binary.BigEndian.PutUint32(data, uint32(min(u.Blocks-1, 0xffffffff)))
	binary.BigEndian.PutUint32(data[4:], uint32(u.Block))
	return data
}

func (d *drive) capacity16(t *transport) []byte {
	u := d.unit(t)
	data := make([]byte, 32)
	binary.BigEndian.PutUint64(data, uint64(u.Blocks-1))
	binary.BigEndian.PutUint32(data[8:], uint32(u.Block))
	if d.profile.managed() {
		data[12] = 1 << 4 // RC_BASIS: all of its blocks, not those of conventional zones alone
	}
	for n := d.info.Spec.PhysicalBlock / u.Block; n > 1; n /= 2 {
		data[13]++
	}
	return data
}
