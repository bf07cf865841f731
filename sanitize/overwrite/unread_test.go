package overwrite

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// empty is a queue whose requests succeed and move nothing, after so many failures at each place.
type empty struct {
	sink
	fails int
	seen  map[int64]int
}

func (q *empty) Submit(r blockio.Request) error {
	c := blockio.Completion{Tag: r.Tag, N: len(r.Data)}
	if q.seen[r.Offset]++; q.seen[r.Offset] <= q.fails {
		c.N, c.Err = 0, errors.New("input/output error")
	}
	q.held = append(q.held, c)
	return nil
}

// What was in memory before a read that moved nothing is never taken for what is on the medium, whatever is expected
// there and however often it is tried.
func TestReadsThatMoveNothing(t *testing.T) {
	zeros, err := NewRepeating([]byte{0})
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 12
	for fails := range 3 {
		for _, request := range []int{4096, 8192, 1 << 20} {
			for name, check := range map[string]func(context.Context, blockio.Queue, Options) error{
				"zeros": func(ctx context.Context, q blockio.Queue, o Options) error {
					return Check(ctx, q, []Extent{{0, size}}, zeros, o)
				},
				"anything": func(ctx context.Context, q blockio.Queue, o Options) error {
					return Inspect(ctx, q, []Extent{{0, size}}, func([]byte, int64) []Extent { return nil }, o)
				},
			} {
				var done, failed Set
				err := check(t.Context(), &empty{fails: fails, seen: map[int64]int{}}, Options{Block: 4096, Request: request, Budget: NewBudget(2), Commit: func(p Progress) error {
					done.Add(p.Done...)
					failed.Add(p.Failed...)
					return nil
				}})
				if err != nil || done.Bytes() != 0 || failed.Bytes() != size {
					t.Errorf("%s, %d failures before, requests of %d: %v, %d bytes done, %d failed", name, fails, request, err, done.Bytes(), failed.Bytes())
				}
			}
		}
	}
}

// What a drive held in its cache when it was reset is written again, and not called done before; also what had been
// written by then and was not told yet.
func TestResetWritesAgain(t *testing.T) {
	p := anyStream(t)
	for seed := range uint64(200) {
		m := newMedium(256, 512)
		m.depth, m.rng = 9, rand.New(rand.NewPCG(seed, 1))
		resets := int64(0)
		m.onSubmit = func(blockio.Request) {
			if m.writes == 100 && resets == 0 {
				resets = 1
				copy(m.cache, m.stable) // what was not flushed is lost
			}
		}
		var g gather
		o := Options{Block: 512, Request: 512, CommitBytes: 4 * 512, Commit: g.commit(t, m, p), Resets: func() int64 { return resets }}
		if err := Fill(t.Context(), m, []Extent{{0, 256 * 512}}, p, o); err != nil {
			t.Fatal(err)
		}
		if g.done.Bytes() != 256*512 || m.writes <= 256 {
			t.Errorf("%d bytes are done after %d writes", g.done.Bytes(), m.writes)
		}
	}
}

// A wall clock that is put back neither stops looks and commits for hours nor makes a pause as long.
func TestClockPutBack(t *testing.T) {
	now, asked, looks, commits, back := time.Unix(1e9, 0), 0, 0, 0, 20
	var longest time.Duration
	rests := true
	o := Options{
		Block: 4096, Request: 4096, CommitEvery: 5 * time.Second, Commit: func(Progress) error { commits++; return nil },
		Now: func() time.Time {
			now = now.Add(time.Second)
			if asked++; asked == back {
				now = now.Add(-10 * time.Hour)
			}
			return now
		},
		Pace: func(context.Context) (Pace, error) {
			looks++
			if !rests {
				return Pace{1, 10 * time.Second}, nil
			}
			return Pace{looks % 2, 10 * time.Second}, nil
		},
		Wait: func(_ context.Context, d time.Duration) error {
			longest = max(longest, d)
			now = now.Add(d)
			return nil
		},
	}
	for back = range 40 {
		rests = back%2 == 0
		asked, looks, commits = 0, 0, 0
		if err := Fill(t.Context(), &sink{}, []Extent{{0, 300 << 12}}, Repeating{[]byte{0}}, o); err != nil {
			t.Fatal(err)
		}
		if looks < asked/20 || commits < asked/20 || longest > 10*time.Second {
			t.Fatalf("back at %d: in %d seconds %d looks and %d commits, a pause of %v", back, asked, looks, commits, longest)
		}
	}
}
