package devices

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// reportNVMeZones asks for the zones of a namespace (NVMe ZNS 1.1, 3.4.2 and 4.1.5.1), and for what they are counted in.
func reportNVMeZones(ctx context.Context, t Transport, nsid uint32) (ZoneReport, error) {
	page, err := admin(ctx, t, nvme.IdentifyController{}.Command())
	if err != nil {
		return ZoneReport{}, fmt.Errorf("identify controller: %w", err)
	}
	c, err := nvme.ParseController(page)
	if err != nil {
		return ZoneReport{}, err
	}
	if page, err = admin(ctx, t, nvme.IdentifyNamespace{NSID: nsid}.Command()); err != nil {
		return ZoneReport{}, fmt.Errorf("identify namespace %d: %w", nsid, err)
	}
	ns, err := nvme.ParseNamespace(page)
	if err != nil {
		return ZoneReport{}, fmt.Errorf("namespace %d: %w", nsid, err)
	}
	if page, err = admin(ctx, t, nvme.IdentifyZoned{NSID: nsid}.Command()); err != nil {
		return ZoneReport{}, fmt.Errorf("identify zoned namespace %d: %w", nsid, err)
	}
	zoned, err := nvme.ParseZoned(page, ns.Format())
	if err != nil {
		return ZoneReport{}, fmt.Errorf("%w: namespace %d: %w", ErrZonesUnknown, nsid, err)
	}
	if zoned.Varies() {
		return ZoneReport{}, fmt.Errorf("%w: in namespace %d their capacity may be another after each reset", ErrZonesKind, nsid)
	}
	if ns.MS > 0 {
		return ZoneReport{}, fmt.Errorf("%w: the blocks of namespace %d carry %d bytes of metadata", ErrZonesKind, nsid, ns.MS)
	}
	if zoned.ZSZE > ns.NSZE {
		return ZoneReport{}, fmt.Errorf("%w: zones of %d blocks in namespace %d, which has %d", ErrZonesUnknown, zoned.ZSZE, nsid, ns.NSZE)
	}
	list, err := listNVMeZones(ctx, t, nsid, ns.NSZE, zoned.ZSZE, ns.LBADS)
	if err != nil {
		return ZoneReport{}, err
	}
	r, err := newZoneReport(list, int64(zoned.ZSZE<<ns.LBADS), ns.SizeBytes())
	r.AtOnce, r.Most = zoned.AtOnce(), mostAtOnce
	if c.MDTS > 0 && c.MDTS < 16 {
		r.Most = min(r.Most, 4096<<c.MDTS) // in units of the least memory page, which has 4 KiB or more
	}
	return r, err
}

// maxZones bounds what is kept of a drive: more than any has.
const maxZones = 1 << 22

// listNVMeZones reads reports until all blocks are covered. Every one must say that the zones up to
// the end are as many as there is room for.
func listNVMeZones(ctx context.Context, t Transport, nsid uint32, blocks, size uint64, shift uint8) ([]Zone, error) {
	if size == 0 || blocks/size > maxZones {
		return nil, fmt.Errorf("%w: namespace %d: %d blocks in zones of %d", ErrZonesUnknown, nsid, blocks, size)
	}
	var list []Zone
	for at := uint64(0); at < blocks; at = uint64(len(list)) * size {
		page, err := admin(ctx, t, nvme.ZoneReport{NSID: nsid, SLBA: at}.Command())
		if err != nil {
			return nil, fmt.Errorf("report zones of namespace %d: %w", nsid, err)
		}
		part, total, err := nvme.ParseZoneReport(page)
		if err != nil {
			return nil, fmt.Errorf("%w: namespace %d: %w", ErrZonesUnknown, nsid, err)
		}
		if want := (blocks - at + size - 1) / size; total != want {
			return nil, fmt.Errorf("%w: namespace %d reports %d zones from block %d on, where %d of %d blocks have room", ErrZonesUnknown, nsid, total, at, want, size)
		}
		for _, z := range part {
			if z.ZSLBA > blocks || z.ZCAP > size {
				return nil, fmt.Errorf("%w: namespace %d: a zone of %d blocks at %d", ErrZonesUnknown, nsid, z.ZCAP, z.ZSLBA)
			}
			list = append(list, nvmeZone(z, shift))
		}
	}
	return list, nil
}

