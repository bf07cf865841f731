package overwrite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// turns lets one of several goroutines go on at a time, and chance says which: what they do is in the order that was
// drawn, and in the same one again when a failure is looked for.
type turns struct {
	waiting chan chan struct{} // of those that wait for a turn; nil is one that has ended
}

// wait ends when it is the goroutine's turn.
func (t *turns) wait() {
	turn := make(chan struct{})
	t.waiting <- turn
	<-turn
}

// run has all of them take turns until they have ended.
func (t *turns) run(rt *rapid.T, all []func()) {
	var ready []chan struct{}
	for _, do := range all {
		go func() {
			t.wait()
			defer func() { t.waiting <- nil }()
			do()
		}()
		ready = append(ready, <-t.waiting)
	}
	order := rapid.Permutation([]uint8{0, 1, 2, 3, 4, 5, 6, 7}).Draw(rt, "turns")
	for n := 0; len(ready) > 0; n++ {
		i := int(order[n%len(order)]+uint8(n/7)) % len(ready)
		close(ready[i])
		if next := <-t.waiting; next != nil {
			ready[i] = next
		} else {
			ready = append(ready[:i], ready[i+1:]...)
		}
	}
}

// late is a medium that looks at a write's memory when the write ends, as hardware may: whatever is in it then is on
// the drive.
type late struct {
	*medium
	turns   *turns
	pending map[uint64]blockio.Request
}

func (l *late) Submit(r blockio.Request) error {
	l.turns.wait()
	if len(l.pending) >= l.depth {
		return blockio.ErrFull
	}
	l.pending[r.Tag] = r
	return nil
}

func (l *late) Complete(ctx context.Context, done []blockio.Completion) (int, error) {
	l.turns.wait()
	if r, ok := l.pending[flushTag]; ok && l.rng.IntN(3) == 0 {
		delete(l.pending, flushTag)
		return 1, l.end(ctx, r, done)
	}
	n := l.rng.IntN(len(l.pending))
	for tag := uint64(0); ; tag++ {
		if tag > uint64(l.depth) {
			tag = flushTag
		}
		r, ok := l.pending[tag]
		if !ok {
			continue
		}
		if n--; n < 0 {
			delete(l.pending, tag)
			return 1, l.end(ctx, r, done)
		}
	}
}

func (l *late) end(ctx context.Context, r blockio.Request, done []blockio.Completion) error {
	if err := l.medium.Submit(r); err != nil {
		return err
	}
	_, err := l.medium.Complete(ctx, done[:1])
	return err
}

// drawPattern draws any of the patterns that are written.
func drawPattern(t testing.TB, rt *rapid.T) Pattern {
	if rapid.IntRange(0, 3).Draw(rt, "kind") == 0 {
		return anyStream(t)
	}
	// Few different ones, of few bytes, so that drives often share one, and often have another of the same length.
	unit := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 0xff, 0x92}), 1, 3).Draw(rt, "unit")
	if rapid.IntRange(0, 3).Draw(rt, "long") == 0 {
		n := rapid.SampledFrom([]int{7, 16, 24, maxUnit - 1, maxUnit}).Draw(rt, "length") // of some, blocks of 520 bytes reach parts that pages do not
		unit = rapid.SliceOfN(rapid.Byte(), n, n).Draw(rt, "longer")
	}
	r, err := NewRepeating(unit)
	if err != nil {
		rt.Fatal(err)
	}
	return r
}

// Whatever drives have in flight at the same time, whatever patterns they are written with and in whatever order
// they are read back, with memory that all of them share: each medium holds its own pattern after each pass.
func TestDrivesThatShareMemoryHoldTheirPatterns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := NewBudget(rapid.IntRange(0, 6).Draw(rt, "budget"))
		order := &turns{make(chan chan struct{})}
		var drives []func()
		var problems []error
		var mu sync.Mutex
		for drive := range rapid.IntRange(1, 4).Draw(rt, "drives") {
			block := rapid.SampledFrom([]int{512, 520, 4096, 4160}).Draw(rt, "block")
			blocks := rapid.IntRange(1, 60).Draw(rt, "blocks")
			l := &late{medium: newMedium(blocks, block), turns: order, pending: map[uint64]blockio.Request{}}
			l.badWrite[int64(rapid.IntRange(0, 2*blocks).Draw(rt, "bad"))] = true
			base := int64(block * rapid.IntRange(0, 9).Draw(rt, "base"))
			o := Options{Block: block, Request: block * rapid.IntRange(1, 20).Draw(rt, "request"), CommitBytes: int64(block * rapid.IntRange(1, 30).Draw(rt, "commit")), Budget: b}
			var passes []Pattern
			for range rapid.IntRange(1, 4).Draw(rt, "passes") {
				passes = append(passes, drawPattern(t, rt))
			}
			drives = append(drives, func() {
				for n, p := range passes {
					if err := passOver(l, p, base, o); err != nil {
						mu.Lock()
						problems = append(problems, fmt.Errorf("drive %d, pass %d of %v: %w", drive, n+1, passes, err))
						mu.Unlock()
						return
					}
				}
			})
		}
		order.run(rt, drives)
		if err := errors.Join(problems...); err != nil {
			rt.Fatal(err)
		}
		if len(b.constants) > 0 || b.left != b.total || b.sharers != 0 {
			rt.Fatalf("%d patterns are kept, %d of %d buffers, %d sharers", len(b.constants), b.left, b.total, b.sharers)
		}
	})
}

