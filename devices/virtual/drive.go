package virtual

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/expunge-dev/expunge/devices"
)

// drive is a drive with power: one state, which every door answers from.
type drive struct {
	rack *Rack

	mu      sync.Mutex // guards everything below
	info    Info
	profile Profile
	memory  *memory
	known   reading // what it was read from
	medium  *os.File
	opened  int    // open transports
	power   uint64 // counts power-ons; a transport of an earlier one is gone
	off     bool
	cache   map[int64]*line // volatile, by line number
	cached  int64           // bytes in it
	order   []int64         // its lines, for eviction
	rng     *rand.Rand      // which line goes first: not the oldest, as in real drives
	writes  int64           // since power-on
	written int64           // bytes, which the memory does not have yet
	request int64           // since power-on, of those who hold the drive
	command int64           // the same, commands alone
	wakes   int             // the power-on that this process knows of
	alarms  int             // power-ons and resets, which SCSI drives tell of once
	last    byte            // the ATA command before this one; 0 is a read or write
	free    time.Time       // when a slow drive will have done what it was asked
	heat    int64           // bytes written to a drive that gets hot, less those that it has cooled by
	asked   int64           // writes when it was last asked how warm it is
}

// lineSize is the unit of the cache.
const lineSize = 32 << 10

type line struct{ data []byte }

// The errors of a kernel whose drive does not do what it should.
var (
	errIO   = syscall.EIO
	errGone = fmt.Errorf("%w: %w", devices.ErrGone, syscall.ENODEV)
)

