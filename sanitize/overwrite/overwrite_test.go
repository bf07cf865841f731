package overwrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// medium is a drive as a queue sees it: a volatile cache over stable media, blocks that fail, and
// completions in any order.
type medium struct {
	stable, cache []byte
	block         int
	badWrite      map[int64]bool // by block
	badRead       map[int64]bool
	flushErr      error
	goneAfter     int // requests until the drive is gone; negative is never
	depth         int
	held          []blockio.Completion
	reads, writes int
	largest       int
	onSubmit      func(blockio.Request)
	rng           *rand.Rand
}

var errGone = errors.New("gone")
var errBad = errors.New("input/output error")

func newMedium(blocks, block int) *medium {
	m := &medium{stable: make([]byte, blocks*block), block: block, badWrite: map[int64]bool{}, badRead: map[int64]bool{},
		goneAfter: -1, depth: 5, rng: rand.New(rand.NewPCG(1, 2))}
	for i := range m.stable {
		m.stable[i] = 0xC5
	}
	m.cache = bytes.Clone(m.stable)
	return m
}

func (m *medium) Depth() int   { return m.depth }
func (m *medium) Close() error { return nil }

func (m *medium) Submit(r blockio.Request) error {
	if len(m.held) >= m.depth {
		return blockio.ErrFull
	}
	if m.onSubmit != nil {
		m.onSubmit(r)
	}
	c := blockio.Completion{Tag: r.Tag, N: len(r.Data)}
	m.largest = max(m.largest, len(r.Data))
	if m.goneAfter == 0 {
		c.N, c.Err = 0, errGone
	} else {
		m.goneAfter--
		c = m.play(r, c)
	}
	m.held = append(m.held, c)
	return nil
}

func (m *medium) play(r blockio.Request, c blockio.Completion) blockio.Completion {
	if r.Op == blockio.Flush {
		if m.flushErr != nil {
			c.Err = m.flushErr
			return c
		}
		copy(m.stable, m.cache)
		return c
	}
	bad := m.badRead
	if r.Op == blockio.Write {
		bad = m.badWrite
		m.writes++
	} else {
		m.reads++
	}
	for at := 0; at < len(r.Data); at += m.block {
		off := r.Offset + int64(at)
		if bad[off/int64(m.block)] {
			c.N, c.Err = at, errBad
			return c
		}
		if r.Op == blockio.Write {
			copy(m.cache[off:], r.Data[at:at+m.block])
		} else {
			copy(r.Data[at:at+m.block], m.cache[off:])
		}
	}
	return c
}

func (m *medium) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if len(m.held) == 0 {
		return 0, blockio.ErrIdle
	}
	m.rng.Shuffle(len(m.held), func(i, k int) { m.held[i], m.held[k] = m.held[k], m.held[i] })
	n := min(len(done), 1+m.rng.IntN(len(m.held)))
	copy(done, m.held[:n])
	m.held = append(m.held[:0], m.held[n:]...)
	return n, nil
}

