package virtual

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// scZoneUnreadable is beside the statuses of NVMe: a read above the write pointer of a disk that does not
// have that (URSWRZ, ZBC-2 6.4.2).
const scZoneUnreadable = 0xfff

// managed says whether the host must write the drive's zones in order.
func (p Profile) managed() bool { return p.zoned && !p.aware }

// scsiZoned says whether a SCSI or ATA drive has zones.
func (p Profile) scsiZoned() bool { return p.zoned && p.Protocol != devices.ProtocolNVMe }

// anyOrder says whether a zone takes writes in any order.
func (d *drive) anyOrder(n int64) bool {
	return d.profile.aware || n < int64(d.info.Spec.ConventionalZones)
}

// conventional says whether a zone has no write pointer.
func (i Info) conventional(n int64) bool { return n < int64(i.Spec.ConventionalZones) }

// zonesLost says whether a range touches a zone that is offline or read-only.
func (d *drive) zonesLost(off, n int64) (readOnly, offline bool) {
	size := d.info.Spec.ZoneBytes
	for at := off / size; at*size < off+n; at++ {
		r, o := d.lost(at)
		readOnly, offline = readOnly || r, offline || o
	}
	return readOnly, offline
}

// diskZoneBounds checks what a disk's zones may be, beside nvmeBounds.
func (s *Spec) diskZoneBounds(p Profile) error {
	switch {
	case !p.scsiZoned() && (s.ConventionalZones != 0 || s.BoundedReads || s.ZonesReset):
		return fmt.Errorf("%d conventional zones: profile %s is no zoned hard disk", s.ConventionalZones, s.Profile)
	case p.scsiZoned() && (s.ZoneCapacityBytes != s.ZoneBytes || s.ConventionalZones < 0 || int64(s.ConventionalZones) >= s.SizeBytes/s.ZoneBytes):
		return fmt.Errorf("zones of %d bytes with a capacity of %d, %d of them conventional: those of a hard disk are full of blocks, and some are no conventional ones", s.ZoneBytes, s.ZoneCapacityBytes, s.ConventionalZones)
	}
	return nil
}

// zoneSense is how a disk words what a zone does not take (ZBC-2 4.5.3, SPC-5 annex F).
func zoneSense(err error, read bool) (sense, bool) {
	var why zoneError
	if !errors.As(err, &why) {
		return sense{}, false
	}
	switch uint16(why) {
	case scZoneBoundary:
		if read {
			return sense{key: 5, asc: 0x21, ascq: 0x07}, true
		}
		return sense{key: 5, asc: 0x21, ascq: 0x05}, true
	case scZoneInvalidWrite:
		return sense{key: 5, asc: 0x21, ascq: 0x04}, true
	case scZoneUnreadable:
		return sense{key: 5, asc: 0x21, ascq: 0x06}, true
	case scZoneReadOnly:
		return sense{key: 7, asc: 0x27, ascq: 0x08}, true
	case scZoneOffline:
		return sense{key: 7, asc: 0x2c, ascq: 0x0e}, true
	case scTooManyActiveZones:
		return sense{key: 7, asc: 0x55, ascq: 0x0e}, true
	}
	return sense{key: 5, asc: 0x24}, true // a zone that is full
}

// zonedPage is the zoned block device characteristics page (ZBC-2 6.4.2).
func (d *drive) zonedPage() []byte {
	body := make([]byte, 60)
	if !d.info.Spec.BoundedReads {
		body[0] = 1
	}
	be := binary.BigEndian
	be.PutUint32(body[4:], 0xffffffff) // optimal numbers: not reported
	be.PutUint32(body[8:], 0xffffffff)
	limit := uint32(d.info.Spec.ActiveZones)
	if limit == 0 {
		limit = 0xffffffff
	}
	be.PutUint32(body[12:], limit)
	return body
}