// powerOn opens the medium and reads the drive's faults anew. A drive whose power failed wakes up.
func (d *drive) powerOn(info Info) error {
	profile, err := profileByName(info.Spec.Profile)
	if err != nil {
		return err
	}
	news := false
	m, err := d.rack.remember(info.Name, nil, func(info Info, m *memory) error {
		if m.Unpowered {
			if err := d.rack.wake(info, m); err != nil {
				return err
			}
		}
		news, m.Attention = m.Attention, false
		return nil
	})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(d.rack.image(info.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	d.info, d.profile, d.memory, d.medium, d.off = info, profile, m, f, false
	d.power++
	d.wakes, d.last = m.PowerOns, 0
	if news {
		d.alarms++
	}
	d.writes, d.request, d.command = 0, 0, 0
	d.forget()
	d.rng = rand.New(rand.NewPCG(uint64(info.Index), info.Sequence))
	return nil
}

func (d *drive) forget() { d.cache, d.order, d.cached = map[int64]*line{}, nil, 0 }

// faults of the drive as they were when it got power.
func (d *drive) faults() faults { return d.info.Faults }

// arrive checks whether the drive is still there for whoever asks. d.mu is held.
func (d *drive) arrive(t *transport) error {
	if d.off || t.power != d.power {
		return errGone
	}
	if t.access != devices.Exclusive {
		return nil
	}
	d.request++
	if f, ok := d.faults().find(Pulled); ok && d.request >= f.Count {
		d.info.Gone = true
		return errors.Join(errGone, d.loseMemory(), d.rack.unplug(d.info), d.rack.save(d.info))
	}
	return nil
}

// loseMemory is what a failing power does to the drive. d.mu is held.
func (d *drive) loseMemory() error {
	d.off = true
	d.forget()
	_, err := d.rack.remember(d.info.Name, nil, func(_ Info, m *memory) error {
		m.lose(d.rack.now())
		return nil
	})
	return err
}

// begin checks a block request as the kernel and the drive do before any byte moves. d.mu is held.
func (d *drive) begin(t *transport, n int, off int64) error {
	if err := d.arrive(t); err != nil {
		return err
	}
	if off < 0 || off%int64(t.block) != 0 || n%t.block != 0 || n == 0 {
		return syscall.EINVAL // direct I/O moves whole blocks
	}
	d.last = 0
	return d.barred(t)
}

// busy says whether a unit refuses reads and writes: an erase runs, or has failed.
func (u *unit) busy() bool { return u.Operation != nil || u.FailureMode || u.Format != "" }

// unit is the account of a transport's logical unit.
func (d *drive) unit(t *transport) *unit { return &d.memory.Units[d.memory.unitOf(t.space)] }

// barred fails I/O while an erase runs or has failed, as the drive does (NVMe base 2.0, 8.21), and
// while a password locks it.
func (d *drive) barred(t *transport) error {
	if !d.unit(t).busy() && !d.memory.Power.Locked {
		return nil
	}
	if err := d.recall(nil); err != nil {
		return err
	}
	if d.unit(t).busy() || d.memory.Power.Locked {
		return errIO
	}
	return nil
}

// recall brings the drive's memory up to date and changes it. d.mu is held.
func (d *drive) recall(change func(m *memory) error) error {
	lost := func(m *memory) bool { return m.Unpowered || m.PowerOns != d.wakes }
	var inside func(Info, *memory) error
	if change != nil {
		inside = func(_ Info, m *memory) error {
			if lost(m) {
				return nil
			}
			return change(m)
		}
	}
	m, err := d.rack.remember(d.info.Name, &d.known, inside)
	if m != nil {
		d.memory = m
	}
	if err != nil {
		return err
	}
	if lost(d.memory) {
		d.off = true // the power went, the drive's own memory tells
		d.forget()
		return errGone
	}
	return nil
}

// pace makes a slow drive slow. d.mu is held: the drive does one thing at a time.
func (d *drive) pace(n int) {
	f, ok := d.faults().find(Slow)
	if !ok {
		return
	}
	now := time.Now()
	if d.free.Before(now) {
		d.free = now
	}
	d.free = d.free.Add(time.Duration(float64(n) / float64(f.Count) * float64(time.Second)))
	// Timers are coarse: small requests are waited for together.
	if wait := d.free.Sub(now); wait > 5*time.Millisecond {
		<-time.After(wait)
	}
}

func (d *drive) readAt(t *transport, p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(t, len(p), off); err != nil {
		return 0, err
	}
	switch {
	case t.size == 0:
		return 0, fmt.Errorf("end of device: %w", devices.ErrGone)
	case off+int64(len(p)) > t.size:
		return 0, errIO
	}
	return d.read(t, p, off)
}

// read reads blocks of a transport's space, as far as the drive lets it. d.mu is held.
func (d *drive) read(t *transport, p []byte, off int64) (int, error) {
	u := d.unit(t)
	if off+int64(len(p)) > t.limit(u) {
		return 0, errIO
	}
	off += t.space.Offset
	if err := d.inZone(off, int64(len(p))); err != nil {
		return 0, err
	}
	if barred, shadow := d.memory.barsBytes(off, int64(len(p)), false); barred {
		return 0, errLocked
	} else if shadow != nil {
		return copy(p, shadow), nil
	}
	d.pace(len(p))
	n := d.before(ReadError, off, len(p))
	failed := error(errIO)
	if d.info.Spec.WriteAfterErase > 0 {
		erased, err := d.unwritten(off, n)
		switch {
		case err != nil:
			return 0, err
		case erased < n && d.info.Spec.WriteAfterErase == 1:
			for i := range p {
				p[i] = byte(d.rng.Uint32()) // what is read is not specified
			}
			return len(p), nil
		case erased < n:
			n, failed = erased, errUnwritten
		}
	}
	for at := 0; at < n; {
		number, inside := (off+int64(at))/lineSize, int((off+int64(at))%lineSize)
		part := p[at:min(n, at+lineSize-inside)]
		if l := d.cache[number]; l != nil {
			copy(part, l.data[inside:])
		} else if err := d.memory.readMedium(d.medium, part, off+int64(at)); err != nil {
			return at / u.Block * u.Block, err
		}
		at += len(part)
	}
	d.blankAbove(p[:n], off)
	if n < len(p) {
		return n, failed
	}
	return n, nil
}

// before is how many bytes lie before the first block with such a fault.
func (d *drive) before(kind string, off int64, n int) int {
	if _, any := d.faults().find(kind); !any {
		return n
	}
	block := d.info.Spec.LogicalBlock
	for at := 0; at < n; at += block {
		if d.faults().on(kind, (off+int64(at))/int64(block)) {
			return at
		}
	}
	return n
}

func (d *drive) writeAt(t *transport, p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writeOne(t, p, off)
}

// writeOne carries out one request to write. d.mu is held.
func (d *drive) writeOne(t *transport, p []byte, off int64) (int, error) {
	if err := d.begin(t, len(p), off); err != nil {
		return 0, err
	}
	switch {
	case d.info.Spec.ReadOnly:
		return 0, syscall.EPERM
	case off+int64(len(p)) > t.size:
		return 0, syscall.ENOSPC
	case d.reserved():
		return 0, syscall.EBADE
	}
	return d.write(t, p, off)
}

// reserved says whether another host has the drive reserved for its writes.
func (d *drive) reserved() bool {
	return d.info.Spec.ReservedBy != "" && (d.profile.Format || d.profile.Protocol == devices.ProtocolNVMe)
}

// write writes blocks of a transport's space, as far as the drive lets it. d.mu is held.
func (d *drive) write(t *transport, p []byte, off int64) (int, error) {
	if off+int64(len(p)) > t.limit(d.unit(t)) || d.unit(t).Verifying {
		return 0, errIO
	}
	off += t.space.Offset
	if size := d.info.Spec.ZoneBytes; size > 0 && d.faults().on(ZoneStuck, off/size) && !d.info.conventional(off/size) {
		return len(p), nil
	}
	if err := d.inOrder(off, int64(len(p))); err != nil {
		return 0, err
	}
	if barred, _ := d.memory.barsBytes(off, int64(len(p)), true); barred {
		return 0, errLocked
	}
	d.writes++
	if f, ok := d.faults().find(PowerCut); ok && d.writes >= f.Count {
		return 0, errors.Join(errGone, d.cutPower(p, off))
	}
	if f, ok := d.faults().find(Hang); ok && d.writes == 1 {
		<-time.After(time.Duration(f.Count) * time.Second) // d.mu is held: nothing else is answered
	}
	if d.unit(t).GDE {
		number := d.memory.unitOf(t.space)
		if err := d.recall(func(m *memory) error { m.Units[number].GDE, m.Units[number].Purged = false, false; return nil }); err != nil {
			return 0, err
		}
	}
	d.pace(len(p))
	n := d.before(WriteError, off, len(p))
	if d.info.Spec.WriteAfterErase > 0 {
		if err := d.rack.mark(d.info, off, int64(n), 0); err != nil {
			return 0, err
		}
	}
	if err := errors.Join(d.store(p[:n], off), d.advance(off, int64(n))); err != nil {
		return 0, err
	}
	d.written += int64(n)
	d.heat += int64(n)
	if n < len(p) {
		return n, errIO
	}
	return n, nil
}

// cutPower loses the cache and tears the write at a block: part of it may be on the medium.
func (d *drive) cutPower(p []byte, off int64) error {
	block := d.info.Spec.LogicalBlock
	torn := d.rng.IntN(len(p)/block+1) * block
	err := d.memory.writeMedium(d.medium, p[:torn], off)
	return errors.Join(err, d.loseMemory(), d.rack.dropFaults(d.info.Name, PowerCut))
}

// store puts data into the cache, block by block where some are to be dropped.
func (d *drive) store(p []byte, off int64) error {
	if _, some := d.faults().find(DropWrites); !some {
		return d.cacheWrite(p, off)
	}
	block := d.info.Spec.LogicalBlock
	for at := 0; at < len(p); at += block {
		if d.faults().on(DropWrites, (off+int64(at))/int64(block)) {
			continue
		}
		if err := d.cacheWrite(p[at:at+block], off+int64(at)); err != nil {
			return err
		}
	}
	return nil
}

func (d *drive) cacheWrite(p []byte, off int64) error {
	for len(p) > 0 {
		number, inside := off/lineSize, int(off%lineSize)
		part := p[:min(len(p), lineSize-inside)]
		l := d.cache[number]
		if l == nil {
			l = &line{make([]byte, d.lineLength(number))}
			if len(part) < len(l.data) {
				if err := d.memory.readMedium(d.medium, l.data, number*lineSize); err != nil {
					return err
				}
			}
			d.cache[number] = l
			d.order = append(d.order, number)
			d.cached += int64(len(l.data))
		}
		copy(l.data[inside:], part)
		p, off = p[len(part):], off+int64(len(part))
		for d.cached > d.info.Spec.CacheBytes {
			if err := d.evict(d.rng.IntN(len(d.order))); err != nil {
				return err
			}
		}
	}
	return nil
}

// lineLength is lineSize but for the last line of the addressable blocks: hidden ones are behind.
func (d *drive) lineLength(number int64) int64 {
	return min(lineSize, d.info.addressable()-number*lineSize)
}

// evict writes one line to the medium.
func (d *drive) evict(at int) error {
	number := d.order[at]
	l := d.cache[number]
	if err := d.memory.writeMedium(d.medium, l.data, number*lineSize); err != nil {
		return err
	}
	delete(d.cache, number)
	d.cached -= int64(len(l.data))
	d.order[at] = d.order[len(d.order)-1]
	d.order = d.order[:len(d.order)-1]
	return nil
}

func (d *drive) flush(t *transport) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off || t.power != d.power {
		return errGone
	}
	return d.writeBack()
}

func (d *drive) writeBack() error {
	for len(d.order) > 0 {
		if err := d.evict(len(d.order) - 1); err != nil {
			return err
		}
	}
	return nil
}