func anyStream(t testing.TB) Keystream {
	t.Helper()
	k, err := NewKeystream(bytes.Repeat([]byte{7}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func expect(p Pattern, n int) []byte {
	b := make([]byte, n)
	p.Fill(b, 0)
	return b
}

// gather collects what Commit reports and checks that it is stable when it is reported.
type gather struct {
	done, failed, mismatch Set
	commits                int
}

func (g *gather) commit(t testing.TB, m *medium, p Pattern) func(Progress) error {
	return func(pr Progress) error {
		g.commits++
		if p != nil {
			want := expect(p, len(m.stable))
			for _, e := range pr.Done {
				if !bytes.Equal(m.stable[e.Offset:e.End()], want[e.Offset:e.End()]) {
					t.Errorf("extent %v was reported and is not on stable media", e)
				}
			}
		}
		g.done.Add(pr.Done...)
		g.failed.Add(pr.Failed...)
		g.mismatch.Add(pr.Mismatch...)
		return nil
	}
}

// Whatever the layout, order, faults, commit sizes, memory, heat and tuning: everything is written or reported,
// nothing is reported that is not on stable media, and the medium holds the pattern where nothing failed.
func TestFillAccountsForEveryBlock(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		blocks, block := rapid.IntRange(1, 200).Draw(rt, "blocks"), rapid.SampledFrom([]int{512, 520, 4096, 4160}).Draw(rt, "block")
		size := int64(blocks * block)
		m := newMedium(blocks, block)
		m.depth = rapid.IntRange(2, 8).Draw(rt, "depth")
		var bad Set
		for _, b := range rapid.SliceOfN(rapid.IntRange(0, blocks-1), 0, 9).Draw(rt, "bad") {
			m.badWrite[int64(b)] = true
			bad.Add(Extent{int64(b * block), int64(block)})
		}
		var g gather
		p := drawPattern(t, rt)
		now := time.Unix(0, 0)
		o := Options{
			Block: block, Request: block * rapid.IntRange(1, 40).Draw(rt, "request"),
			CommitBytes: int64(block * rapid.IntRange(1, 300).Draw(rt, "commit")),
			Commit:      g.commit(t, m, p),
			Budget:      NewBudget(rapid.IntRange(0, 9).Draw(rt, "budget")),
			Now:         func() time.Time { now = now.Add(time.Duration(m.rng.Int64N(int64(time.Second)))); return now },
			Wait:        func(_ context.Context, d time.Duration) error { now = now.Add(d); return nil },
		}
		if rapid.Bool().Draw(rt, "tuned") {
			o.Tuner = NewTuner(nil, rapid.IntRange(1, 4).Draw(rt, "from"), 8)
		}
		if rapid.Bool().Draw(rt, "warm") {
			o.Pace = func(context.Context) (Pace, error) { return Pace{m.rng.IntN(4), time.Second}, nil }
		}
		// In two goes, as after an interruption, over extents that are cut anywhere.
		cut := int64(block * rapid.IntRange(0, blocks).Draw(rt, "cut"))
		for _, todo := range [][]Extent{{{0, cut}}, {{cut, size - cut}}} {
			if err := Fill(t.Context(), m, todo, p, o); err != nil {
				rt.Fatal(err)
			}
		}
		if got := g.failed.Extents(); fmt.Sprint(got) != fmt.Sprint(bad.Extents()) {
			rt.Fatalf("failed extents %v, want exactly %v", got, bad.Extents())
		}
		if left := NewSet(Extent{0, size}).Without(g.done).Without(g.failed); left.Bytes() != 0 {
			rt.Fatalf("neither written nor reported: %v", left.Extents())
		}
		if g.done.Intersect(g.failed).Bytes() != 0 {
			rt.Fatal("an extent is both done and failed")
		}
		want := expect(p, int(size))
		for _, e := range g.done.Extents() {
			if !bytes.Equal(m.stable[e.Offset:e.End()], want[e.Offset:e.End()]) {
				rt.Fatalf("%v does not hold the pattern", e)
			}
		}
	})
}

func TestFillTouchesOnlyWhatIsToDo(t *testing.T) {
	m := newMedium(64, 512)
	zero, err := NewRepeating([]byte{0})
	if err != nil {
		t.Fatal(err)
	}
	if err := Fill(t.Context(), m, []Extent{{512, 1024}, {4096, 512}}, zero, Options{Block: 512, Request: 700}); err != nil {
		t.Fatal(err)
	}
	for i, b := range m.stable {
		inside := i >= 512 && i < 1536 || i >= 4096 && i < 4608
		if inside != (b == 0) {
			t.Fatalf("byte %d is %#x", i, b)
		}
	}
	if m.largest > 700 {
		t.Fatalf("a request of %d bytes was made", m.largest)
	}
	if err := Fill(t.Context(), m, []Extent{{100, 512}}, zero, Options{Block: 512}); err == nil {
		t.Fatal("an extent inside a block was accepted")
	}
}

func TestStopKeepsWhatWasWritten(t *testing.T) {
	m := newMedium(256, 512)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("asked to stop")
	m.onSubmit = func(blockio.Request) {
		if m.writes == 100 {
			cancel(stop)
		}
	}
	var g gather
	p := anyStream(t)
	err := Fill(ctx, m, []Extent{{0, 256 * 512}}, p, Options{Block: 512, Request: 512, Commit: g.commit(t, m, p)})
	if !errors.Is(err, stop) {
		t.Fatalf("error %v, want the cause of the stop", err)
	}
	if n := g.done.Bytes() / 512; n < 90 || n > 110 {
		t.Fatalf("%d blocks reported after a stop at 100", n)
	}
	if len(m.held) != 0 {
		t.Fatal("requests were left in flight while their buffers are free")
	}
}

func TestErrorsThatEndTheWork(t *testing.T) {
	p := Pattern(anyStream(t))
	all := []Extent{{0, 256 * 512}}
	gone := func(err error) bool { return errors.Is(err, errGone) }
	t.Run("gone", func(t *testing.T) {
		m := newMedium(256, 512)
		m.goneAfter = 50
		var g gather
		err := Fill(t.Context(), m, all, p, Options{Block: 512, Request: 512, Gone: gone, Commit: g.commit(t, m, p)})
		if !errors.Is(err, errGone) || g.failed.Bytes() != 0 {
			t.Fatalf("error %v, failed %v: a drive that is gone has no bad blocks", err, g.failed)
		}
	})
	t.Run("flush fails", func(t *testing.T) {
		m := newMedium(256, 512)
		m.flushErr = errBad
		var g gather
		err := Fill(t.Context(), m, all, p, Options{Block: 512, Request: 512, CommitBytes: 4096, Commit: g.commit(t, m, nil)})
		var flush *FlushError
		if !errors.As(err, &flush) || g.done.Bytes() != 0 {
			t.Fatalf("error %v, done %v: nothing may be reported that was not flushed", err, g.done)
		}
	})
	t.Run("journal fails", func(t *testing.T) {
		m := newMedium(256, 512)
		full, calls := errors.New("no space"), 0
		err := Fill(t.Context(), m, all, p, Options{Block: 512, Request: 512, CommitBytes: 4096, Commit: func(Progress) error { calls++; return full }})
		if !errors.Is(err, full) || calls != 1 || m.writes == 256 {
			t.Fatalf("error %v after %d commits and %d writes: the work must stop when it cannot be noted", err, calls, m.writes)
		}
	})
	t.Run("too many bad blocks", func(t *testing.T) {
		m := newMedium(256, 512)
		for b := range int64(256) {
			m.badWrite[b] = true
		}
		err := Fill(t.Context(), m, all, p, Options{Block: 512, Request: 4096, BadLimit: 10 * 512})
		if !errors.Is(err, ErrTooManyBad) || m.writes > 100 {
			t.Fatalf("error %v after %d writes", err, m.writes)
		}
	})
	t.Run("short transfer without an error", func(t *testing.T) {
		q := &shortQueue{newMedium(8, 512)}
		var g gather
		if err := Fill(t.Context(), q, []Extent{{0, 4096}}, p, Options{Block: 512, Request: 512, Commit: g.commit(t, q.medium, nil)}); err != nil {
			t.Fatal(err)
		}
		if g.done.Bytes() != 0 {
			t.Fatal("a short transfer passed for a whole one")
		}
	})
}

// shortQueue moves less than it was asked to and says nothing.
type shortQueue struct{ *medium }

func (q *shortQueue) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	n, err := q.medium.Complete(ctx, done)
	for i := range done[:n] {
		if done[i].Tag != flushTag {
			done[i].N /= 2
		}
	}
	return n, err
}

