package virtual

import (
	"encoding/binary"
	"fmt"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"math/bits"
	"slices"
)

// field writes text into a page, padded with spaces.
func field(page []byte, from, to int, s string) { copy(page[from:to], fmt.Sprintf("%-*s", to-from, s)) }

// identify is Identify (NVMe base 2.0, 5.17).
func (d *drive) identify(t *transport, c *nvme.Command) uint16 {
	if len(c.Data) != 4096 {
		return scInvalidField
	}
	page := c.Data
	clear(page)
	le := binary.LittleEndian
	switch c.CDW10 & 0xff {
	case 0x00, 0x11:
		for _, s := range d.info.own() {
			if s.NSID == c.NSID && (s.Node != "" || c.CDW10&0xff == 0x11) {
				d.describe(page, s)
				return 0
			}
		}
		if c.NSID == 0 || c.NSID > 32 {
			return scInvalidNamespace
		}
		return 0 // an inactive namespace is a page of zeros
	case 0x01:
		d.describeController(page, uint16(1+t.space.Path))
		return 0
	case 0x03, 0x05, 0x06, 0x08:
		return d.describeSet(c, page)
	case 0x02, 0x10:
		at := 0
		for _, s := range d.info.own() {
			if s.NSID > c.NSID && (s.Node != "" || c.CDW10&0xff == 0x10) {
				le.PutUint32(page[at:], s.NSID)
				at += 4
			}
		}
		return 0
	case 0x12, 0x13:
		n := 0
		for id := max(1, int(c.CDW10>>16)); id <= d.profile.controllers; id++ {
			n++
			le.PutUint16(page[2*n:], uint16(id))
		}
		le.PutUint16(page, uint16(n))
		return 0
	}
	return scInvalidField
}

func (d *drive) describeController(page []byte, id uint16) {
	le := binary.LittleEndian
	le.PutUint16(page[0:], 0x1b36)
	field(page, 4, 24, d.info.Spec.Serial)
	field(page, 24, 64, d.profile.model)
	field(page, 64, 72, firmware)
	if d.profile.controllers > 1 {
		page[76] = 1<<0 | 1<<1 // ports and controllers
	}
	page[77] = 5
	le.PutUint16(page[78:], id)
	le.PutUint32(page[80:], 2<<16)
	page[111] = 1
	if d.profile.boots {
		page[102] = 1 << 2                           // boot partitions
		le.PutUint32(page[312:], 1|1<<3|7<<16|3<<24) // a replay protected memory block of 1 MiB
	}
	le.PutUint16(page[256:], 1<<3|1<<2) // namespace management, firmware
	if d.profile.NVMeFormat {
		page[256] |= 1 << 1
	}
	if d.memory.TCG != nil {
		page[256] |= 1 << 0
	}
	page[260] = 2 << 1 // firmware slots
	page[261] = 1 << 1 // the effects log
	le.PutUint16(page[266:], warm+273)
	le.PutUint16(page[268:], hot+273)
	le.PutUint64(page[280:], uint64(d.info.addressable()+d.info.Spec.UnallocatedBytes))
	le.PutUint64(page[296:], uint64(d.info.Spec.UnallocatedBytes))
	var caps uint32
	for _, word := range d.info.Spec.Sanitize {
		switch word {
		case "crypto":
			caps |= 1 << 0
		case "block":
			caps |= 1 << 1
		case kindOverwrite:
			caps |= 1 << 2
		}
	}
	if d.profile.verifies {
		caps |= 1 << 3
	}
	if d.profile.purges {
		caps |= 1 << 5
	}
	if d.info.Spec.NoDeallocateInhibited {
		caps |= 1 << 29
	}
	if caps != 0 {
		caps |= 1 << 30 // media are not modified after a sanitize with NDAS
	}
	le.PutUint32(page[328:], caps)
	page[512], page[513] = 0x66, 0x44 // queue entries of 64 and 16 bytes
	le.PutUint32(page[516:], 32)
	if d.reserves() {
		le.PutUint16(page[520:], 1<<5)
	}
	page[524], page[525] = d.fna(), 1
	page[531] = flagBit(d.info.Spec.ReadOnly)
	copy(page[768:], nqn(d.info.Spec.Serial))
}

