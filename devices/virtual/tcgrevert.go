package virtual

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// activateSP is Activate (Opal SSC 5.1.1): the Locking SP becomes Manufactured. What is on the medium
// stays what it is.
func (t *tper) activateSP(s *tcgSession, c call) int {
	switch {
	case s.SP != spAdmin || c.object != spLocking || !s.is(authSID):
		return statusNotAuthorized
	case len(c.args) != 0:
		return statusInvalid // no Single User Mode, and one data store
	case t.s.Active:
		return statusSuccess
	case t.m.ATA.Enabled:
		return statusFail // of two ways to lock, one (SIIS, ATA Security interactions)
	}
	t.s.activate(t.d.profile)
	return statusSuccess
}

// revert is Revert of an SP from the Admin SP, and RevertSP of the SP that the session is with (Opal
// SSC 5.1.2 and 5.1.3). A Locking SP that is Manufactured-Inactive has nothing to revert, and its user
// data stays.
func (t *tper) revert(s *tcgSession, c call) (status int, err error) {
	owner, holder := s.SP == spAdmin && s.is(authSID), s.SP == spAdmin && s.is(authPSID)
	whole := c.object == spAdmin && c.method == methodRevert || c.object == thisSP && c.method == methodRevertSP && t.enterprise()
	lock := c.object == spLocking && c.method == methodRevert && !t.enterprise()
	self := c.object == thisSP && c.method == methodRevertSP && s.admin()
	keep := false
	if v, ok := optional(c.args, keepGlobalRangeKey, "KeepGlobalRangeKey"); ok {
		if v.kind != isNumber || v.number > 1 || !self && !t.enterprise() || !t.s.keyed() {
			return statusInvalid, nil
		}
		keep = v.number == 1
	}
	switch {
	case whole && (owner || holder), lock && owner, self:
	default:
		return statusNotAuthorized, nil
	}
	if g := &t.s.Ranges[0]; keep && g.readLocked() && g.writeLocked() {
		return statusFail, nil // nobody could read what is kept
	}
	word := map[bool]string{true: "tcg:revert", false: "tcg:revertsp"}[c.method == methodRevert]
	t.m.Begun = append(t.m.Begun, word)
	if t.d.faults().has(Lie, LieIgnored) {
		return statusSuccess, nil
	}
	if t.s.Active {
		if err := t.removeAll(keep); err != nil {
			return 0, err
		}
		t.s.forget()
	}
	t.abort(t.lockingSP())
	if whole {
		t.s.factory(t.d.profile, false)
		t.abort(spAdmin)
	}
	return statusSuccess, nil
}

// removeAll is what a revert does to user data: every range has a new key, but for the global one when
// it is to be kept; and the mechanism that is active removes what is not encrypted, or is to be
// removed so, too.
func (t *tper) removeAll(keep bool) error {
	if t.s.keyed() {
		var list []int
		for n := 1; n < len(t.s.Ranges); n++ {
			list = append(list, n)
		}
		if !keep {
			list = append(list, 0)
		}
		if err := t.rekey(list); err != nil {
			return err
		}
	} else if err := t.cut(1, 1); err != nil {
		return err
	}
	if t.s.Interrupted = false; t.s.Mechanism == removeCrypto || keep {
		return nil
	}
	// Addressable blocks are gone at once; those that the host cannot address go in the background.
	if err := t.punchVisible(); err != nil {
		return err
	}
	t.s.Removal = &removal{Mechanism: t.s.Mechanism, Since: t.now}
	return nil
}

func (t *tper) punchVisible() error {
	list := t.d.faults()
	if list.has(Lie, LieNothing) || list.has(Lie, LieKeepKey) {
		return nil
	}
	return t.onMedium(func(image *os.File) error {
		a := area{0, t.s.Addressable}
		if list.has(Lie, LieDeallocate) {
			return t.d.rack.deallocate(image, t.d.info, t.m, []area{a})
		}
		return fill(image, t.m, a, nil, t.s.Block)
	})
}

