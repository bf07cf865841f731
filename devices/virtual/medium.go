package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Medium is what a drive really holds, read below the drive: what a laboratory would see after
// the power went, with every key that the drive still has. It is for tests and for looking.
type Medium struct {
	image  string
	moved  []string // blocks that were unmapped and not erased
	memory *memory
	// Addressable and Hidden are the bytes that the host can address, and those it cannot.
	Addressable, Hidden int64
}

// Medium gives the truth about a drive, by serial number or node, as it is now.
func (r *Rack) Medium(name string) (*Medium, error) {
	info, err := r.find(name)
	if err != nil {
		return nil, err
	}
	m, err := r.remember(info.Name, nil, nil)
	if err != nil {
		return nil, err
	}
	moved, err := r.moved(info.Name)
	return &Medium{r.image(info.Name), moved, m, info.addressable(), info.Spec.HiddenBytes}, err
}

func (r *Rack) makeMedium(info Info, p Profile) error {
	f, err := os.OpenFile(r.image(info.Name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(info.addressable()+info.Spec.HiddenBytes), f.Close(), r.writeMemory(info.Name, newMemory(info, p)))
}

// Begun lists the erases that the drive ever began, a word for each: NVMe sanitize "84:" and CDW10,
// format "80:" and CDW10, with "@" and the NSID when it is not that of all; ATA
// sanitize "b4:" and the feature, security erase "f4:0" or, enhanced, "f4:1", SCSI sanitize "48:" and
// the service action, format "04"; "@1" follows for another logical unit than the first.
func (m *Medium) Begun() []string { return m.memory.Begun }

// Locked says whether a password of ATA Security is set: the drive is locked after a power cycle.
func (m *Medium) Locked() bool { return m.memory.ATA.Enabled }

// Strays is how many NVMe commands came to a node that is no NVMe drive's.
func (m *Medium) Strays() int { return m.memory.Strays }

// Key is the media key that the drive has now, of what is in no locking range of its own; nil when it
// does not encrypt.
func (m *Medium) Key() []byte { return m.memory.Key }

// Blank says whether every cell of the drive is in the erased state, whatever the keys.
func (m *Medium) Blank() (bool, error) {
	if len(m.moved) > 0 {
		return false, nil
	}
	n, err := scan(m.image, 0, m.Addressable+m.Hidden, nil, func(p []byte) int64 {
		if zero(p) {
			return 0
		}
		return 1
	}, 1)
	return n == 0, err
}

// ReadAt reads the medium deciphered with the drive's key: addressable bytes first, hidden ones
// after them.
func (m *Medium) ReadAt(p []byte, off int64) (int, error) {
	f, err := os.Open(m.image)
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(p, off)
	if off%512 == 0 {
		m.memory.decipher(p[:n], off)
	}
	return n, errors.Join(err, f.Close())
}

// CountCanary counts how often a byte string can be had from the drive, wherever it lies: in
// blocks that the host can address, and in those it cannot; by any media key that the drive still has.
func (m *Medium) CountCanary(canary []byte) (addressable, hidden int64, err error) {
	for n, key := range m.memory.keys() {
		a, h, err := m.CountUnder(key, canary)
		if err != nil || len(canary) == 0 || n > 0 && len(key) == 0 {
			return addressable, hidden, err
		}
		addressable, hidden = addressable+a, hidden+h
	}
	return addressable, hidden, nil
}

// CountUnder does it with another media key than the drive has now: with one that was destroyed
// it tells what was enciphered only.
func (m *Medium) CountUnder(key, canary []byte) (addressable, hidden int64, err error) {
	if len(canary) == 0 {
		return 0, 0, errors.New("count canary: it is empty")
	}
	under := &memory{Key: key}
	count := func(p []byte) int64 { return int64(bytes.Count(p, canary)) }
	if addressable, err = scan(m.image, 0, m.Addressable, under, count, len(canary)); err != nil {
		return 0, 0, err
	}
	if hidden, err = scan(m.image, m.Addressable, m.Hidden, under, count, len(canary)); err != nil {
		return 0, 0, err
	}
	for _, f := range m.moved {
		n, err := scan(f, 0, m.Addressable, under, count, len(canary))
		if err != nil {
			return 0, 0, err
		}
		hidden += n
	}
	return addressable, hidden, nil
}

// scan sums what count finds in windows of a file that overlap by width-1 bytes, so that whatever
// is width bytes long is seen whole, and nothing twice.
func scan(file string, off, length int64, under *memory, count func([]byte) int64, width int) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // read-only
	var n int64
	var tail []byte
	buf := make([]byte, 1<<20)
	for at := off; at < off+length; {
		p := buf[:min(int64(len(buf)), off+length-at)]
		got, err := f.ReadAt(p, at)
		if err != nil && !errors.Is(err, io.EOF) || got == 0 {
			return 0, errors.Join(err, io.ErrUnexpectedEOF)
		}
		p = p[:got]
		if under != nil && !zero(p) {
			under.decipher(p, at)
		}
		n += count(append(tail[:len(tail):len(tail)], p...)) - count(tail)
		at += int64(got)
		tail = bytes.Clone(p[max(0, len(p)-width+1):])
	}
	return n, nil
}

// Populate fills all of a drive, hidden blocks too, with a byte string, as if customer data had
// been there.
func (r *Rack) Populate(name string, canary []byte) error {
	if len(canary) == 0 {
		return errors.New("populate: nothing to fill the drive with")
	}
	m, err := r.Medium(name)
	if err != nil {
		return err
	}
	info, err := r.find(name)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.image, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("populate: %w", err)
	}
	unit := bytes.Repeat(canary, (1<<20)/len(canary)+2)
	buf := make([]byte, 1<<20)
	for at, end := int64(0), m.Addressable+m.Hidden; at < end; {
		p := buf[:min(int64(len(buf)), end-at)]
		copy(p, unit[at%int64(len(canary)):])
		m.memory.crypt(p, at)
		n, err := f.WriteAt(p, at)
		if err != nil {
			return errors.Join(fmt.Errorf("populate: %w", err), f.Close())
		}
		at += int64(n)
	}
	return errors.Join(skipGaps(f, info.Spec), f.Close(), r.fillZones(name))
}
