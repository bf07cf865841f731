package overwrite

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// hung is a drive that takes requests and never answers, until it is released.
type hung struct {
	*medium
	asked   chan struct{} // closed when it has its first request and is waited for
	release chan struct{}
	once    sync.Once
}

func (h *hung) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	h.once.Do(func() { close(h.asked) })
	select {
	case <-h.release:
		return h.medium.Complete(ctx, done)
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Drives that never answer keep what they have taken of the budget, and all others come to their end.
func TestHungDrivesHoldUpNoOther(t *testing.T) {
	const blocks = 4096 // 2 MiB
	for _, c := range []struct {
		name         string
		hung, budget int
	}{
		{"one hangs", 1, 2}, {"more than the budget", 5, 3}, {"no budget", 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := NewBudget(c.budget)
			p := keystreamOf(t)
			var stuck, others sync.WaitGroup
			release := make(chan struct{})
			for range c.hung {
				h := &hung{medium: newMedium(blocks, 512), asked: make(chan struct{}), release: release}
				stuck.Go(func() {
					if err := Fill(t.Context(), h, []Extent{{0, blocks * 512}}, p, Options{Block: 512, Budget: b}); err != nil {
						t.Error(err)
					}
				})
				<-h.asked
			}
			ended := make(chan struct{})
			for range 4 {
				others.Go(func() {
					m := newMedium(blocks, 512)
					for _, do := range []func(context.Context, blockio.Queue, []Extent, Pattern, Options) error{Fill, Check} {
						if err := do(t.Context(), m, []Extent{{0, blocks * 512}}, p, Options{Block: 512, Budget: b}); err != nil {
							t.Error(err)
						}
					}
					want := make([]byte, len(m.stable))
					p.Fill(want, 0)
					if !bytes.Equal(m.stable, want) {
						t.Error("the medium does not hold the pattern")
					}
				})
			}
			go func() { others.Wait(); close(ended) }()
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatal("others wait for a drive that hangs")
			}
			close(release)
			stuck.Wait()
			if b.left != c.budget || b.free != nil || b.sharers != 0 {
				t.Errorf("%d of %d left, %d kept, %d sharers", b.left, c.budget, len(b.free), b.sharers)
			}
		})
	}
}

// No more is ever in flight than the budget and one small request of each drive.
func TestBudgetBoundsWhatIsInFlight(t *testing.T) {
	const drives, budget, blocks = 12, 4, 8192
	b := NewBudget(budget)
	var mu sync.Mutex
	inFlight, most, largest := 0, 0, 0
	var wait sync.WaitGroup
	p := keystreamOf(t)
	release := make(chan struct{})
	for range drives {
		m := newMedium(blocks, 512)
		m.depth = 9
		h := &hung{medium: m, asked: make(chan struct{}), release: release}
		q := &counted{hung: h, change: func(by, n int) {
			mu.Lock()
			defer mu.Unlock()
			inFlight += by
			most, largest = max(most, inFlight), max(largest, n)
		}}
		wait.Go(func() {
			if err := Fill(t.Context(), q, []Extent{{0, blocks * 512}}, p, Options{Block: 512, Budget: b}); err != nil {
				t.Error(err)
			}
		})
		<-h.asked // it has all that it can have
	}
	close(release)
	wait.Wait()
	if limit := budget*DefaultRequest + drives*ownRequest; most > limit || largest != DefaultRequest {
		t.Errorf("%d bytes in flight, at most %d; the largest request has %d", most, limit, largest)
	}
}

// counted tells of the bytes of writes in flight.
type counted struct {
	*hung
	lengths []int // by tag
	change  func(by, length int)
}

func (c *counted) Submit(r blockio.Request) error {
	if r.Op == blockio.Write {
		for int(r.Tag) >= len(c.lengths) {
			c.lengths = append(c.lengths, 0)
		}
		c.lengths[r.Tag] = len(r.Data)
		c.change(len(r.Data), len(r.Data))
	}
	return c.hung.Submit(r)
}

func (c *counted) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	n, err := c.hung.Complete(ctx, done)
	for _, d := range done[:n] {
		if d.Tag != flushTag {
			c.change(-c.lengths[d.Tag], 0)
		}
	}
	return n, err
}

// What does not fit a small buffer is cut, also when it is a part of a request that failed: the bad
// block alone is left out.
func TestSmallBuffersFindTheBadBlock(t *testing.T) {
	b := NewBudget(1)
	m := newMedium(8192, 512)
	m.badWrite[5000] = true
	m.onSubmit = func(r blockio.Request) {
		if len(r.Data) == DefaultRequest { // the budget is gone from here on
			b.mu.Lock()
			b.left = 0
			b.mu.Unlock()
		}
	}
	var failed Set
	err := Fill(t.Context(), m, []Extent{{0, 8192 * 512}}, keystreamOf(t), Options{Block: 512, Budget: b, Commit: func(p Progress) error {
		failed.Add(p.Failed...)
		return nil
	}})
	if got := failed.Extents(); err != nil || len(got) != 1 || got[0] != (Extent{5000 * 512, 512}) {
		t.Errorf("failed %v, %v", got, err)
	}
	stopped, stop := context.WithCancelCause(t.Context())
	stop(errGone)
	if err := Fill(stopped, m, []Extent{{0, 512}}, keystreamOf(t), Options{Block: 512, Budget: b}); !errors.Is(err, errGone) {
		t.Errorf("%v", err)
	}
}

func keystreamOf(t *testing.T) Pattern {
	t.Helper()
	s, err := NewKeystream(bytes.Repeat([]byte{7}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
