package virtual

import (
	"encoding/binary"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// The commands of the ATA Trusted Computing feature set (ACS-3 7.58 to 7.62), and of DMA protocols.
const (
	trustedReceive    = 0x5c
	trustedReceiveDMA = 0x5d
	trustedSend       = 0x5e
	trustedSendDMA    = 0x5f

	dma     = 6
	udmaIn  = 10
	udmaOut = 11
)

// nvmeSecurity is Security Send and Security Receive (NVMe base 2.0, 5.25 and 5.26).
func (d *drive) nvmeSecurity(t *transport, c *nvme.Command) (status uint16, err error) {
	if d.memory.TCG == nil {
		return scInvalidOpcode, nil
	}
	if c.Opcode == 0x81 && t.access != devices.Exclusive {
		return 0, syscall.EACCES
	}
	protocol, specific, length := byte(c.CDW10>>24), uint16(c.CDW10>>8), int64(c.CDW11)
	if length != int64(len(c.Data)) {
		return scInvalidField, nil
	}
	var failure ifFailure
	if c.Opcode == 0x81 {
		failure, err = d.ifSend(protocol, specific, c.Data)
	} else {
		var data []byte
		data, failure, err = d.ifReceive(protocol, specific, len(c.Data))
		clear(c.Data)
		copy(c.Data, data)
	}
	return map[ifFailure]uint16{ifInvalid: scInvalidField, ifSequence: scCommandSequence}[failure], err
}

// securityLength is the length that a SECURITY PROTOCOL IN or OUT names (SPC-5 6.40): in bytes, or
// with INC_512 in units of 512.
func securityLength(cdb []byte) int64 {
	n := int64(binary.BigEndian.Uint32(cdb[6:]))
	if cdb[4]&(1<<7) != 0 {
		n *= 512
	}
	return n
}

// securityResult is how SCSI says it (SIIS, SCSI error codes); a translation says what ATA leaves to
// say.
func (d *drive) securityResult(r scsi.Result, failure ifFailure) scsi.Result {
	switch {
	case failure == ifGood:
		return r
	case d.profile.translated():
		return sense{key: 0x0b}.check()
	case failure == ifSequence:
		return sense{key: 5, asc: 0x2c}.check()
	}
	return illegal(0x24)
}

// scsiSecurityIn and scsiSecurityOut are SECURITY PROTOCOL IN and OUT: the drive's own, or the
// translation's, which sends trusted commands of whole blocks.
func (d *drive) scsiSecurityIn(c *scsi.Command) (scsi.Result, error) {
	length := securityLength(c.CDB)
	if d.profile.translated() && length > 0xffff*512 {
		return illegal(0x24), nil
	}
	length = min(length, int64(len(c.Data)))
	data, failure, err := d.ifReceive(c.CDB[1], binary.BigEndian.Uint16(c.CDB[2:]), int(length))
	if d.profile.translated() || c.CDB[4]&(1<<7) != 0 {
		data = append(data, make([]byte, (512-len(data)%512)%512)...)
	}
	return d.securityResult(in(c, int(length), data), failure), err
}

func (d *drive) scsiSecurityOut(c *scsi.Command) (scsi.Result, error) {
	length := securityLength(c.CDB)
	if length > int64(len(c.Data)) || d.profile.translated() && length > 0xffff*512 {
		return illegal(0x24), nil
	}
	failure, err := d.ifSend(c.CDB[1], binary.BigEndian.Uint16(c.CDB[2:]), c.Data[:length])
	return d.securityResult(scsi.Result{Transferred: int(length)}, failure), err
}

// ataTrusted is TRUSTED RECEIVE and TRUSTED SEND, with or without DMA: the protocol is in FEATURE, the
// number of blocks of 512 bytes in COUNT and LBA(7:0), what is specific to the protocol in LBA(23:8).
func (d *drive) ataTrusted(opcode, protocol byte, g *registers, out []byte) (data []byte, err error) {
	length := (int(g.count&0xff) | int(g.lba&0xff)<<8) * 512
	specific := uint16(g.lba >> 8)
	sends := opcode == trustedSend || opcode == trustedSendDMA
	allowed := map[byte][]byte{trustedReceive: {pioIn}, trustedSend: {pioOut}, trustedReceiveDMA: {dma, udmaIn}, trustedSendDMA: {dma, udmaOut}}[opcode]
	right := false
	for _, p := range allowed {
		right = right || p == protocol
	}
	if !right || length != len(out) {
		g.failure = abrt
		return nil, nil
	}
	var failure ifFailure
	if sends {
		failure, err = d.ifSend(byte(g.feature), specific, out)
	} else {
		data, failure, err = d.ifReceive(byte(g.feature), specific, length)
		data = append(data, make([]byte, length-len(data))...)
	}
	if failure != ifGood {
		g.failure = abrt
		return nil, err
	}
	return data, err
}
