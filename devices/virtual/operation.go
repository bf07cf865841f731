package virtual

import (
	"errors"
	"fmt"
	"time"
)

// operation is an erase that a drive carries out by itself, whoever watches.
type operation struct {
	Kind string `json:"kind"`
	// NDAS leaves blocks mapped after a cryptographic erase.
	NDAS bool `json:"ndas,omitempty"`
	// Pattern is what an overwrite or a format leaves in each block, repeated; zeros when there is none.
	Pattern []byte `json:"pattern,omitempty"`
	Passes  int64  `json:"passes,omitempty"`
	// KeepZones: the zones of a hard disk are not reset at the end (ZNR).
	KeepZones bool `json:"keep_zones,omitempty"`
	// Visible limits it to blocks that the host can address; Quick, to nothing on the medium at all.
	Visible bool `json:"visible,omitempty"`
	Quick   bool `json:"quick,omitempty"`
	// Security is an erase that takes the passwords off at its end, and is lost when power fails.
	Security bool `json:"security,omitempty"`
	// Shape is what a format makes of the unit.
	Shape *shape `json:"shape,omitempty"`
	// Format is a Format NVM; like Security, it is lost when power fails.
	Format *formatNVM `json:"format,omitempty"`
	// Verify is a sanitize that ends in media verification; Purge, one that was told to purge.
	Verify bool `json:"verify,omitempty"`
	Purge  bool `json:"purge,omitempty"`
	// Done is how long it ran until Since; it runs on from there while there is power.
	Done   time.Duration `json:"done"`
	Since  time.Time     `json:"since"`
	Paused bool          `json:"paused,omitempty"`
}

// The kinds of operations; the first three are also words of Profile.Sanitize.
const (
	kindCrypto    = "crypto"
	kindBlock     = "block"
	kindOverwrite = "overwrite"
	kindFormat    = "format"
	kindUnmap     = "unmap" // blocks are deallocated, and nothing is erased
)

// duration is how long an operation takes when all is well.
func (o *operation) duration(s Spec) time.Duration {
	d := time.Duration(s.EraseSeconds) * time.Second * time.Duration(max(1, o.Passes))
	if o.Kind == kindCrypto {
		d /= 2
	}
	if o.Quick || o.Kind == kindUnmap {
		d /= 10
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
	if o.Security || o.Format != nil {
		return 0, at >= all // it shows none
	}
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

// start begins an operation of a unit, under the word that the truth keeps of it. change notes what
// its command says. d.mu is held.
func (d *drive) start(n int, word string, o operation, change func(u *unit)) error {
	// What is in the volatile cache is erased with the rest.
	if err := d.writeBack(); err != nil {
		return err
	}
	d.forget()
	return d.recall(func(m *memory) error {
		u := &m.Units[n]
		o.Since = d.rack.now()
		u.Operation = &o
		m.Begun = append(m.Begun, word+atUnit(n))
		change(u)
		return nil
	})
}

// atUnit marks the words of operations of another unit than the first.
func atUnit(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("@%d", n)
}

// begin is a sanitize in a unit's account.
func (u *unit) begin(code uint32, ause bool) {
	u.SOS, u.GDE, u.Code, u.AUSE, u.FailureMode = 2, false, code, ause, false
	u.Purged, u.Cancelled, u.Passes = false, false, 0
}

// goOn brings a drive's operations to where they are now.
func (r *Rack) goOn(info Info, m *memory) error {
	for n := range m.Units {
		if err := r.goOnUnit(info, m, n); err != nil {
			return fmt.Errorf("erase of %s: %w", info.Name, err)
		}
	}
	if err := r.goOnRemoval(info, m); err != nil {
		return fmt.Errorf("data removal of %s: %w", info.Name, err)
	}
	return nil
}

func (r *Rack) goOnUnit(info Info, m *memory, n int) error {
	u, list := &m.Units[n], faults(info.Faults)
	o := u.Operation
	if o == nil || o.Paused {
		return nil
	}
	now := r.now()
	if f, ok := list.find(SanitizePowerCut); ok && o.elapsed(now) >= o.percent(info.Spec, f.Count) {
		o.Done, o.Paused = o.percent(info.Spec, f.Count), true
		m.lose(now)
		return r.dropFaults(info.Name, SanitizePowerCut)
	}
	if f, ok := list.find(SanitizeFail); ok && o.elapsed(now) >= o.percent(info.Spec, f.Count) {
		u.Operation = nil
		switch {
		case o.Kind == kindFormat:
			u.Format = "failed"
		case o.Format != nil:
			return r.erasePart(info, m, n, o, f.Count)
		case !o.Security:
			u.SOS, u.FailureMode = 3, true
		}
		return nil
	}
	if f, ok := list.find(FormatReset); ok && o.Format != nil && o.elapsed(now) >= o.percent(info.Spec, f.Count) {
		u.Operation = nil
		return errors.Join(r.erasePart(info, m, n, o, f.Count), r.dropFaults(info.Name, FormatReset))
	}
	if _, ended := o.progress(info, now); !ended {
		return nil
	}
	u.Operation = nil
	switch {
	case o.Kind == kindFormat:
		u.Format, u.Next = "", nil
		u.Block, u.Blocks = o.Shape.Block, o.Shape.Blocks
		m.setZones(info, false)
	case o.Security:
		m.ATA.User, m.ATA.Enabled, m.ATA.Maximum, m.Power.Locked = nil, false, false, false
		m.setZones(info, false)
	case o.Format != nil:
		for _, nsid := range o.Format.NSIDs {
			m.FLBAS[nsid] = o.Format.FLBAS
		}
	case o.Verify:
		u.Verifying, u.Purged = true, o.Purge
	default:
		u.SOS, u.GDE = 1, true
		u.Purged = u.Purged || o.Purge
		u.Passes = o.Passes
		if !list.has(Lie, LieNothing) {
			m.endZones(info, o)
		}
		m.Power.Restricted = !u.AUSE
	}
	m.Ended++
	return r.erase(info, m, n, o)
}
