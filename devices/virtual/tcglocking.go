package virtual

import "fmt"

// errLocked is a read or write of blocks that the Locking SP keeps from the host: for block I/O it is
// an I/O error.
var errLocked = fmt.Errorf("access denied: %w", errIO)

// mbrSize and dataStoreSize are bytes of the two tables: less than a real drive's 128 and 10 MiB, as
// the drives are smaller.
const (
	mbrSize       = 256 << 10
	dataStoreSize = 64 << 10
)

// rangeOf is the number of the range that an offset of the medium belongs to, and how many bytes from
// there on, of at most n, do. Blocks that the host cannot address are divided as those are that it can.
func (s *tcgMemory) rangeOf(off, n int64) (number int, bytes int64) {
	at, step := off, n
	if off >= s.Addressable {
		step = min(n, cryptUnit-off%cryptUnit)
		if at = 0; s.Hidden > 0 {
			at = int64(float64(off-s.Addressable) / float64(s.Hidden) * float64(s.Addressable))
		}
	} else {
		step = min(n, s.Addressable-off)
	}
	hidden := off >= s.Addressable
	for k := 1; k < len(s.Ranges); k++ {
		r := &s.Ranges[k]
		if r.Length == 0 {
			continue
		}
		from, to := int64(r.Start)*s.Block, int64(r.Start+r.Length)*s.Block
		switch {
		case at >= from && at < to && hidden:
			return k, step
		case at >= from && at < to:
			return k, min(step, to-at)
		case at < from && !hidden:
			step = min(step, from-at)
		}
	}
	return 0, step
}

// keyAt is the media key of an offset, and how many bytes of at most n it is the key of.
func (m *memory) keyAt(off, n int64) (key []byte, bytes int64) {
	if m.TCG == nil || !m.TCG.keyed() {
		return m.Key, n
	}
	number, bytes := m.TCG.rangeOf(off, n)
	if number == 0 {
		return m.Key, bytes
	}
	return m.TCG.Ranges[number].Key, bytes
}

// keyed says whether ranges have keys of their own.
func (s *tcgMemory) keyed() bool { return len(s.Ranges) > 1 && len(s.Ranges[1].Key) > 0 }

// keys are all media keys that the drive has now, the drive's own first.
func (m *memory) keys() [][]byte {
	list := [][]byte{m.Key}
	if m.TCG != nil && m.TCG.keyed() {
		for _, r := range m.TCG.Ranges[1:] {
			list = append(list, r.Key)
		}
	}
	return list
}

// barsBytes says whether the host is kept from reading or writing some of the medium's bytes; from the
// MBR table, when they are shadowed by that, it is read (Core 5.7.2.5).
func (m *memory) barsBytes(off, n int64, write bool) (barred bool, shadow []byte) {
	s := m.TCG
	if s == nil || !s.Active || n == 0 {
		return false, nil
	}
	if s.MBREnabled && !s.MBRDone && off < mbrSize {
		if write || off+n > mbrSize {
			return true, nil
		}
		shadow = make([]byte, n)
		if off < int64(len(s.MBR)) {
			copy(shadow, s.MBR[off:])
		}
		return false, shadow
	}
	for n > 0 {
		number, bytes := s.rangeOf(off, n)
		r := &s.Ranges[number]
		if write && r.writeLocked() || !write && r.readLocked() {
			return true, nil
		}
		off, n = off+bytes, n-bytes
	}
	return false, nil
}

// secured says whether the drive has the ATA Security feature set now: a drive whose Locking SP is
// activated has not (TCG SIIS, ATA Security interactions).
func (d *drive) secured() bool {
	return (d.profile.Security || d.profile.latent) && (d.memory.TCG == nil || !d.memory.TCG.Active)
}

// lockedForReading says whether the host may not read some of the medium's bytes.
func (d *drive) lockedForReading(off, n int64) bool {
	barred, _ := d.memory.barsBytes(off, n, false)
	return barred
}
