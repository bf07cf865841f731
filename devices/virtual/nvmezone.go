package virtual

import (
	"encoding/binary"
	"fmt"
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
	scZoneFull         = 0x1b9
	scZoneInvalidWrite = 0x1bc
)

// inOrder says why a write is not at the write pointers of its zones. d.mu is held.
func (d *drive) inOrder(off, n int64) error {
	size := d.info.Spec.ZoneBytes
	for at := off; size > 0 && at < off+n; at = (at/size + 1) * size {
		switch z := d.memory.Zones[at/size]; {
		case z.Full:
			return zoneError(scZoneFull)
		case z.WP != at%size:
			return zoneError(scZoneInvalidWrite)
		}
	}
	return nil
}

// advance moves the write pointers behind what was written. d.mu is held.
func (d *drive) advance(off, n int64) error {
	size := d.info.Spec.ZoneBytes
	if size == 0 || n == 0 {
		return nil
	}
	return d.recall(func(m *memory) error {
		for at := off; at < off+n; at = (at/size + 1) * size {
			z := &m.Zones[at/size]
			z.WP = min(size, z.WP+off+n-at)
			z.Full = z.WP == size
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
		if from < end {
			clear(p[from:end])
		}
		at = end
	}
}

// setZones leaves all zones full, or empty.
func (m *memory) setZones(info Info, full bool) {
	for n := range m.Zones {
		m.Zones[n] = zone{}
		if full {
			m.Zones[n] = zone{info.Spec.ZoneBytes, true}
		}
	}
}

func (r *Rack) fillZones(name string) error {
	info, err := r.find(name)
	if err == nil && info.Spec.ZoneBytes > 0 {
		_, err = r.remember(info.Name, func(info Info, m *memory) error { m.setZones(info, true); return nil })
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
	return 0, d.recall(func(m *memory) error {
		for n := range m.Zones {
			switch z := &m.Zones[n]; {
			case !all && int64(n) != slba/size:
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
		p[0], p[1] = 2, 1<<4 // sequential write required, empty
		switch {
		case z.Full:
			p[1] = 0xe << 4
		case z.WP > 0:
			p[1] = 2 << 4 // implicitly opened
		}
		le.PutUint64(p[8:], uint64(size))
		le.PutUint64(p[16:], uint64((first+n)*size))
		le.PutUint64(p[24:], uint64((first+n)*size+z.WP/block))
	}
	return 0
}

// describeZones is what Identify says of the zoned command set (NVMe ZNS 1.1, 4.1.5).
func (d *drive) describeZones(page []byte, s Space) {
	le := binary.LittleEndian
	le.PutUint32(page[4:], 0xffffffff) // any number of zones may be active
	le.PutUint32(page[8:], 0xffffffff) // and open
	le.PutUint64(page[2816:], uint64(d.info.Spec.ZoneBytes/int64(d.memory.blockOf(s))))
}
