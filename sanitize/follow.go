package sanitize

import (
	"fmt"

	"github.com/expunge-dev/expunge/sanitize/journal"
)

// Follow sets a meter to where a journal says the work is, for somebody who watches another
// process. percent is how far the drive itself is with what it does; negative when that is unknown.
func Follow(m *Meter, records []journal.Record, percent int) error {
	s, err := resume(records)
	if err != nil || s.opened == nil {
		return err
	}
	d := s.opened.Drive
	set := func(stage string, done, total int64) {
		if m.Read().Stage != stage {
			m.begin(stage, total, 0)
		}
		m.set(done)
	}
	next := s.next()
	switch {
	case s.verify != nil:
		want, _, err := s.toVerify()
		if err != nil {
			return err
		}
		set("verify", s.verify.done.Bytes()+s.unread.Bytes(), want.Bytes())
	case len(d.Operations) > 0 && next < len(d.Operations) && s.operations[next].sends > 0:
		op := s.operations[next]
		done := int64(0)
		if op.last != nil && op.last.phase == running {
			done = int64(op.last.progress)
		}
		if percent >= 0 {
			done = int64(percent) * wholeProgress / 100
		}
		if stage := string(d.Operations[next].Technique); m.Read().Stage != stage {
			m.beginOwn(stage)
		}
		m.set(done)
	case s.markers != nil:
		set("markers", 0, s.markers.all.Bytes())
	case len(s.passes) > 0:
		p := s.passes[len(s.passes)-1]
		set(fmt.Sprintf("pass %d/%d", len(s.passes), len(d.Passes)), p.done.Bytes()+p.failed.Bytes(), d.SizeBytes)
	}
	return nil
}

// GoesOn says whether a drive may be erasing itself by order of a job, as its journal has it: the command was sent, and has not ended
// as far as anybody looked.
func GoesOn(records []journal.Record) (bool, error) {
	s, err := resume(records)
	if err != nil || s.opened == nil || s.finished != nil {
		return false, err
	}
	n := s.next()
	if n == len(s.operations) {
		return false, nil
	}
	op := &s.operations[n]
	switch {
	case op.sends == 0, op.released:
		return false, nil
	case s.failedByUs(n), op.last != nil && op.last.mine && op.last.phase == verifying:
		return false, nil
	}
	return !op.taken || !s.opened.Drive.Operations[n].Kind.completesWhenDone(), nil
}
