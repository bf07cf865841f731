package nvme

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// csiZoned is the command set identifier of zoned namespaces (NVMe base 2.0, figure 274).
const csiZoned = 2

// IdentifyZoned asks for what a namespace is beside its blocks in the zoned command set: CNS 05h, CSI 02h
// (NVMe ZNS 1.1, 4.1.5.1). A controller refuses it of any other namespace.
type IdentifyZoned struct{ NSID uint32 }

// Command encodes it.
func (i IdentifyZoned) Command() *Command {
	c := identify(cnsCommandSet, i.NSID, 0)
	c.CDW11 = csiZoned << 24
	return c
}

// ZonedNamespace is what Identify Namespace of the zoned command set says (NVMe ZNS 1.1, 4.1.5.1).
type ZonedNamespace struct {
	ZOC  uint16
	OZCS uint16
	MAR  uint32 // zones that may be active, from 0; NoLimit
	MOR  uint32 // zones that may be open, from 0; NoLimit
	ZSZE uint64 // blocks of a zone in the format in use
}

// NoLimit is MAR or MOR of a drive that has no such limit.
const NoLimit = 0xffffffff

// ParseZoned decodes it; format is the LBA format in use, which Identify Namespace tells.
func ParseZoned(b []byte, format int) (ZonedNamespace, error) {
	if len(b) < identifySize {
		return ZonedNamespace{}, fmt.Errorf("identify zoned namespace: %d bytes, want %d", len(b), identifySize)
	}
	if format < 0 || format > 63 {
		return ZonedNamespace{}, fmt.Errorf("identify zoned namespace: LBA format %d", format)
	}
	le := binary.LittleEndian
	z := ZonedNamespace{ZOC: le.Uint16(b[0:]), OZCS: le.Uint16(b[2:]), MAR: le.Uint32(b[4:]), MOR: le.Uint32(b[8:]), ZSZE: le.Uint64(b[2816+16*format:])}
	if z.ZSZE == 0 {
		return ZonedNamespace{}, fmt.Errorf("identify zoned namespace: zones of no blocks in LBA format %d", format)
	}
	return z, nil
}

// Varies is ZOC bit 0: the capacity of a zone may be another after each reset.
func (z ZonedNamespace) Varies() bool { return z.ZOC&1 != 0 }

// AtOnce is how many zones may be partly written at one time; 0 says that there is no limit.
func (z ZonedNamespace) AtOnce() int64 {
	n := int64(0)
	for _, limit := range []uint32{z.MAR, z.MOR} {
		if limit != NoLimit && (n == 0 || int64(limit)+1 < n) {
			n = int64(limit) + 1
		}
	}
	return n
}

// zoneDescriptor is the length of a zone descriptor, and of the header of a report.
const zoneDescriptor = 64

// reportedZones is how many descriptors one report has room for: 16 KiB, which every drive transfers.
const reportedZones = 255

// ZoneReport is Zone Management Receive, report zones, of zones in every state (NVMe ZNS 1.1, 3.4.2): those from the
// zone of block SLBA on, and how many there are.
type ZoneReport struct {
	NSID uint32
	SLBA uint64
}

// Command encodes it.
func (r ZoneReport) Command() *Command {
	data := make([]byte, zoneDescriptor*(1+reportedZones))
	return &Command{
		Queue: IO, Opcode: 0x7a, NSID: r.NSID, CDW10: uint32(r.SLBA), CDW11: uint32(r.SLBA >> 32), CDW12: uint32(len(data)/4 - 1), Data: data, Timeout: quick,
	}
}

// ZoneState is ZS of a zone descriptor (NVMe ZNS 1.1, 3.4.2).
type ZoneState uint8

// The states of a zone.
const (
	ZoneEmpty          ZoneState = 0x1
	ZoneImplicitlyOpen ZoneState = 0x2
	ZoneExplicitlyOpen ZoneState = 0x3
	ZoneClosed         ZoneState = 0x4
	ZoneReadOnly       ZoneState = 0xd
	ZoneFull           ZoneState = 0xe
	ZoneOffline        ZoneState = 0xf
)

// Zone is a zone descriptor (NVMe ZNS 1.1, 3.4.2). WP means nothing of zones that are full, read-only or offline.
type Zone struct {
	ZS    ZoneState
	ZCAP  uint64
	ZSLBA uint64
	WP    uint64
}

