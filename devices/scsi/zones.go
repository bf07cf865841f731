package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// HostManagedType is the peripheral device type of a disk whose blocks are written in order, zone by zone
// (SPC-5 6.6.2; ZBC-2 4.2).
const HostManagedType = 0x14

// PageZoned is the zoned block device characteristics page (ZBC-2 6.4.2).
const PageZoned = 0xb6

// ZonedCharacteristics is that page.
type ZonedCharacteristics struct {
	// UnrestrictedReads is URSWRZ: a read above a write pointer brings a pattern and no error.
	UnrestrictedReads bool
	MaxOpen           uint32 // sequential write required zones that may be open; NoZoneLimit, 0 not reported
}

// NoZoneLimit is MaxOpen of a drive that has no limit.
const NoZoneLimit = 0xffffffff

// ParseZoned decodes the page.
func ParseZoned(b []byte) (ZonedCharacteristics, error) {
	p, err := page(b, PageZoned)
	if err != nil {
		return ZonedCharacteristics{}, err
	}
	if len(p) < 16 {
		return ZonedCharacteristics{}, fmt.Errorf("VPD page b6h: %d bytes, want 16", len(p))
	}
	return ZonedCharacteristics{UnrestrictedReads: p[0]&1 != 0, MaxOpen: binary.BigEndian.Uint32(p[12:])}, nil
}

// zoneDescriptor is the length of a zone descriptor, and of the header of a report.
const zoneDescriptor = 64

// reportedZones is how many descriptors one report has room for: with the header whole sectors, which is all
// that a translation to ATA transfers (SAT-5; libata), and no more than every adapter does.
const reportedZones = 1023

// ReportZones is REPORT ZONES of zones in every condition, from the one of a block on (ZBC-2 5.2).
func ReportZones(lba uint64) *Command {
	const n = zoneDescriptor * (1 + reportedZones)
	c := &Command{CDB: transfer(0x95, lba, n), Direction: DataIn, Data: make([]byte, n), Timeout: time.Minute}
	return c
}

// ZoneType is what writes a zone takes (ZBC-2 5.2.3, ZONE TYPE).
type ZoneType uint8

// The types that are told apart.
const (
	ZoneConventional   ZoneType = 1
	ZoneWriteRequired  ZoneType = 2 // in the order of the write pointer alone
	ZoneWritePreferred ZoneType = 3 // that of a host-aware drive
)

// ZoneCondition is how a zone stands (ZBC-2 5.2.3, ZONE CONDITION).
type ZoneCondition uint8

// The conditions.
const (
	ZoneNoPointer      ZoneCondition = 0x0
	ZoneEmpty          ZoneCondition = 0x1
	ZoneImplicitlyOpen ZoneCondition = 0x2
	ZoneExplicitlyOpen ZoneCondition = 0x3
	ZoneClosed         ZoneCondition = 0x4
	ZoneReadOnly       ZoneCondition = 0xd
	ZoneFull           ZoneCondition = 0xe
	ZoneOffline        ZoneCondition = 0xf
)

// Zone is a zone descriptor, in logical blocks. Pointer means something of zones that are empty, open or closed.
type Zone struct {
	Type      ZoneType
	Condition ZoneCondition
	Length    uint64
	Start     uint64
	Pointer   uint64
}