func (d *drive) describe(page []byte, s Space) {
	le := binary.LittleEndian
	blocks := uint64(s.SizeBytes) / uint64(d.memory.blockOf(s))
	for at := 0; at < 24; at += 8 {
		le.PutUint64(page[at:], blocks)
	}
	// A write of a physical block is atomic, and the one that is preferred: kernels take the physical
	// block length from there (NSFEAT bits 1 and 4; NAWUN, NAWUPF, NACWU; NPWG, NPWA, NPDG, NPDA).
	page[24] = 1<<1 | 1<<4
	for _, at := range []int{34, 36, 38, 64, 66, 68, 70} {
		le.PutUint16(page[at:], uint16(max(1, d.info.Spec.PhysicalBlock/d.memory.blockOf(s))-1))
	}
	d.describeAnySet(page[30:], page[31:], page[32:], page[99:])
	if d.profile.Media == devices.MediaFlash {
		page[33] = 1 // deallocated blocks read as zeros
	}
	copy(page[104:120], d.nguid(s))
	copy(page[120:128], d.eui64(s))
	page[130] = byte(bits.Len(uint(d.info.Spec.LogicalBlock)) - 1)
	if f, formatted := d.memory.FLBAS[s.NSID]; formatted {
		page[25], page[26] = byte(len(formatBlocks)-1), f
		for n, block := range formatBlocks {
			page[130+4*n] = byte(bits.Len(uint(block)) - 1)
		}
	}
}

// describeAnySet fills in NMIC, RESCAP, FPI and NSATTR, which two structures have.
func (d *drive) describeAnySet(nmic, rescap, fpi, nsattr []byte) {
	nmic[0] = flagBit(d.profile.controllers > 1)
	if d.reserves() {
		rescap[0] = 0x3e // every type of reservation but those that want all registrants
	}
	if d.profile.NVMeFormat {
		fpi[0] = 1 << 7
		if o := d.memory.Units[0].Operation; o != nil && o.Format != nil {
			fpi[0] |= byte(100 - min(99, o.elapsed(d.rack.now())*100/o.duration(d.info.Spec)))
		}
	}
	nsattr[0] = flagBit(d.info.Spec.ReadOnly)
}

func (d *drive) eui64(s Space) []byte { return wwnBytes(fmt.Sprint(d.info.Spec.Serial, s.NSID)) }

func (d *drive) nguid(s Space) []byte {
	return append(wwnBytes(fmt.Sprint("nguid ", d.info.Spec.Serial, s.NSID)), d.eui64(s)...)
}

// describeSet is what Identify says of a namespace beside its own structure: names (03h), of the
// zoned command set (05h, 06h), and of any command set (08h).
func (d *drive) describeSet(c *nvme.Command, page []byte) uint16 {
	cns, csi := c.CDW10&0xff, c.CDW11>>24
	if cns == 0x06 {
		if csi > 2 || csi == 2 && !d.profile.zoned {
			return scInvalidField
		}
		return 0
	}
	own := d.info.own()
	at := slices.IndexFunc(own, func(s Space) bool { return s.NSID == c.NSID && s.Node != "" })
	switch {
	case at < 0:
		return scInvalidNamespace
	case cns == 0x05 && csi == 2 && d.profile.zoned:
		d.describeZones(page, own[at])
	case cns == 0x05 && csi != 0:
		return scInvalidField
	case cns == 0x03:
		names := slices.Concat([]byte{1, 8, 0, 0}, d.eui64(own[at]), []byte{2, 16, 0, 0}, d.nguid(own[at]), []byte{4, 1, 0, 0, 2 * flagBit(d.profile.zoned)})
		copy(page, names)
	case cns == 0x08:
		d.describeAnySet(page[1:], page[2:], page[3:], page[8:])
		page[0] = flagBit(d.profile.Media == devices.MediaMagnetic) << 4
		page[14] = 1 // ready
	}
	return 0
}

func flagBit(b bool) byte {
	if b {
		return 1
	}
	return 0
}
