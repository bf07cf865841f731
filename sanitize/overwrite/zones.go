package overwrite

import (
	"fmt"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// Zoned has Fill write zone by zone: every part of a zone from where it begins on, with one write in
// flight, and as many zones at a time as there are lanes. Parts begin at their zone's write pointer. What
// cannot be written ends the zone: no block behind it can be, either.
type Zoned struct {
	Lanes int // zones that are written at a time; 0 is as many as the queue has room for
	// Pointer asks at which offset the next write to the zone of an offset must be, after one failed. An
	// error says that it takes no more.
	Pointer func(off int64) (int64, error)
	// Random says of an offset that its zone takes writes in any order: what cannot be written of it is no
	// obstacle to what is behind. It may be nil.
	Random func(off int64) bool
	// End is called when no more is written of a part; broken says that some of it could not be. Its error
	// says that the part is not to be relied on. It may be nil.
	End func(part Extent, broken bool) error
}

// lane is what one slot has in hand of a zone.
type lane struct {
	part   Extent
	at     int64 // where the next write begins
	size   int64 // of it: smaller after a failure
	broken bool
}

func (l lane) left() int64 { return l.part.End() - l.at }

// nextInZone cuts the next request of a slot's zone, or takes the next zone.
func (p *pump) nextInZone(s *slot, limit int64) Extent {
	if s.lane.left() == 0 {
		part := p.cut(&p.todo, 0, p.Boundary)
		s.lane = lane{part: part, at: part.Offset, size: int64(p.Request)}
	}
	e := Extent{s.lane.at, min(s.lane.size, s.lane.left(), limit)}
	s.lane.at = e.End()
	return e
}

// judgeInZone decides what one ended write says about its zone. Blocks that a failed write may have
// brought are not vouched for: they count as failed, as do those that cannot be reached behind them.
func (p *pump) judgeInZone(s *slot, c blockio.Completion) error {
	e := s.extent
	if c.Err == nil {
		p.Moved.Add(e.Length)
		p.bytes += e.Length
		p.pending.Done = append(p.pending.Done, e)
		if p.Zoned.Random != nil && p.Zoned.Random(e.Offset) {
			s.lane.size = min(2*s.lane.size, int64(p.Request)) // after a bad block
		}
		return p.leaveZone(s)
	}
	if p.Zoned.Random != nil && p.Zoned.Random(e.Offset) {
		return p.skipInZone(s, e, c.Err)
	}
	at, err := p.Zoned.Pointer(e.Offset)
	switch {
	case err != nil && p.Gone(err):
		p.dead = true
		return err
	case err == nil && at == e.Offset && e.Length > int64(p.Block):
		s.lane.at = at
	case err == nil && at > e.Offset && at <= e.End():
		p.fail(Extent{e.Offset, at - e.Offset}, c.Err)
		s.lane.at, s.lane.broken = at, true
	default:
		p.fail(Extent{e.Offset, s.lane.part.End() - e.Offset}, c.Err)
		s.lane.at, s.lane.broken = s.lane.part.End(), true
	}
	s.lane.size = max(int64(p.Block), e.Length/2/int64(p.Block)*int64(p.Block))
	return p.leaveZone(s)
}

// skipInZone halves a request that failed in a zone of any order until it is one block, which is left out.
func (p *pump) skipInZone(s *slot, e Extent, cause error) error {
	if e.Length > int64(p.Block) {
		s.lane.at, s.lane.size = e.Offset, max(int64(p.Block), e.Length/2/int64(p.Block)*int64(p.Block))
		return p.leaveZone(s)
	}
	p.fail(e, cause)
	s.lane.broken = true
	return p.leaveZone(s)
}

// leaveZone ends a part that nothing is left of.
func (p *pump) leaveZone(s *slot) error {
	if s.lane.left() > 0 || p.Zoned.End == nil {
		return nil
	}
	err := p.Zoned.End(s.lane.part, s.lane.broken)
	if err != nil && p.Gone(err) {
		p.dead = true
		return err
	}
	if err != nil {
		p.fail(s.lane.part, err)
	}
	return nil
}

// fail notes blocks that could not be written or read.
func (p *pump) fail(e Extent, cause error) {
	p.pending.Failed = append(p.pending.Failed, e)
	p.pending.Cause = fmt.Errorf("%v %d+%d: %w", p.op, e.Offset, e.Length, cause)
	p.bad += e.Length
}
