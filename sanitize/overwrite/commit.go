package overwrite

import (
	"context"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// What was done is told only when it is on stable media: a commit follows a flush, and says what had
// ended when the flush began.

func (pr Progress) empty() bool {
	return len(pr.Done) == 0 && len(pr.Failed) == 0 && len(pr.Mismatch) == 0
}

// due says whether what is pending shall be committed now.
func (p *pump) due() bool {
	if p.flushing || p.pending.empty() {
		return false
	}
	over := len(p.todo) == 0 && len(p.retry) == 0 && len(p.suspect) == 0 && p.inFlight == 0
	paused := p.Pace != nil && p.most == 0 && p.inFlight == 0
	waited := p.Now().Sub(p.since)
	return over || paused || p.bytes >= p.CommitBytes || waited >= p.CommitEvery || waited < 0
}

// beginCommit makes the pending extents stable, without stopping the stream: a flush covers
// what had completed when it was submitted.
func (p *pump) beginCommit() error {
	p.covered, p.pending, p.bytes, p.since = p.pending, Progress{}, 0, p.Now()
	if p.op != blockio.Write || len(p.covered.Done) == 0 {
		return p.commit()
	}
	if err := p.q.Submit(blockio.Request{Op: blockio.Flush, Tag: flushTag}); err != nil {
		p.dead = true
		return fmt.Errorf("flush: %w", err) // nothing was asked of the drive
	}
	p.flushing = true
	p.inFlight++
	return nil
}

func (p *pump) endFlush(err error) error {
	p.flushing = false
	switch {
	case err == nil && p.constant != nil && !p.constant.intact():
		p.dead = true
		return fmt.Errorf("%v: %w", p.op, errAltered)
	case err == nil && p.Zoned == nil && p.Resets != nil && p.Resets() != p.resets:
		return p.writeAgain()
	case err == nil:
		return p.commit()
	case p.Gone(err):
		p.dead = true
		return fmt.Errorf("flush: %w", err)
	}
	p.dead = true
	return &FlushError{err}
}

// writeAgain takes back what was written since the last commit, and what is in flight: the drive told of a reset, and
// its cache may not have held it any more when it was flushed. Of zones that are written in order the drive itself tells, when all is written,
// how much of each it holds.
func (p *pump) writeAgain() error {
	p.resets = p.Resets()
	lost := NewSet(append(p.covered.Done, p.pending.Done...)...)
	p.covered.Done, p.pending.Done, p.bytes = nil, nil, 0
	p.Moved.Add(-lost.Bytes())
	p.todo = NewSet(append(p.todo, lost.extents...)...).extents
	for i := range p.slots {
		p.slots[i].again = p.slots[i].buf != nil
	}
	return p.commit()
}

func (p *pump) commit() error {
	c := p.covered
	p.covered = Progress{}
	if p.Commit == nil {
		return nil
	}
	c.Done, c.Failed, c.Mismatch = NewSet(c.Done...).extents, NewSet(c.Failed...).extents, NewSet(c.Mismatch...).extents
	if err := p.Commit(c); err != nil {
		p.dead = true
		return err
	}
	return nil
}

// settle waits for what is in flight and commits what can still be committed, so that a stop
// loses as little as possible. Once the drive or the journal has failed it only waits.
func (p *pump) settle(ctx context.Context) error {
	var problem error
	for {
		for p.inFlight > 0 {
			n, err := p.q.Complete(ctx, p.ended)
			if err != nil {
				return errors.Join(problem, fmt.Errorf("wait for what is in flight: %w", err))
			}
			problem = errors.Join(problem, p.finish(p.ended[:n]))
		}
		if p.dead || p.pending.empty() {
			return problem
		}
		problem = errors.Join(problem, p.beginCommit())
	}
}