// ParseZoneReport decodes a report: the zones that came, how many there are from the first on, and the last
// block of the unit. A report of zeros is an error; so is a zone that contradicts itself or does not begin
// where the one before it ends.
func ParseZoneReport(b []byte) (zones []Zone, total, last uint64, err error) {
	if len(b) < 2*zoneDescriptor {
		return nil, 0, 0, fmt.Errorf("report zones: %d bytes, want %d or more", len(b), 2*zoneDescriptor)
	}
	be := binary.BigEndian
	n := be.Uint32(b)
	if n == 0 || n%zoneDescriptor != 0 {
		return nil, 0, 0, fmt.Errorf("report zones: a list of %d bytes", n)
	}
	total, last = uint64(n/zoneDescriptor), be.Uint64(b[8:])
	if last == 0 || last >= 1<<62 {
		return nil, 0, 0, fmt.Errorf("report zones: the last block is %d", last)
	}
	for p := b[zoneDescriptor:]; len(p) >= zoneDescriptor && uint64(len(zones)) < total; p = p[zoneDescriptor:] {
		z := Zone{Type: ZoneType(p[0] & 0x0f), Condition: ZoneCondition(p[1] >> 4), Length: be.Uint64(p[8:]), Start: be.Uint64(p[16:]), Pointer: be.Uint64(p[24:])}
		if err := z.check(last); err != nil {
			return nil, 0, 0, fmt.Errorf("report zones: zone at block %d: %w", z.Start, err)
		}
		if k := len(zones); k > 0 && z.Start != zones[k-1].Start+zones[k-1].Length {
			return nil, 0, 0, fmt.Errorf("report zones: the zone at block %d follows one of %d blocks at %d", z.Start, zones[k-1].Length, zones[k-1].Start)
		}
		zones = append(zones, z)
	}
	return zones, total, last, nil
}

func (z Zone) check(last uint64) error {
	if z.Length == 0 || z.Start > last || z.Length > last+1-z.Start {
		return fmt.Errorf("%d blocks, and the last of the drive is %d", z.Length, last)
	}
	switch z.Condition {
	case ZoneNoPointer:
		if z.Type != ZoneConventional {
			return fmt.Errorf("of type %d, and without a write pointer", z.Type)
		}
		return nil
	case ZoneReadOnly, ZoneOffline:
		return nil
	}
	if z.Type == ZoneConventional {
		return fmt.Errorf("conventional, and in condition %d", uint8(z.Condition))
	}
	switch z.Condition {
	case ZoneEmpty:
		if z.Pointer != z.Start {
			return fmt.Errorf("empty, and its write pointer is %d", z.Pointer)
		}
	case ZoneImplicitlyOpen, ZoneExplicitlyOpen, ZoneClosed:
		if z.Pointer < z.Start || z.Pointer-z.Start > z.Length {
			return fmt.Errorf("its write pointer is %d", z.Pointer)
		}
	case ZoneFull:
	default:
		return fmt.Errorf("reserved condition %d", uint8(z.Condition))
	}
	return nil
}

// ZoneAction is the service action of ZBC OUT (ZBC-2 5).
type ZoneAction uint8

// The actions that are used. A reset moves the write pointer to the zone's start, and what was written
// can be read no more; it erases nothing.
const (
	ZoneFinish ZoneAction = 0x02
	ZoneReset  ZoneAction = 0x04
)

// ZoneOut is FINISH ZONE or RESET WRITE POINTER (ZBC-2 5.4, 5.7) of the zone that begins at a block, or with
// All of every zone that has a write pointer.
type ZoneOut struct {
	Action ZoneAction
	LBA    uint64
	All    bool
}

// zoneTimeout bounds one of them: a drive may have many zones to reset.
const zoneTimeout = 5 * time.Minute

// Command encodes it.
func (z ZoneOut) Command() (*Command, error) {
	switch {
	case z.Action != ZoneFinish && z.Action != ZoneReset:
		return nil, fmt.Errorf("zone out: action %02xh", uint8(z.Action))
	case z.All && (z.LBA != 0 || z.Action != ZoneReset):
		return nil, errors.New("zone out: all zones can only be reset, and have no address")
	}
	c := &Command{CDB: transfer(0x94, z.LBA, 0), Timeout: zoneTimeout}
	c.CDB[1] = byte(z.Action)
	if z.All {
		c.CDB[14] = 1
	}
	return c, nil
}

// ParseOpcodeUsage decodes the usage data of one command: the bits of its CDB that the unit looks at (SPC-5
// 6.36.3). It is nil where the command is not supported.
func ParseOpcodeUsage(b []byte) ([]byte, error) {
	support, err := ParseOpcodeSupport(b)
	if err != nil || support != SupportedStandard {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n == 0 || n > len(b)-4 {
		return nil, fmt.Errorf("report supported operation codes: usage data of %d bytes in %d", n, len(b)-4)
	}
	return b[4 : 4+n], nil
}