// onMedium opens the medium, and keeps what the drive leaves out of erases.
func (t *tper) onMedium(do func(image *os.File) error) error {
	r, info := t.d.rack, t.d.info
	image, err := os.OpenFile(r.image(info.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	kept, err := r.keepSkipped(image, info, t.m)
	if err == nil {
		err = do(image)
	}
	if err == nil {
		err = r.putBack(image, info, t.m, kept)
	}
	return errors.Join(err, image.Close())
}

// cut is the fault of a power failure when n of all keys have been changed. What has been done stays;
// the SPs are as they were.
func (t *tper) cut(n, all int) error {
	f, ok := t.d.faults().find(RevertPowerCut)
	if !ok || int64(n*100) < f.Count*int64(all) {
		return nil
	}
	t.s.Interrupted = true
	t.m.lose(t.now)
	if err := t.d.rack.dropFaults(t.d.info.Name, RevertPowerCut); err != nil {
		return err
	}
	return errCut
}

// errCut ends a method whose power has gone.
var errCut = errors.New("power failed")

// rekey gives ranges new media keys, or does what a lying drive does instead.
func (t *tper) rekey(ranges []int) error {
	list := t.d.faults()
	return t.onMedium(func(image *os.File) error {
		switch {
		case list.has(Lie, LieNothing), list.has(Lie, LieKeepKey):
			return nil
		case list.has(Lie, LieHidden):
			return t.d.rack.noise(image, t.s.areas(ranges)...)
		case list.has(Lie, LieDeallocate):
			return t.d.rack.deallocate(image, t.d.info, t.m, t.s.areas(ranges))
		}
		for n, number := range ranges {
			if err := t.cut(n, len(ranges)); err != nil {
				return err
			}
			if number == 0 {
				t.m.Key = newKey()
			} else {
				t.s.Ranges[number].Key = newKey()
			}
		}
		return t.cut(len(ranges), len(ranges))
	})
}

// areas is where ranges have their addressable blocks.
func (s *tcgMemory) areas(ranges []int) []area {
	in := map[int]bool{}
	for _, n := range ranges {
		in[n] = true
	}
	var list []area
	for off := int64(0); off < s.Addressable; {
		number, n := s.rangeOf(off, s.Addressable-off)
		if in[number] {
			list = append(list, area{off, n})
		}
		off += n
	}
	return list
}

// renewKeys changes every media key: those of ranges, too.
func (m *memory) renewKeys() {
	m.Key = newKey()
	if m.TCG == nil || !m.TCG.keyed() {
		return
	}
	for n := 1; n < len(m.TCG.Ranges); n++ {
		m.TCG.Ranges[n].Key = newKey()
	}
}

// genKey is GenKey of a range's media key (Core 5.3.3.16).
func (t *tper) genKey(s *tcgSession, c call) (int, error) {
	n := t.keyNumber(c.object)
	switch {
	case s.SP == spAdmin || n < 0 || !t.master(s, n):
		return statusNotAuthorized, nil
	case len(c.args) != 0:
		return statusInvalid, nil
	}
	t.m.Begun = append(t.m.Begun, fmt.Sprintf("tcg:genkey:%d", n))
	if t.d.faults().has(Lie, LieIgnored) {
		return statusSuccess, nil
	}
	return statusSuccess, t.rekey([]int{n})
}

// eraseBand is Erase of Enterprise (Enterprise SSC 1.01, 5.2.4): a new key, no locks, and the band
// master's PIN as it was first.
func (t *tper) eraseBand(s *tcgSession, c call) (int, error) {
	n := t.rangeNumber(c.object)
	if !t.enterprise() || s.SP != spEnterprise || n < 0 || !s.is(authEraseMaster) {
		return statusNotAuthorized, nil
	}
	t.m.Begun = append(t.m.Begun, fmt.Sprintf("tcg:erase:%d", n))
	if t.d.faults().has(Lie, LieIgnored) {
		return statusSuccess, nil
	}
	if err := t.rekey([]int{n}); err != nil {
		return 0, err
	}
	r := &t.s.Ranges[n]
	r.ReadEnabled, r.WriteEnabled, r.ReadLocked, r.WriteLocked, r.OnReset = false, false, false, false, []int{resetPower}
	master := t.s.Locking[authBandMaster0+uint64(n)]
	master.PIN, master.Tries = []byte(t.s.MSID), 0
	return statusSuccess, nil
}

// duration is how long a data removal goes on.
func (o *removal) duration(s Spec) time.Duration {
	d := time.Duration(s.EraseSeconds) * time.Second
	switch o.Mechanism {
	case removeCrypto:
		return 2 * time.Second
	case removeOverwrite:
		d *= 4
	}
	return max(d, time.Second)
}

// loseRemoval is what a failing power does to a data removal: it is not gone on with.
func (s *tcgMemory) loseRemoval() {
	if s != nil && s.Removal != nil {
		s.Removal, s.Interrupted = nil, true
	}
}

// goOnRemoval brings a data removal to where it is now; at its end nothing is left in blocks that the
// host cannot address.
func (r *Rack) goOnRemoval(info Info, m *memory) error {
	if m.TCG == nil || m.TCG.Removal == nil || m.Unpowered {
		return nil
	}
	o, list := m.TCG.Removal, faults(info.Faults)
	elapsed, all := r.now().Sub(o.Since), o.duration(info.Spec)
	if f, ok := list.find(SanitizePowerCut); ok && elapsed >= all/100*time.Duration(f.Count) {
		m.lose(r.now())
		return r.dropFaults(info.Name, SanitizePowerCut)
	}
	if f, ok := list.find(SanitizeFail); ok && elapsed >= all/100*time.Duration(f.Count) {
		m.TCG.Removal, m.TCG.Interrupted = nil, true
		return nil
	}
	if elapsed < all {
		return nil
	}
	m.TCG.Removal, m.TCG.Interrupted = nil, false
	if list.has(Lie, LieNothing) || list.has(Lie, LieKeepKey) || list.has(Lie, LieHidden) || list.has(Lie, LieDeallocate) {
		return nil
	}
	image, err := os.OpenFile(r.image(info.Name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(fill(image, m, area{m.TCG.Addressable, m.TCG.Hidden}, nil, 512), r.dropMoved(info.Name), image.Close())
}
