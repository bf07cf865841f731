package virtual

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// zone is a zone of a zoned namespace: WP bytes of it were written since its reset, and are all that
// is read; what lies above reads as zeros and may be anything on the medium.
type zone struct {
	WP   int64 `json:"wp"`
	Full bool  `json:"full,omitempty"`
}

// zoneError is a write that a zone does not take, by its NVMe status (NVMe ZNS 1.1, figure 13).
type zoneError uint16

func (e zoneError) Error() string { return fmt.Sprintf("zone refuses the write (%03xh)", uint16(e)) }
func (e zoneError) Unwrap() error { return syscall.EIO }

const (
	scZoneBoundary          = 0x1b8
	scZoneFull              = 0x1b9
	scZoneReadOnly          = 0x1ba
	scZoneOffline           = 0x1bb
	scZoneInvalidWrite      = 0x1bc
	scTooManyActiveZones    = 0x1bd
	scInvalidZoneTransition = 0x1bf
)

// lost says whether a zone is out of use for writing, and for reading too.
func (d *drive) lost(n int64) (readOnly, offline bool) {
	offline = d.faults().on(ZoneOffline, n)
	return offline || d.faults().on(ZoneReadOnly, n), offline
}

// inOrder says why a write is not at the write pointer of its zone. d.mu is held.
func (d *drive) inOrder(off, n int64) error {
	size, number := d.info.Spec.ZoneBytes, int64(0)
	if size == 0 {
		return nil
	}
	number = off / size
	readOnly, offline := d.zonesLost(off, n)
	switch z := d.memory.Zones[number]; {
	case offline:
		return zoneError(scZoneOffline)
	case readOnly:
		return zoneError(scZoneReadOnly)
	case d.anyOrder(number) && (d.profile.aware || off%size+n <= size):
		return nil
	case z.Full:
		return zoneError(scZoneFull)
	case off%size+n > d.info.Spec.ZoneCapacityBytes:
		return zoneError(scZoneBoundary)
	case z.WP != off%size:
		return zoneError(scZoneInvalidWrite)
	case z.WP == 0 && d.info.Spec.ActiveZones > 0 && d.memory.activeZones() >= d.info.Spec.ActiveZones:
		return zoneError(scTooManyActiveZones)
	}
	return nil
}

// activeZones counts those that are partly written.
func (m *memory) activeZones() (n int) {
	for _, z := range m.Zones {
		if z.WP > 0 && !z.Full {
			n++
		}
	}
	return n
}

// inZone says why blocks cannot be read: there are none behind a zone's capacity, a zone is read by itself,
// and one that is offline not at all. d.mu is held.
func (d *drive) inZone(off, n int64) error {
	size := d.info.Spec.ZoneBytes
	if size == 0 {
		return nil
	}
	if _, offline := d.zonesLost(off, n); offline {
		return zoneError(scZoneOffline)
	}
	if off%size+n > d.info.Spec.ZoneCapacityBytes && !d.profile.aware {
		return zoneError(scZoneBoundary)
	}
	if z := d.memory.Zones[off/size]; d.info.Spec.BoundedReads && !d.anyOrder(off/size) && !z.Full && off%size+n > z.WP {
		return zoneError(scZoneUnreadable)
	}
	return nil
}

// appendTo is Zone Append (NVMe ZNS 1.1, 3.4.1): it writes at the write pointer of a zone that begins at
// off, and says where that was.
func (d *drive) appendTo(t *transport, p []byte, off int64) (at int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := d.info.Spec.ZoneBytes
	if off < 0 || off%size != 0 || off/size >= int64(len(d.memory.Zones)) {
		return off, zoneError(scInvalidField)
	}
	if d.memory.Zones[off/size].Full {
		return off, zoneError(scZoneFull)
	}
	at = off + d.memory.Zones[off/size].WP
	_, err = d.writeOne(t, p, at)
	return at, err
}

// advance moves the write pointers behind what was written. d.mu is held.
func (d *drive) advance(off, n int64) error {
	size := d.info.Spec.ZoneBytes
	if size == 0 || n == 0 {
		return nil
	}
	if !d.profile.aware && d.info.conventional(off/size) {
		return nil
	}
	return d.recall(func(m *memory) error {
		for at := off; at < off+n; at = (at/size + 1) * size {
			z := &m.Zones[at/size]
			z.WP = max(z.WP, min(off+n-at/size*size, d.info.Spec.ZoneCapacityBytes))
			z.Full = z.Full || z.WP == d.info.Spec.ZoneCapacityBytes
		}
		return nil
	})
}

// blankAbove makes zeros of what was read above write pointers. d.mu is held.
func (d *drive) blankAbove(p []byte, off int64) {
	size := d.info.Spec.ZoneBytes
	for at := int64(0); size > 0 && at < int64(len(p)); {
		start := (off + at) / size * size
		end := min(int64(len(p)), start+size-off)
		from := max(at, start+d.memory.Zones[start/size].WP-off)
		if from < end && !d.info.conventional(start/size) {
			clear(p[from:end])
		}
		at = end
	}
}