func TestCheckFindsExactlyWhatDiffers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		blocks := rapid.IntRange(1, 200).Draw(rt, "blocks")
		m := newMedium(blocks, 512)
		p := anyStream(t)
		p.Fill(m.cache, 0)
		var wrong, unread Set
		for _, b := range rapid.SliceOfN(rapid.IntRange(0, blocks-1), 0, 6).Draw(rt, "wrong") {
			m.cache[b*512+rapid.IntRange(0, 511).Draw(rt, "byte")] ^= 1
			wrong.Add(Extent{int64(b) * 512, 512})
		}
		for _, b := range rapid.SliceOfN(rapid.IntRange(0, blocks-1), 0, 3).Draw(rt, "unread") {
			m.badRead[int64(b)] = true
			unread.Add(Extent{int64(b) * 512, 512})
		}
		// The same byte flipped twice is right again.
		want := expect(p, len(m.cache))
		for _, e := range wrong.Extents() {
			for at := e.Offset; at < e.End(); at += 512 {
				if bytes.Equal(m.cache[at:at+512], want[at:at+512]) {
					wrong = wrong.Without(NewSet(Extent{at, 512}))
				}
			}
		}
		var g gather
		err := Check(t.Context(), m, []Extent{{0, int64(blocks) * 512}}, p, Options{
			Block: 512, Request: 512 * rapid.IntRange(1, 40).Draw(rt, "request"), Commit: g.commit(t, m, nil),
		})
		if err != nil {
			rt.Fatal(err)
		}
		if got, want := fmt.Sprint(g.mismatch.Extents()), fmt.Sprint(wrong.Without(unread).Extents()); got != want {
			rt.Fatalf("mismatches %v, want %v", got, want)
		}
		if got, want := fmt.Sprint(g.failed.Extents()), fmt.Sprint(unread.Extents()); got != want {
			rt.Fatalf("unread %v, want %v", got, want)
		}
	})
}