// passOver writes a pass and reads it back, and compares what is on the medium with what is told of it.
func passOver(l *late, p Pattern, base int64, o Options) error {
	ctx, size := context.Background(), int64(len(l.stable))
	want := make([]byte, size)
	p.Fill(want, base)
	var failed, wrong, told Set
	o.Commit = func(pr Progress) error {
		for _, e := range pr.Done {
			if !bytes.Equal(l.stable[e.Offset:e.End()], want[e.Offset:e.End()]) {
				return fmt.Errorf("%v is told to be written and does not hold the pattern", e)
			}
		}
		failed.Add(pr.Failed...)
		told.Add(pr.Done...)
		return nil
	}
	if err := Fill(ctx, l, []Extent{{0, size}}, Shifted(p, base), o); err != nil {
		return err
	}
	if left := NewSet(Extent{0, size}).Without(told).Without(failed); left.Bytes() > 0 || failed.Len() > 1 {
		return fmt.Errorf("not told of: %v; failed: %v", left, failed)
	}
	o.Commit = func(pr Progress) error { wrong.Add(pr.Mismatch...); return nil }
	if err := Check(ctx, l, told.Extents(), Shifted(p, base), o); err != nil {
		return err
	}
	if wrong.Bytes() > 0 {
		return fmt.Errorf("reads back as another pattern: %v", wrong)
	}
	return nil
}

// A queue that writes into the memory of a write, against its contract, or memory that fails: nothing that was written
// from it is told, on no drive that shares it, and what comes later has other memory.
func TestNothingIsToldOfWhatWasWrittenFromAlteredMemory(t *testing.T) {
	const blocks, block = 8192, 512
	b := NewBudget(4)
	zero := Repeating{[]byte{0}}
	whole := []Extent{{0, blocks * block}}
	other := newMedium(blocks, block)
	var done Set
	commit := func(p Progress) error { done.Add(p.Done...); return nil }
	faulty := newMedium(blocks, block)
	faulty.onSubmit = func(r blockio.Request) {
		if r.Op == blockio.Write && r.Offset > 1<<20 {
			r.Data[len(r.Data)-1] = 1
		}
	}
	other.onSubmit = func(r blockio.Request) {
		if r.Op == blockio.Flush && faulty.writes == 0 {
			if err := Fill(t.Context(), faulty, whole, zero, Options{Block: block, Budget: b, Commit: commit}); !errors.Is(err, errAltered) {
				t.Errorf("the drive that it began with: %v", err)
			}
			if err := Fill(t.Context(), newMedium(8, block), []Extent{{0, 8 * block}}, zero, Options{Block: block, Budget: b}); err != nil {
				t.Errorf("a drive that began after it: %v", err)
			}
		}
	}
	if err := Fill(t.Context(), other, whole, zero, Options{Block: block, Budget: b, Commit: commit}); !errors.Is(err, errAltered) {
		t.Errorf("a drive that shared the memory: %v", err)
	}
	if done.Bytes() > 0 {
		t.Errorf("%v is told to be written", done)
	}
	m := newMedium(blocks, block)
	if err := Fill(t.Context(), m, whole, zero, Options{Block: block, Budget: b}); err != nil || !bytes.Equal(m.stable, make([]byte, len(m.stable))) {
		t.Errorf("a later drive: %v, or it does not hold the pattern", err)
	}
	if len(b.constants) > 0 {
		t.Error("memory of the pattern is kept")
	}
}

// Drives that are written with one repeating pattern share its memory and take none of the budget: they have whole
// requests in flight also when hanging drives have all of it, and what they hang on themselves takes nothing from others.
func TestRepeatingPatternsTakeNothingOfTheBudget(t *testing.T) {
	const blocks, block = 16384, 512
	whole := []Extent{{0, blocks * block}}
	b := NewBudget(1)
	release := make(chan struct{})
	var stuck sync.WaitGroup
	seen := map[*byte]bool{}
	hang := func(p Pattern) *hung {
		h := &hung{medium: newMedium(blocks, block), asked: make(chan struct{}), release: release}
		stuck.Go(func() {
			if err := Fill(t.Context(), h, whole, p, Options{Block: block, Budget: b}); err != nil {
				t.Error(err)
			}
		})
		<-h.asked
		return h
	}
	zero := Repeating{[]byte{0}}
	for range 3 {
		if h := hang(zero); h.largest != DefaultRequest || len(h.held) != h.depth-1 {
			t.Errorf("%d requests of up to %d bytes in flight", len(h.held), h.largest)
		}
	}
	if b.left != 1 || b.sharers != 0 {
		t.Errorf("hanging drives that are written with zeros have taken buffers: %d left, %d sharers", b.left, b.sharers)
	}
	if h := hang(keystreamOf(t)); h.largest != DefaultRequest {
		t.Errorf("requests of %d bytes", h.largest)
	}
	m := newMedium(blocks, block)
	m.onSubmit = func(r blockio.Request) {
		if r.Op == blockio.Write {
			seen[&r.Data[0]] = true
		}
	}
	if err := Fill(t.Context(), m, whole, zero, Options{Block: block, Budget: b}); err != nil || m.largest != DefaultRequest {
		t.Errorf("requests of %d bytes, %v", m.largest, err)
	}
	if len(seen) != 1 || len(b.constants) != 1 || !seen[&b.constants["\x00"].data[0]] {
		t.Errorf("requests of %d memories, %d patterns", len(seen), len(b.constants))
	}
	close(release)
	stuck.Wait()
	if len(b.constants) != 0 || b.left != 1 {
		t.Errorf("%d patterns are kept, %d buffers", len(b.constants), b.left)
	}
}
