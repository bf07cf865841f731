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
	medium  *os.File
	opened  int    // open transports
	power   uint64 // counts power-ons; a transport of an earlier one is gone
	off     bool
	cache   map[int64]*line // volatile, by line number
	cached  int64           // bytes in it
	order   []int64         // its lines, for eviction
	rng     *rand.Rand      // which line goes first: not the oldest, as in real drives
	writes  int64           // since power-on
	request int64           // since power-on, of those who hold the drive
	command int64           // the same, commands alone
	free    time.Time       // when a slow drive will have done what it was asked
}

// lineSize is the unit of the cache.
const lineSize = 32 << 10

type line struct{ data []byte }

// The errors of a kernel whose drive does not do what it should.
var (
	errIO   = syscall.EIO
	errGone = fmt.Errorf("%w: %w", devices.ErrGone, syscall.ENODEV)
)

// powerOn opens the medium and reads the drive's faults anew. What the drive did by itself when
// power failed, it goes on with.
func (d *drive) powerOn(info Info) error {
	profile, err := profileByName(info.Spec.Profile)
	if err != nil {
		return err
	}
	m, err := d.rack.remember(info.Name, func(_ Info, m *memory) error {
		if o := m.Operation; o != nil && o.Paused {
			o.Paused, o.Since = false, d.rack.now()
		}
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
		d.off = true
		d.forget()
		d.info.Gone = true
		return errors.Join(errGone, d.rack.unplug(d.info), d.rack.save(d.info))
	}
	return nil
}

// begin checks a block request as the kernel and the drive do before any byte moves. d.mu is held.
func (d *drive) begin(t *transport, n int, off int64) error {
	if err := d.arrive(t); err != nil {
		return err
	}
	block := int64(d.info.Spec.LogicalBlock)
	if off < 0 || off%block != 0 || int64(n)%block != 0 || n == 0 {
		return syscall.EINVAL // direct I/O moves whole blocks
	}
	return d.barred()
}

// barred fails I/O while a sanitize runs or has failed, as the drive does (NVMe base 2.0, 8.21).
func (d *drive) barred() error {
	if d.memory.Operation == nil && !d.memory.Sanitize.FailureMode {
		return nil
	}
	if err := d.recall(nil); err != nil {
		return err
	}
	if d.memory.Operation != nil || d.memory.Sanitize.FailureMode {
		return errIO
	}
	return nil
}

// recall brings the drive's memory up to date and changes it. d.mu is held.
func (d *drive) recall(change func(m *memory) error) error {
	m, err := d.rack.remember(d.info.Name, func(_ Info, m *memory) error {
		if o := m.Operation; o != nil && o.Paused || change == nil {
			return nil
		}
		return change(m)
	})
	if m != nil {
		d.memory = m
	}
	if err != nil {
		return err
	}
	if o := d.memory.Operation; o != nil && o.Paused {
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
	if off+int64(len(p)) > t.space.SizeBytes {
		return 0, errIO
	}
	off += t.space.Offset
	d.pace(len(p))
	block := d.info.Spec.LogicalBlock
	n := d.before(ReadError, off, len(p))
	for at := 0; at < n; {
		number, inside := (off+int64(at))/lineSize, int((off+int64(at))%lineSize)
		part := p[at:min(n, at+lineSize-inside)]
		if l := d.cache[number]; l != nil {
			copy(part, l.data[inside:])
		} else if err := d.readMedium(part, off+int64(at)); err != nil {
			return at / block * block, err
		}
		at += len(part)
	}
	if n < len(p) {
		return n, errIO
	}
	return n, nil
}

// readMedium and writeMedium pass what is stored through the drive's encryption.
func (d *drive) readMedium(p []byte, off int64) error {
	_, err := d.medium.ReadAt(p, off)
	d.memory.decipher(p, off)
	return err
}

func (d *drive) writeMedium(p []byte, off int64) error {
	if len(d.memory.Key) > 0 {
		p = append([]byte(nil), p...)
		d.memory.crypt(p, off)
	}
	_, err := d.medium.WriteAt(p, off)
	return err
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
	if err := d.begin(t, len(p), off); err != nil {
		return 0, err
	}
	switch {
	case d.info.Spec.ReadOnly:
		return 0, syscall.EPERM
	case off+int64(len(p)) > t.space.SizeBytes:
		return 0, syscall.ENOSPC
	}
	off += t.space.Offset
	d.writes++
	if f, ok := d.faults().find(PowerCut); ok && d.writes >= f.Count {
		return 0, errors.Join(errGone, d.cutPower(p, off))
	}
	if d.memory.Sanitize.GDE {
		if err := d.recall(func(m *memory) error { m.Sanitize.GDE = false; return nil }); err != nil {
			return 0, err
		}
	}
	d.pace(len(p))
	n := d.before(WriteError, off, len(p))
	if err := d.store(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, errIO
	}
	return n, nil
}

// cutPower loses the cache and tears the write at a block: part of it may be on the medium.
func (d *drive) cutPower(p []byte, off int64) error {
	block := d.info.Spec.LogicalBlock
	torn := d.rng.IntN(len(p)/block+1) * block
	err := d.writeMedium(p[:torn], off)
	d.off = true
	d.forget()
	return errors.Join(err, d.rack.dropFaults(d.info.Name, PowerCut))
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
				if err := d.readMedium(l.data, number*lineSize); err != nil {
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
	if err := d.writeMedium(l.data, number*lineSize); err != nil {
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
