package virtual

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"syscall"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// wwn is a name in NAA format 5 that belongs to the serial.
func wwn(serial string) string { return hex.EncodeToString(wwnBytes(serial)) }

func wwnBytes(serial string) []byte {
	sum := sha256.Sum256([]byte("virtual drive " + serial))
	sum[0] = 0x50 | sum[0]&0x0f
	return sum[:8]
}

// scsi is the drive's SCSI door: the translation in front of a SATA drive (SAT-4).
func (d *drive) scsi(t *transport, c *scsi.Command) (scsi.Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.arrive(t); err != nil {
		return scsi.Result{}, err
	}
	if len(c.CDB) < 6 {
		return scsi.Result{}, syscall.EINVAL
	}
	r := d.translate(t, c)
	if d.resets(t) {
		return scsi.Result{HostStatus: 8}, d.rack.dropFaults(d.info.Name, Reset)
	}
	return r, nil
}

// illegal is ILLEGAL REQUEST in fixed format.
func illegal(asc byte) scsi.Result {
	return scsi.Result{Status: 2, DriverStatus: 8, Sense: []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, 0, 0, 0, 0, 0}}
}

// in answers a data-in command.
func in(c *scsi.Command, allocated int, data []byte) scsi.Result {
	return scsi.Result{Transferred: copy(c.Data[:min(len(c.Data), allocated)], data)}
}

func (d *drive) translate(t *transport, c *scsi.Command) scsi.Result {
	cdb := c.CDB
	switch cdb[0] {
	case 0x00:
		return scsi.Result{}
	case 0x12:
		return d.inquiry(c)
	case 0x9e:
		if len(cdb) != 16 || cdb[1]&0x1f != 0x10 {
			return illegal(0x24)
		}
		return in(c, int(binary.BigEndian.Uint32(cdb[10:])), d.capacity())
	case 0x85:
		if len(cdb) != 16 {
			return illegal(0x24)
		}
		return d.passThrough(t, c)
	}
	return illegal(0x20)
}

func (d *drive) inquiry(c *scsi.Command) scsi.Result {
	allocated := int(binary.BigEndian.Uint16(c.CDB[3:]))
	if c.CDB[1]&1 == 0 {
		data := make([]byte, 36)
		data[2], data[3], data[4] = 6, 2, 31
		copy(data[8:], fmt.Sprintf("%-8s%-16.16s%-4.4s", "ATA", d.profile.model, firmware))
		return in(c, allocated, data)
	}
	var body []byte
	switch c.CDB[2] {
	case 0x00:
		body = []byte{0x00, 0x80, 0x83, 0x89, 0xb1}
	case 0x80:
		body = fmt.Appendf(nil, "%20s", d.info.Spec.Serial)
	case 0x83:
		body = append([]byte{0x01, 0x03, 0, 8}, wwnBytes(d.info.Spec.Serial)...)
	case 0x89:
		body = make([]byte, 56)
		copy(body[4:], fmt.Sprintf("%-8s%-16s%-4s", "expunge", "virtual SATL", "1"))
		body[32], body[52] = 0x34, 0xec
		body = append(body, d.ataIdentity()...)
	case 0xb1:
		body = make([]byte, 60)
		binary.BigEndian.PutUint16(body, d.rotation())
	default:
		return illegal(0x24)
	}
	page := append([]byte{0, c.CDB[2], byte(len(body) >> 8), byte(len(body))}, body...)
	return in(c, allocated, page)
}

func (d *drive) capacity() []byte {
	data := make([]byte, 32)
	block := int64(d.info.Spec.LogicalBlock)
	binary.BigEndian.PutUint64(data, uint64(d.info.Spec.SizeBytes/block-1))
	binary.BigEndian.PutUint32(data[8:], uint32(block))
	for n := d.info.Spec.PhysicalBlock / int(block); n > 1; n /= 2 {
		data[13]++
	}
	return data
}

// registers of an ATA drive, in and out.
type registers struct {
	feature, count uint16
	lba            uint64
	device, status byte
	failure        byte // the error register
}

// passThrough takes an ATA command out of its CDB, has the drive carry it out, and answers as the
// kernel's translation does: registers in descriptor format when they were asked for or the
// command failed.
func (d *drive) passThrough(t *transport, c *scsi.Command) scsi.Result {
	b := c.CDB
	g := registers{feature: uint16(b[4]), count: uint16(b[6]), lba: uint64(b[8]) | uint64(b[10])<<8 | uint64(b[12])<<16, device: b[13]}
	extend := b[1]&1 != 0
	if extend {
		g.feature |= uint16(b[3]) << 8
		g.count |= uint16(b[5]) << 8
		g.lba |= uint64(b[7])<<24 | uint64(b[9])<<32 | uint64(b[11])<<40
	}
	data, ok := d.ata(t, b[14], b[1]>>1&0x0f, &g)
	if ok {
		g.status = 0x50
	} else {
		g.status, g.failure = 0x51, 0x04
	}
	r := scsi.Result{}
	if ok && data != nil {
		r = in(c, len(c.Data), data)
	}
	if ok && b[2]&(1<<5) == 0 {
		return r
	}
	r.Status, r.DriverStatus = 2, 8
	key, ascq := byte(0x01), byte(0x1d)
	if !ok {
		key, ascq = 0x0b, 0x00
	}
	flag := byte(0)
	if extend {
		flag = 1
	}
	r.Sense = []byte{
		0x72, key, 0, ascq, 0, 0, 0, 14, 0x09, 12, flag, g.failure, byte(g.count >> 8), byte(g.count),
		byte(g.lba >> 24), byte(g.lba), byte(g.lba >> 32), byte(g.lba >> 8), byte(g.lba >> 40), byte(g.lba >> 16), g.device, g.status,
	}
	return r
}
