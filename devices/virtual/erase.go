package virtual

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// erase does to the media what an operation of a unit does, or what a lying drive does instead.
func (r *Rack) erase(info Info, m *memory, unit int, o *operation) error {
	list := faults(info.Faults)
	image, err := os.OpenFile(r.image(info.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = image.Close() }() // what was written is checked by its own errors
	kept, err := r.keepSkipped(image, info, m)
	if err != nil {
		return err
	}
	block := int64(m.Units[unit].Block)
	visible, hidden := info.reach(len(m.Units), unit, o)
	if o.Quick || list.has(Lie, LieNothing) {
		return nil
	}
	if err := r.markErased(info, visible[0], o); err != nil {
		return err
	}
	switch {
	case list.has(Lie, LieDeallocate), o.Kind == kindUnmap:
		return r.deallocate(image, info, m, visible)
	case list.has(Lie, LieHidden) && o.Kind == kindCrypto:
		// Addressable blocks are overwritten with noise, and the key stays.
		err = r.noise(image, visible...)
	case o.Visible, list.has(Lie, LieHidden):
		err = fillAll(image, m, visible, o.Pattern, block)
	case o.Kind == kindCrypto && list.has(Lie, LieKeepKey):
		return nil
	case o.Kind == kindCrypto:
		if err = r.renewKey(image, info, m, o, append(visible, hidden...)); err == nil && !o.NDAS && !o.Verify && !o.KeepZones {
			err = r.deallocate(image, info, m, visible)
		}
	default:
		err = errors.Join(fillAll(image, m, visible, o.Pattern, block), fillAll(image, m, hidden, o.Pattern, block), r.eraseMoved(info, m, o, visible))
	}
	if err != nil {
		return err
	}
	return r.putBack(image, info, m, kept)
}

// erasePart does a share, in percent, of what an operation does with the blocks of a unit.
func (r *Rack) erasePart(info Info, m *memory, unit int, o *operation, percent int64) error {
	if o.Quick || o.Format != nil && o.Kind != kindBlock || faults(info.Faults).has(Lie, LieNothing) {
		return nil
	}
	image, err := os.OpenFile(r.image(info.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	visible, _ := info.reach(len(m.Units), unit, o)
	for n := range visible {
		visible[n].size = visible[n].size / 100 * percent / 4096 * 4096
	}
	return errors.Join(fillAll(image, m, visible, o.Pattern, int64(m.Units[unit].Block)), image.Close())
}

// skipped is what a drive left out of an erase, in the clear.
type skipped struct {
	off  int64
	data []byte
}

func (r *Rack) keepSkipped(image *os.File, info Info, m *memory) ([]skipped, error) {
	var kept []skipped
	for _, f := range info.Faults {
		if f.Kind != SkipErase {
			continue
		}
		block := int64(info.Spec.LogicalBlock)
		s := skipped{f.Block * block, make([]byte, f.Count*block)}
		if err := m.readMedium(image, s.data, s.off); err != nil {
			return nil, err
		}
		kept = append(kept, s)
	}
	return kept, nil
}

func (r *Rack) putBack(image *os.File, info Info, m *memory, kept []skipped) error {
	for _, s := range kept {
		if err := m.writeMedium(image, s.data, s.off); err != nil {
			return err
		}
		if info.Spec.WriteAfterErase == 0 {
			continue
		}
		// It reads there what it always did.
		if err := r.mark(info, s.off, int64(len(s.data)), 0); err != nil {
			return err
		}
	}
	return nil
}

// deallocate unmaps addressable blocks: they read as zeros, and what was in them lies in blocks that
// the host cannot address any more.
func (r *Rack) deallocate(image *os.File, info Info, m *memory, areas []area) (err error) {
	name := filepath.Join(r.dir, "media", fmt.Sprintf("%s.moved-%d", info.Name, m.Ended))
	to, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := to.Truncate(info.addressable()); err != nil {
		return err
	}
	for _, a := range areas {
		if err := errors.Join(copyRange(to, image, a), fill(image, m, a, nil, 512)); err != nil {
			return err
		}
	}
	return nil
}

// copyRange copies a range and leaves holes where it is zero.
func copyRange(to, from *os.File, a area) error {
	buf := make([]byte, 1<<20)
	for off, end := a.off, a.off+a.size; off < end; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), end-off)]
		if _, err := from.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if zero(p) {
			continue
		}
		if _, err := to.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}

// fill writes a pattern, repeated within each block, to a range; without one the range is erased.
func fill(image *os.File, m *memory, a area, pattern []byte, block int64) error {
	if zero(pattern) {
		return punch(image, a)
	}
	one := make([]byte, block)
	for n := 0; n < len(one); {
		n += copy(one[n:], pattern)
	}
	buf := make([]byte, 0, 512*block)
	for range 512 {
		buf = append(buf, one...)
	}
	for off, end := a.off, a.off+a.size; off < end; off += int64(len(buf)) {
		if err := m.writeMedium(image, buf[:min(int64(len(buf)), end-off)], off); err != nil {
			return err
		}
	}
	return nil
}

func fillAll(image *os.File, m *memory, areas []area, pattern []byte, block int64) error {
	for _, a := range areas {
		if err := fill(image, m, a, pattern, block); err != nil {
			return err
		}
	}
	return nil
}

// punch makes a range read as zeros below any key, and writes only where it does not yet.
func punch(image *os.File, a area) error {
	st, err := image.Stat()
	if err != nil {
		return err
	}
	if rest := st.Size() - a.off - a.size; a.off == 0 && rest >= 0 && rest <= a.size {
		return punchFront(image, st.Size(), rest)
	}
	buf, zeros := make([]byte, 1<<20), make([]byte, 1<<20)
	for off, end := a.off, a.off+a.size; off < end; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), end-off)]
		if _, err := image.ReadAt(p, off); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if zero(p) {
			continue
		}
		if _, err := image.WriteAt(zeros[:len(p)], off); err != nil {
			return err
		}
	}
	return nil
}

// punchFront erases all but the last bytes at once: large drives are sparse files.
func punchFront(image *os.File, size, rest int64) error {
	if size == rest {
		return nil
	}
	if done, err := punchHole(image, size-rest); done || err != nil {
		return err
	}
	kept := make([]byte, rest)
	if _, err := image.ReadAt(kept, size-rest); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := errors.Join(image.Truncate(0), image.Truncate(size)); err != nil || zero(kept) {
		return err
	}
	_, err := image.WriteAt(kept, size-rest)
	return err
}

func (r *Rack) noise(image *os.File, areas ...area) error {
	m := memory{Key: newKey()}
	buf := make([]byte, 1<<20)
	for _, a := range areas {
		for off, end := a.off, a.off+a.size; off < end; off += int64(len(buf)) {
			p := buf[:min(int64(len(buf)), end-off)]
			m.crypt(p, off)
			if _, err := image.WriteAt(p, off); err != nil {
				return err
			}
			clear(p)
		}
	}
	return nil
}

// moved lists the files of blocks that were unmapped.
func (r *Rack) moved(name string) ([]string, error) {
	list, err := filepath.Glob(filepath.Join(r.dir, "media", name+".moved-*"))
	slices.Sort(list)
	return list, err
}

func (r *Rack) dropMoved(name string) error {
	list, err := r.moved(name)
	for _, f := range list {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}