func nvmeZone(z nvme.Zone, shift uint8) Zone {
	zone := Zone{Start: int64(z.ZSLBA << shift), Capacity: int64(z.ZCAP << shift)}
	switch z.ZS {
	case nvme.ZoneEmpty:
		zone.State = ZoneEmpty
	case nvme.ZoneFull:
		zone.State = ZoneFull
	case nvme.ZoneReadOnly:
		zone.State = ZoneReadOnly
	case nvme.ZoneOffline:
		zone.State = ZoneOffline
	default:
		zone.State, zone.Written = ZoneBegun, int64((z.WP-z.ZSLBA)<<shift)
	}
	return zone
}

// sendNVMeZone resets or finishes zones (NVMe ZNS 1.1, 3.4.3).
func sendNVMeZone(ctx context.Context, s Space, start int64, all, finish bool) error {
	z := nvme.ZoneSend{NSID: s.NSID, SLBA: uint64(start / int64(s.LogicalBlock)), Action: nvme.ZoneReset, All: all}
	if finish {
		z.Action = nvme.ZoneFinish
	}
	c, err := z.Command()
	if err != nil {
		return err
	}
	done, err := s.transport.NVMe(context.WithoutCancel(ctx), c)
	if err == nil {
		err = done.Err()
	}
	return nvmeIOError(err)
}

// nvmeIOError makes what a drive says of a block or a zone an I/O error, as the kernel would.
func nvmeIOError(err error) error {
	var failed *nvme.StatusError
	if errors.As(err, &failed) && !IsGone(err) {
		return fmt.Errorf("%w: %w", syscall.EIO, err)
	}
	return err
}

// nvmeBlocks is block I/O by the commands of a zoned namespace, at addresses that count existing blocks. No
// request reaches from one zone into the next.
type nvmeBlocks struct {
	t     Transport
	nsid  uint32
	block int64
	zones ZoneReport
}

// ReadAt implements blockio.Backend.
func (b nvmeBlocks) ReadAt(p []byte, off int64) (int, error) {
	return b.move(p, off, func(slba uint64, blocks int, data []byte) (*nvme.Command, error) {
		return nvme.Read{NSID: b.nsid, SLBA: slba, Blocks: blocks, Data: data}.Command()
	})
}

// WriteAt implements blockio.Backend. Its commands follow one another, each when the one before has ended.
func (b nvmeBlocks) WriteAt(p []byte, off int64) (int, error) {
	return b.move(p, off, func(slba uint64, blocks int, data []byte) (*nvme.Command, error) {
		return nvme.Write{NSID: b.nsid, SLBA: slba, Blocks: blocks, Data: data}.Command()
	})
}

func (b nvmeBlocks) move(p []byte, off int64, command func(slba uint64, blocks int, data []byte) (*nvme.Command, error)) (int, error) {
	capacity, n := b.zones.CapacityBytes, int64(len(p))
	if off < 0 || off%b.block != 0 || n%b.block != 0 || n == 0 || off%capacity+n > capacity {
		return 0, fmt.Errorf("%d+%d in zones of %d: %w", off, n, capacity, syscall.EINVAL)
	}
	if off+n > b.zones.Bytes() {
		return 0, fmt.Errorf("%d+%d is behind the end at %d: %w", off, n, b.zones.Bytes(), syscall.EIO)
	}
	slba := uint64(b.zones.At(off) / b.block)
	at := 0
	for at < len(p) {
		part := p[at:min(len(p), at+max(int(b.block), b.zones.Most/int(b.block)*int(b.block)))]
		c, err := command(slba+uint64(at)/uint64(b.block), len(part)/int(b.block), part)
		if err != nil {
			return at, err
		}
		done, err := b.t.NVMe(context.Background(), c)
		if err == nil {
			err = done.Err()
		}
		if err != nil {
			return at, nvmeIOError(fmt.Errorf("NVMe command %02xh at block %d: %w", c.Opcode, slba+uint64(at)/uint64(b.block), err))
		}
		at += len(part)
	}
	return at, nil
}

// Flush implements blockio.Backend.
func (b nvmeBlocks) Flush() error {
	done, err := b.t.NVMe(context.Background(), nvme.Flush{NSID: b.nsid}.Command())
	if err == nil {
		err = done.Err()
	}
	if err != nil {
		return fmt.Errorf("flush namespace %d: %w", b.nsid, err)
	}
	return nil
}
