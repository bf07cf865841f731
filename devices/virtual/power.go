package virtual

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// lose is what happens in a drive when its power goes, at a time.
func (m *memory) lose(now time.Time) {
	for u := range m.Units {
		if v := &m.Units[u]; v.Verifying {
			v.Cancelled = true
			v.leaveVerification(now)
		}
		if o := m.Units[u].Operation; o != nil && !o.Paused {
			o.Done, o.Paused = o.elapsed(now), true
		}
	}
	m.TCG.loseRemoval()
	m.Unpowered = true
}

// wake is a power-on: what the drive did by itself it goes on with, but for formats and security
// erases, which do not survive; passwords lock, and freezes end.
func (r *Rack) wake(info Info, m *memory) error {
	m.Power = powerState{Locked: m.ATA.Enabled}
	if m.TCG != nil {
		m.Power.TCG = &tcgPower{}
		m.TCG.reset(resetPower)
	}
	m.Unpowered, m.Attention = false, true
	m.PowerOns++
	for n := range m.Units {
		u := &m.Units[n]
		u.Next = nil
		if m.ATA.Max > 0 {
			u.Blocks = m.ATA.Max
		}
		o := u.Operation
		if o == nil || !o.Paused {
			continue
		}
		o.Paused, o.Since = false, r.now()
		if o.Kind == kindFormat || o.Security || o.Format != nil {
			u.Operation = nil
			if o.Kind == kindFormat {
				u.Format = "interrupted"
			}
			if err := r.erasePart(info, m, n, o, int64(o.Done*100/o.duration(info.Spec))); err != nil {
				return err
			}
		}
	}
	return r.rescan(info, m)
}

// PowerCycle takes a drive's power away, with all that it does not keep, and gives it back. Whoever
// has the drive open has lost it.
func (r *Rack) PowerCycle(name string) error {
	info, err := r.find(name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := r.live[info.Name]; d != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.off = true
		d.forget()
	}
	_, err = r.remember(info.Name, nil, func(info Info, m *memory) error {
		m.lose(r.now())
		return r.wake(info, m)
	})
	if err != nil {
		return fmt.Errorf("power cycle of %s: %w", info.Name, err)
	}
	return nil
}

// unitOf is the number of a space's account.
func (m *memory) unitOf(s Space) int { return min(s.LUN, len(m.Units)-1) }

// sizeOf is what a kernel makes of a space that it reads the size of: nothing, where it does not
// take blocks of such a length.
func (m *memory) sizeOf(s Space) (bytes int64, block int) {
	if s.NSID != 0 {
		block := m.blockOf(s)
		return s.SizeBytes / int64(block) * int64(block), block
	}
	u := m.Units[m.unitOf(s)]
	if !slices.Contains([]int{512, 1024, 2048, 4096}, u.Block) {
		return 0, 512
	}
	return u.Blocks * int64(u.Block), u.Block
}

// rescan has the rack's kernel read all sizes of a drive.
func (r *Rack) rescan(info Info, m *memory) error {
	var err error
	for _, s := range info.nodes() {
		bytes, block := m.sizeOf(s)
		for name, value := range map[string]int64{"size": bytes / 512, "queue/logical_block_size": int64(block), "queue/physical_block_size": int64(max(block, info.Spec.PhysicalBlock))} {
			file := info.dir(s) + "/" + name
			if was, readErr := readText(filepath.Join(r.dir, file)); readErr != nil || was != fmt.Sprint(value) {
				err = errors.Join(err, r.write(map[string]string{file: fmt.Sprint(value)}))
			}
		}
	}
	return err
}

// sizeNow is what the rack's kernel holds of a node, which may not be what the drive says by now.
func (r *Rack) sizeNow(info Info, s Space) (bytes int64, block int, err error) {
	for name, at := range map[string]any{"size": &bytes, "queue/logical_block_size": &block} {
		data, readErr := readText(filepath.Join(r.dir, info.dir(s), name))
		if readErr == nil {
			_, readErr = fmt.Sscan(data, at)
		}
		if readErr != nil {
			err = errors.Join(err, fmt.Errorf("%s of %s: %w", name, s.Node, readErr))
		}
	}
	return bytes * 512, block, err
}