// sequentialWriteRequired is the only type of zone that there is (ZT).
const sequentialWriteRequired = 2

// ParseZoneReport decodes a report: the zones that it has room for, and how many there are from the
// first on. A page of zeros reports nothing and is an error; so is a zone that contradicts itself or
// does not follow the one before.
func ParseZoneReport(b []byte) (zones []Zone, total uint64, err error) {
	if len(b) < 2*zoneDescriptor {
		return nil, 0, fmt.Errorf("zone report: %d bytes, want %d or more", len(b), 2*zoneDescriptor)
	}
	le := binary.LittleEndian
	if total = le.Uint64(b); total == 0 {
		return nil, 0, errors.New("zone report: it has no zone")
	}
	fit := uint64(len(b)/zoneDescriptor - 1)
	for n := range min(total, fit) {
		d := b[zoneDescriptor*(n+1):]
		z := Zone{ZS: ZoneState(d[1] >> 4), ZCAP: le.Uint64(d[8:]), ZSLBA: le.Uint64(d[16:]), WP: le.Uint64(d[24:])}
		if kind := d[0] & 0x0f; kind != sequentialWriteRequired {
			return nil, 0, fmt.Errorf("zone report: zone at block %d is of type %d", z.ZSLBA, kind)
		}
		if err := z.check(); err != nil {
			return nil, 0, fmt.Errorf("zone report: zone at block %d: %w", z.ZSLBA, err)
		}
		if n > 0 && z.ZSLBA <= zones[n-1].ZSLBA {
			return nil, 0, fmt.Errorf("zone report: the zone at block %d follows the one at %d", z.ZSLBA, zones[n-1].ZSLBA)
		}
		zones = append(zones, z)
	}
	return zones, total, nil
}

func (z Zone) check() error {
	if z.ZCAP == 0 || z.ZCAP > 1<<62 || z.ZSLBA > 1<<62 {
		return fmt.Errorf("a capacity of %d blocks", z.ZCAP)
	}
	switch z.ZS {
	case ZoneEmpty:
		if z.WP != z.ZSLBA {
			return fmt.Errorf("empty, and its write pointer is %d", z.WP)
		}
	case ZoneImplicitlyOpen, ZoneExplicitlyOpen, ZoneClosed:
		if z.WP < z.ZSLBA || z.WP-z.ZSLBA > z.ZCAP {
			return fmt.Errorf("its write pointer is %d", z.WP)
		}
	case ZoneReadOnly, ZoneFull, ZoneOffline:
	default:
		return fmt.Errorf("reserved state %d", uint8(z.ZS))
	}
	return nil
}

// ZoneAction is ZSA of Zone Management Send (NVMe ZNS 1.1, 3.4.3).
type ZoneAction uint8

// The actions that are used. A reset moves the write pointer to the zone's start, and what was
// written can be read no more; it erases nothing.
const (
	ZoneFinish ZoneAction = 2
	ZoneReset  ZoneAction = 4
)

// ZoneSend is Zone Management Send (NVMe ZNS 1.1, 3.4.3), to the zone that begins at SLBA, or with All to every zone
// that the action can be done to.
type ZoneSend struct {
	NSID   uint32
	SLBA   uint64
	Action ZoneAction
	All    bool
}

// zoneTimeout bounds one of them: a drive may fill what is left of a zone to finish it, and has many zones to reset.
const zoneTimeout = 5 * time.Minute

// Command encodes it.
func (s ZoneSend) Command() (*Command, error) {
	switch {
	case s.NSID == 0 || s.NSID >= 0xfffffffe:
		return nil, fmt.Errorf("zone management send to namespace %#x", s.NSID)
	case s.Action != ZoneFinish && s.Action != ZoneReset:
		return nil, fmt.Errorf("zone management send: action %d", s.Action)
	case s.All && (s.SLBA != 0 || s.Action != ZoneReset):
		return nil, fmt.Errorf("zone management send: action %d to all zones, and to the one at block %d", s.Action, s.SLBA)
	}
	c := &Command{Queue: IO, Opcode: 0x79, NSID: s.NSID, CDW10: uint32(s.SLBA), CDW11: uint32(s.SLBA >> 32), CDW13: uint32(s.Action), Timeout: zoneTimeout}
	if s.All {
		c.CDW13 |= 1 << 8
	}
	return c, nil
}
