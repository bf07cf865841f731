package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Medium is what a drive really holds, read below the drive: what a laboratory would see after
// the power went. It is for tests and for looking.
type Medium struct {
	file string
	// Addressable and Hidden are the bytes that the host can address, and those it cannot.
	Addressable, Hidden int64
}

// Medium gives the truth about a drive, by serial number or node.
func (r *Rack) Medium(name string) (*Medium, error) {
	info, err := r.find(name)
	if err != nil {
		return nil, err
	}
	return &Medium{r.image(info.Name), info.Spec.SizeBytes, info.Spec.HiddenBytes}, nil
}

func (r *Rack) makeMedium(info Info) error {
	f, err := os.OpenFile(r.image(info.Name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(info.Spec.SizeBytes+info.Spec.HiddenBytes), f.Close())
}

// ReadAt reads the medium: addressable bytes first, hidden ones after them.
func (m *Medium) ReadAt(p []byte, off int64) (int, error) {
	f, err := os.Open(m.file)
	if err != nil {
		return 0, err
	}
	n, err := f.ReadAt(p, off)
	return n, errors.Join(err, f.Close())
}

// CountCanary counts how often a byte string is on the medium, wherever it lies.
func (m *Medium) CountCanary(canary []byte) (addressable, hidden int64, err error) {
	if len(canary) == 0 {
		return 0, 0, errors.New("count canary: it is empty")
	}
	if addressable, err = m.count(canary, 0, m.Addressable); err != nil {
		return 0, 0, err
	}
	hidden, err = m.count(canary, m.Addressable, m.Hidden)
	return addressable, hidden, err
}

func (m *Medium) count(canary []byte, off, length int64) (int64, error) {
	f, err := os.Open(m.file)
	if err != nil {
		return 0, err
	}
	var n int64
	tail := []byte{}
	buf := make([]byte, 1<<20)
	section := io.NewSectionReader(f, off, length)
	for {
		got, err := section.Read(buf)
		window := append(tail, buf[:got]...)
		n += int64(bytes.Count(window, canary))
		// Keep what could be the beginning of one that ends in the next part, but no whole one.
		keep := min(len(canary)-1, len(window))
		if last := bytes.LastIndex(window, canary); last >= 0 {
			keep = min(keep, len(window)-last-len(canary))
		}
		tail = bytes.Clone(window[len(window)-keep:])
		if errors.Is(err, io.EOF) {
			return n, f.Close()
		}
		if err != nil {
			return 0, errors.Join(err, f.Close())
		}
	}
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
	f, err := os.OpenFile(m.file, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("populate: %w", err)
	}
	unit := bytes.Repeat(canary, (1<<20)/len(canary)+1)
	for at, end := int64(0), m.Addressable+m.Hidden; at < end; {
		n, err := f.WriteAt(unit[:min(int64(len(unit)), end-at)], at)
		if err != nil {
			return errors.Join(fmt.Errorf("populate: %w", err), f.Close())
		}
		at += int64(n)
	}
	return f.Close()
}
