package overwrite

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// measured is a queue that knows how many writes may be in flight.
type measured struct {
	sink
	t            *testing.T
	writes, most int
}

func (c *measured) Submit(r blockio.Request) error {
	if r.Op == blockio.Write {
		if c.writes++; c.writes > c.most {
			c.t.Errorf("%d are in flight, %d may be", c.writes, c.most)
		}
	}
	return c.sink.Submit(r)
}

func (c *measured) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	n, err := c.sink.Complete(ctx, done[:1]) // one at a time
	if n == 1 && done[0].Tag != flushTag {
		c.writes--
	}
	return n, err
}

// No more is in flight than the drive can stand. While it must rest nothing is, and all that was done by then is
// committed: the host may lose power meanwhile.
func TestPaceIsKept(t *testing.T) {
	const all = 64 << 20
	q := &measured{t: t}
	committed, rests := int64(0), 0
	now := time.Unix(0, 0)
	pace := 0
	o := Options{
		Block: 4096,
		Now:   func() time.Time { now = now.Add(time.Second); return now },
		Commit: func(p Progress) error {
			for _, e := range p.Done {
				committed += e.Length
			}
			return nil
		},
		Pace: func(context.Context) (Pace, error) {
			pace++
			q.most = []int{8, 2, 1, 0}[pace%4]
			return Pace{q.most, 10 * time.Second}, nil
		},
		Wait: func(_ context.Context, d time.Duration) error {
			rests++
			if q.writes != 0 || len(q.held) != 0 {
				t.Errorf("%d are in flight in a pause", q.writes)
			}
			if d <= 0 || d > 10*time.Second {
				t.Errorf("waits %v", d)
			}
			now = now.Add(d)
			return nil
		},
	}
	if err := Fill(t.Context(), q, []Extent{{0, all}}, Repeating{[]byte{0}}, o); err != nil {
		t.Fatal(err)
	}
	if committed != all || rests == 0 || pace < 5 {
		t.Errorf("%d bytes are committed, %d pauses, asked %d times", committed, rests, pace)
	}
	// A stop in a pause loses nothing of what was done before it.
	stop := errors.New("stop")
	committed, pace = 0, 1
	o.Wait = func(context.Context, time.Duration) error { return stop }
	if err := Fill(t.Context(), q, []Extent{{0, all}}, Repeating{[]byte{0}}, o); !errors.Is(err, stop) || committed == 0 || committed == all {
		t.Errorf("%v, %d bytes are committed", err, committed)
	}
	o.Wait = nil
	if err := Fill(t.Context(), q, []Extent{{0, all}}, Repeating{[]byte{0}}, o); err == nil {
		t.Error("nothing waits, and it was begun")
	}
}