// zonesIn is REPORT ZONES (ZBC-2 5.2). d.mu is held.
func (d *drive) zonesIn(t *transport, c *scsi.Command) scsi.Result {
	be, cdb, block := binary.BigEndian, c.CDB, int64(d.unit(t).Block)
	size := d.info.Spec.ZoneBytes
	lba, allocated := be.Uint64(cdb[2:]), int(be.Uint32(cdb[10:]))
	switch {
	case lba >= uint64(d.info.addressable()/block):
		return sense{key: 5, asc: 0x21}.check()
	case cdb[14]&0x3f != 0:
		return illegal(0x24) // it has the report of all zones only
	case allocated < 64:
		return in(c, allocated, nil)
	}
	first := int64(lba) * block / size
	count := int64(len(d.memory.Zones)) - first
	fit := min(count, int64(allocated/64-1))
	if cdb[14]&0x80 != 0 {
		count = fit
	}
	data := make([]byte, 64*(1+fit))
	be.PutUint32(data, uint32(64*count))
	data[4] = 1 // all of one type and length, or nearly so
	be.PutUint64(data[8:], uint64(d.info.addressable()/block-1))
	for n := range fit {
		d.describeZone(data[64*(1+n):], first+n, size/block, block)
	}
	return in(c, allocated, data)
}

// describeZone makes a zone descriptor (ZBC-2 5.2.3).
func (d *drive) describeZone(p []byte, n, blocks, block int64) {
	be, z := binary.BigEndian, d.memory.Zones[n]
	readOnly, offline := d.lost(n)
	pointer := uint64(n*blocks + z.WP/block)
	p[0], p[1] = 2, 1<<4 // sequential write required, empty
	if d.profile.aware {
		p[0] = 3
	}
	switch {
	case z.Full:
		p[1], pointer = 0xe<<4, ^uint64(0)
	case z.WP > 0:
		p[1] = 2 << 4 // implicitly opened
	}
	if d.info.conventional(n) {
		p[0], p[1], pointer = 1, 0, ^uint64(0)
	}
	switch {
	case offline:
		p[1], pointer = 0xf<<4, ^uint64(0)
	case readOnly:
		p[1], pointer = 0xd<<4, ^uint64(0)
	}
	be.PutUint64(p[8:], uint64(blocks))
	be.PutUint64(p[16:], uint64(n*blocks))
	be.PutUint64(p[24:], pointer)
}

// zonesOut is FINISH ZONE and RESET WRITE POINTER (ZBC-2 5.4, 5.7): a reset erases nothing. d.mu is held.
func (d *drive) zonesOut(t *transport, c *scsi.Command) (scsi.Result, error) {
	cdb, block := c.CDB, int64(d.unit(t).Block)
	action, all, lba := cdb[1]&0x1f, cdb[14]&1 != 0, binary.BigEndian.Uint64(cdb[2:])
	size := d.info.Spec.ZoneBytes / block
	one := int64(lba) / size
	switch {
	case action != zoneFinish && action != zoneReset:
		return illegal(0x24), nil
	case !all && lba >= uint64(d.info.addressable()/block):
		return sense{key: 5, asc: 0x21}.check(), nil
	case !all && (int64(lba)%size != 0 || d.info.conventional(one)):
		return illegal(0x24), nil
	}
	if readOnly, offline := d.lost(one); !all && (readOnly || offline) {
		s, _ := zoneSense(map[bool]zoneError{true: scZoneOffline, false: scZoneReadOnly}[offline], false)
		return s.check(), nil
	}
	return scsi.Result{}, d.recall(func(m *memory) error {
		for n := range m.Zones {
			readOnly, _ := d.lost(int64(n))
			switch z := &m.Zones[n]; {
			case !all && int64(n) != one, readOnly, d.info.conventional(int64(n)):
			case action == zoneReset:
				*z = zone{}
			case !all || z.WP > 0:
				z.Full = true
			}
		}
		return nil
	})
}

// endZones is what a sanitize leaves of the zones: empty, but where it was told not to deallocate (NVMe) or not
// to reset them; then a cryptographic erase leaves those of a disk as they were, and any other full (SBC-5 5.30).
func (m *memory) endZones(info Info, o *operation) {
	if faults(info.Faults).has(Lie, LieZonesReset) {
		m.setZones(info, false)
		return
	}
	if !o.KeepZones || o.Kind != kindCrypto {
		m.setZones(info, o.NDAS || o.KeepZones)
	}
}