// setZones leaves all zones full, or empty.
func (m *memory) setZones(info Info, full bool) {
	for n := range m.Zones {
		m.Zones[n] = zone{}
		if full && !info.conventional(int64(n)) {
			m.Zones[n] = zone{info.Spec.ZoneCapacityBytes, true}
		}
	}
}

// skipGaps leaves nothing behind the capacities of zones, where a drive has no blocks.
func skipGaps(f *os.File, s Spec) error {
	if s.ZoneBytes == s.ZoneCapacityBytes {
		return nil
	}
	gap := make([]byte, s.ZoneBytes-s.ZoneCapacityBytes)
	for at := s.ZoneCapacityBytes; at < s.SizeBytes; at += s.ZoneBytes {
		if _, err := f.WriteAt(gap, at); err != nil {
			return err
		}
	}
	return nil
}

func (r *Rack) fillZones(name string) error {
	info, err := r.find(name)
	if err == nil && info.Spec.ZoneBytes > 0 {
		_, err = r.remember(info.Name, nil, func(info Info, m *memory) error { m.setZones(info, true); return nil })
	}
	return err
}

// The actions of Zone Management Send that this drive has (NVMe ZNS 1.1, 3.4.3).
const (
	zoneFinish = 2
	zoneReset  = 4
)

// manageZones is Zone Management Send: a reset erases nothing. d.mu is held.
func (d *drive) manageZones(t *transport, c *nvme.Command) (status uint16, err error) {
	action, all := c.CDW13&0xff, c.CDW13&(1<<8) != 0
	size := d.info.Spec.ZoneBytes / int64(d.memory.blockOf(t.space))
	slba := int64(uint64(c.CDW10) | uint64(c.CDW11)<<32)
	switch {
	case t.access != devices.Exclusive:
		return 0, syscall.EACCES
	case action != zoneFinish && action != zoneReset, !all && (slba < 0 || slba%size != 0):
		return scInvalidField, nil
	case !all && slba/size >= int64(len(d.memory.Zones)):
		return scLBAOutOfRange, nil
	case d.reserved():
		return scReservationConflict, nil
	}
	if readOnly, _ := d.lost(slba / size); readOnly && !all {
		return scInvalidZoneTransition, nil
	}
	return 0, d.recall(func(m *memory) error {
		for n := range m.Zones {
			readOnly, _ := d.lost(int64(n))
			switch z := &m.Zones[n]; {
			case !all && int64(n) != slba/size, readOnly:
			case action == zoneReset:
				*z = zone{}
			case !all || z.WP > 0: // of all zones, those that were begun are finished
				z.Full = true
			}
		}
		return nil
	})
}

// reportZones is Zone Management Receive (NVMe ZNS 1.1, 3.4.2): zones from an address on.
func (d *drive) reportZones(t *transport, c *nvme.Command) uint16 {
	le, block := binary.LittleEndian, int64(d.memory.blockOf(t.space))
	size := d.info.Spec.ZoneBytes / block
	first := int64(uint64(c.CDW10)|uint64(c.CDW11)<<32) / size
	switch {
	case c.CDW13&0xffff != 0, len(c.Data) < 64 || len(c.Data) != 4*(int(c.CDW12)+1):
		return scInvalidField // it has the plain report of all zones only
	case first < 0 || first >= int64(len(d.memory.Zones)):
		return scLBAOutOfRange
	}
	clear(c.Data)
	fit := int64(len(c.Data)/64 - 1)
	count := int64(len(d.memory.Zones)) - first
	if c.CDW13&(1<<16) != 0 { // partial report
		count = min(count, fit)
	}
	le.PutUint64(c.Data, uint64(count))
	for n := range min(count, fit) {
		z, p := d.memory.Zones[first+n], c.Data[64*(n+1):]
		readOnly, offline := d.lost(first + n)
		p[0], p[1] = 2, 1<<4 // sequential write required, empty
		switch {
		case offline:
			p[1] = 0xf << 4
		case readOnly:
			p[1] = 0xd << 4
		case z.Full:
			p[1] = 0xe << 4
		case z.WP > 0:
			p[1] = 2 << 4 // implicitly opened
		}
		le.PutUint64(p[8:], uint64(d.info.Spec.ZoneCapacityBytes/block))
		le.PutUint64(p[16:], uint64((first+n)*size))
		le.PutUint64(p[24:], uint64((first+n)*size+z.WP/block))
		if z.Full || readOnly {
			le.PutUint64(p[24:], 0xffffffffffffffff) // it has none
		}
	}
	return 0
}

// describeZones is what Identify says of the zoned command set (NVMe ZNS 1.1, 4.1.5).
func (d *drive) describeZones(page []byte, s Space) {
	le := binary.LittleEndian
	limit := uint32(d.info.Spec.ActiveZones) - 1 // from 0; all ones when there is none
	le.PutUint32(page[4:], limit)
	le.PutUint32(page[8:], limit)
	le.PutUint64(page[2816:], uint64(d.info.Spec.ZoneBytes/int64(d.memory.blockOf(s))))
}
