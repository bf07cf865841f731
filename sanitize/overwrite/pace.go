package overwrite

import (
	"context"
	"time"
)

// Pace is what a drive can stand for now.
type Pace struct {
	Most  int           // requests in flight; 0: none, until it is asked again
	Again time.Duration // until it is asked again
}

// keepPace asks how much may be in flight when it is time to. It waits out a pause, once what was in flight has ended
// and is committed: a drive that must cool may as well stop for good.
func (p *pump) keepPace(ctx context.Context) error {
	for p.Pace != nil {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		// A clock that was put back must not make minutes into hours.
		now := p.Now()
		if left := p.paceAt.Sub(now); left > 0 && left <= p.paceFor {
			if p.most > 0 || p.inFlight > 0 || !p.pending.empty() || p.idle() {
				return nil
			}
			if err := p.Wait(ctx, left); err != nil {
				return err
			}
		}
		pace, err := p.Pace(ctx)
		if err != nil {
			return err
		}
		p.most, p.paceFor, p.paceAt = pace.Most, pace.Again, p.Now().Add(pace.Again)
		if p.most > 0 {
			return nil
		}
	}
	return nil
}

// held says whether no more may be in flight than is.
func (p *pump) held() bool {
	n, most := p.inFlight, p.Tuner.limit(len(p.slots))
	if p.flushing {
		n--
	}
	if p.Pace != nil {
		most = min(most, p.most)
	}
	return n >= most
}

// tell lets the tuner know of a request that ended well. When something else bounds what is in flight there is nothing
// to be learned from it.
func (p *pump) tell(bytes int64) {
	if p.Tuner == nil {
		return
	}
	limit := p.Tuner.limit(len(p.slots))
	if p.Pace != nil && p.most < limit || p.alone || p.constant == nil && p.Budget.share() < limit {
		p.Tuner.disturbed()
		return
	}
	p.Tuner.ended(p.Now(), bytes)
}
