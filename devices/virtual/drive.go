package virtual

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
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
	medium  *os.File
	opened  int    // open transports
	power   uint64 // counts power-ons; a transport of an earlier one is gone
	off     bool
	cache   map[int64]*line // volatile, by line number
	cached  int64           // bytes in it
	order   []int64         // its lines, for eviction
	rng     *rand.Rand      // which line goes first: not the oldest, as in real drives
	writes  int64           // since power-on
	request int64
	free    time.Time // when a slow drive will have done what it was asked
}

// lineSize is the unit of the cache.
const lineSize = 32 << 10

type line struct{ data []byte }

// The errors of a kernel whose drive does not do what it should.
var (
	errIO   = syscall.EIO
	errGone = fmt.Errorf("%w: %w", devices.ErrGone, syscall.ENODEV)
)

// powerOn opens the medium and reads the drive's faults anew.
func (d *drive) powerOn(info Info) error {
	f, err := os.OpenFile(d.rack.image(info.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	d.info, d.medium, d.off = info, f, false
	d.power++
	d.writes, d.request = 0, 0
	d.forget()
	d.rng = rand.New(rand.NewPCG(uint64(nameIndex(info.Name)), info.Sequence))
	return nil
}

func (d *drive) forget() { d.cache, d.order, d.cached = map[int64]*line{}, nil, 0 }

// fault finds the first fault of a kind.
func (d *drive) fault(kind string) (Fault, bool) {
	at := slices.IndexFunc(d.info.Faults, func(f Fault) bool { return f.Kind == kind })
	if at < 0 {
		return Fault{}, false
	}
	return d.info.Faults[at], true
}

func (d *drive) faulty(kind string, block int64) bool {
	return slices.ContainsFunc(d.info.Faults, func(f Fault) bool { return f.Kind == kind && f.covers(block) })
}

// begin checks a request as the kernel and the drive do before any byte moves. d.mu is held.
func (d *drive) begin(power uint64, n int, off int64) error {
	if d.off || power != d.power {
		return errGone
	}
	d.request++
	if f, ok := d.fault(Pulled); ok && d.request >= f.Count {
		d.off = true
		d.forget()
		d.info.Gone = true
		return errors.Join(errGone, d.rack.unplug(d.info), d.rack.save(d.info))
	}
	block := int64(d.info.Spec.LogicalBlock)
	if off < 0 || off%block != 0 || int64(n)%block != 0 || n == 0 {
		return syscall.EINVAL // direct I/O moves whole blocks
	}
	return nil
}

// pace makes a slow drive slow. d.mu is held: the drive does one thing at a time.
func (d *drive) pace(n int) {
	f, ok := d.fault(Slow)
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

func (d *drive) readAt(power uint64, p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(power, len(p), off); err != nil {
		return 0, err
	}
	if off+int64(len(p)) > d.info.Spec.SizeBytes {
		return 0, errIO
	}
	d.pace(len(p))
	block := d.info.Spec.LogicalBlock
	n := d.before(ReadError, off, len(p))
	for at := 0; at < n; {
		number, inside := (off+int64(at))/lineSize, int((off+int64(at))%lineSize)
		part := p[at:min(n, at+lineSize-inside)]
		if l := d.cache[number]; l != nil {
			copy(part, l.data[inside:])
		} else if _, err := d.medium.ReadAt(part, off+int64(at)); err != nil {
			return at / block * block, err
		}
		at += len(part)
	}
	if n < len(p) {
		return n, errIO
	}
	return n, nil
}

// before is how many bytes lie before the first block with such a fault.
func (d *drive) before(kind string, off int64, n int) int {
	if _, any := d.fault(kind); !any {
		return n
	}
	block := d.info.Spec.LogicalBlock
	for at := 0; at < n; at += block {
		if d.faulty(kind, (off+int64(at))/int64(block)) {
			return at
		}
	}
	return n
}

func (d *drive) writeAt(power uint64, p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin(power, len(p), off); err != nil {
		return 0, err
	}
	switch {
	case d.info.Spec.ReadOnly:
		return 0, syscall.EPERM
	case off+int64(len(p)) > d.info.Spec.SizeBytes:
		return 0, syscall.ENOSPC
	}
	d.writes++
	if f, ok := d.fault(PowerCut); ok && d.writes >= f.Count {
		return 0, errors.Join(errGone, d.cutPower(p, off))
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
	_, err := d.medium.WriteAt(p[:torn], off)
	d.off = true
	d.forget()
	d.info.Faults = slices.DeleteFunc(d.info.Faults, func(f Fault) bool { return f.Kind == PowerCut })
	return errors.Join(err, d.rack.save(d.info))
}

// store puts data into the cache, block by block where some are to be dropped.
func (d *drive) store(p []byte, off int64) error {
	if _, some := d.fault(DropWrites); !some {
		return d.cacheWrite(p, off)
	}
	block := d.info.Spec.LogicalBlock
	for at := 0; at < len(p); at += block {
		if d.faulty(DropWrites, (off+int64(at))/int64(block)) {
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
				if _, err := d.medium.ReadAt(l.data, number*lineSize); err != nil {
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
	return min(lineSize, d.info.Spec.SizeBytes-number*lineSize)
}

// evict writes one line to the medium.
func (d *drive) evict(at int) error {
	number := d.order[at]
	l := d.cache[number]
	if _, err := d.medium.WriteAt(l.data, number*lineSize); err != nil {
		return err
	}
	delete(d.cache, number)
	d.cached -= int64(len(l.data))
	d.order[at] = d.order[len(d.order)-1]
	d.order = d.order[:len(d.order)-1]
	return nil
}

func (d *drive) flush(power uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off || power != d.power {
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
