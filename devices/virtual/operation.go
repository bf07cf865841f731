package virtual

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// operation is a sanitize that a drive carries out by itself, whoever watches.
type operation struct {
	Crypto bool   `json:"crypto"` // else block erase
	NDAS   bool   `json:"ndas"`
	AUSE   bool   `json:"ause"`
	CDW10  uint32 `json:"cdw10"`
	// Done is how long it ran until Since; it runs on from there while there is power.
	Done   time.Duration `json:"done"`
	Since  time.Time     `json:"since"`
	Paused bool          `json:"paused,omitempty"`
}

// duration is how long an operation takes when all is well.
func (o *operation) duration(s Spec) time.Duration {
	d := time.Duration(s.EraseSeconds) * time.Second
	if o.Crypto {
		d /= 2
	}
	return max(d, time.Millisecond)
}

func (o *operation) elapsed(now time.Time) time.Duration {
	if o.Paused {
		return o.Done
	}
	return o.Done + max(0, now.Sub(o.Since))
}

// percent is a share of the operation's proper time.
func (o *operation) percent(s Spec, n int64) time.Duration {
	return o.duration(s) / 100 * time.Duration(n)
}

// progress is what the drive shows, in 65536ths, and whether the operation has come to its end.
func (o *operation) progress(info Info, now time.Time) (shown uint16, ended bool) {
	all, at := o.duration(info.Spec), o.elapsed(now)
	if f, ok := faults(info.Faults).find(ProgressStuck); ok && at > all/2 {
		at = max(all/2, at-time.Duration(f.Count)*time.Second)
	}
	if f, ok := faults(info.Faults).find(ProgressBackward); ok && at > o.percent(info.Spec, f.Count) {
		at -= o.percent(info.Spec, f.Count) / 2
	}
	if at >= all {
		return 0xffff, true
	}
	return uint16(float64(at) / float64(all) * 65536), false
}

// goOn brings a drive's operation to where it is now.
func (r *Rack) goOn(info Info, m *memory) error {
	o, list := m.Operation, faults(info.Faults)
	if o == nil || o.Paused {
		return nil
	}
	now := r.now()
	if f, ok := list.find(SanitizePowerCut); ok && o.elapsed(now) >= o.percent(info.Spec, f.Count) {
		o.Done, o.Paused = o.percent(info.Spec, f.Count), true
		return r.dropFaults(info.Name, SanitizePowerCut)
	}
	if f, ok := list.find(SanitizeFail); ok && o.elapsed(now) >= o.percent(info.Spec, f.Count) {
		m.Sanitize.SOS, m.Sanitize.FailureMode, m.Operation = 3, true, nil
		return nil
	}
	if _, ended := o.progress(info, now); !ended {
		return nil
	}
	m.Sanitize.SOS, m.Sanitize.GDE, m.Operation = 1, true, nil
	m.Ended++
	if err := r.erase(info, m, o); err != nil {
		return fmt.Errorf("sanitize of %s: %w", info.Name, err)
	}
	return nil
}

// erase does to the media what the operation does, or what a lying drive does instead.
func (r *Rack) erase(info Info, m *memory, o *operation) error {
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
	switch {
	case list.has(Lie, LieNothing):
		return nil
	case list.has(Lie, LieDeallocate):
		return r.deallocate(image, info, m)
	case list.has(Lie, LieHidden) && o.Crypto:
		// Addressable blocks are overwritten with noise, and the key stays.
		err = r.noise(image, info)
	case list.has(Lie, LieHidden):
		err = r.eraseAddressable(image, info)
	case o.Crypto:
		m.Key = newKey()
		if !o.NDAS {
			err = r.deallocate(image, info, m)
		}
	default:
		err = errors.Join(image.Truncate(0), image.Truncate(info.addressable()+info.Spec.HiddenBytes))
		var moved []string
		if err == nil {
			moved, err = r.moved(info.Name)
		}
		for _, f := range moved {
			err = errors.Join(err, os.Remove(f))
		}
	}
	if err != nil {
		return err
	}
	return r.putBack(image, info, m, kept)
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
		if _, err := image.ReadAt(s.data, s.off); err != nil {
			return nil, err
		}
		m.decipher(s.data, s.off)
		kept = append(kept, s)
	}
	return kept, nil
}

func (r *Rack) putBack(image *os.File, info Info, m *memory, kept []skipped) error {
	for _, s := range kept {
		m.crypt(s.data, s.off)
		if _, err := image.WriteAt(s.data, s.off); err != nil {
			return err
		}
	}
	return nil
}

// deallocate unmaps all addressable blocks: they read as zeros, and what was in them lies in
// blocks that the host cannot address any more.
func (r *Rack) deallocate(image *os.File, info Info, m *memory) (err error) {
	name := filepath.Join(r.dir, "media", fmt.Sprintf("%s.moved-%d", info.Name, m.Ended))
	to, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := copyRange(to, image, info.addressable()); err != nil {
		return err
	}
	return r.eraseAddressable(image, info)
}

// copyRange copies the first n bytes and leaves holes where they are zero.
func copyRange(to, from *os.File, n int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < n; off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), n-off)]
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
	return to.Truncate(n)
}

func (r *Rack) eraseAddressable(image *os.File, info Info) error {
	hidden := make([]byte, info.Spec.HiddenBytes)
	if _, err := image.ReadAt(hidden, info.addressable()); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := errors.Join(image.Truncate(0), image.Truncate(info.addressable()+info.Spec.HiddenBytes)); err != nil {
		return err
	}
	_, err := image.WriteAt(hidden, info.addressable())
	return err
}

func (r *Rack) noise(image *os.File, info Info) error {
	m := memory{Key: newKey()}
	buf := make([]byte, 1<<20)
	for off := int64(0); off < info.addressable(); off += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), info.addressable()-off)]
		m.crypt(p, off)
		if _, err := image.WriteAt(p, off); err != nil {
			return err
		}
		clear(p)
	}
	return nil
}

// moved lists the files of blocks that were unmapped.
func (r *Rack) moved(name string) ([]string, error) {
	list, err := filepath.Glob(filepath.Join(r.dir, "media", name+".moved-*"))
	slices.Sort(list)
	return list, err
}

// addressable is the size of all spaces.
func (i Info) addressable() int64 {
	var n int64
	for _, s := range i.Spaces {
		n += s.SizeBytes
	}
	return n
}
