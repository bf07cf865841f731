package overwrite

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func seed(b byte) []byte { return bytes.Repeat([]byte{b}, KeySize) }

// The rule of the sampling, checked against its text for drives of any size.
func TestSampleKeepsItsRule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		blocks := rapid.Int64Range(4000, 1<<40).Draw(rt, "blocks")
		extents, full, err := Sample(blocks, 512, seed(byte(rapid.IntRange(1, 255).Draw(rt, "seed"))))
		if err != nil {
			rt.Fatal(err)
		}
		if full {
			rt.Fatal("sampled in full")
		}
		if first, last := extents[0], extents[len(extents)-1]; first != (Extent{0, 512}) || last != (Extent{(blocks - 1) * 512, 512}) {
			rt.Fatalf("first %v, last %v", first, last)
		}
		if len(extents) != 2002 {
			rt.Fatalf("%d samples", len(extents))
		}
		for i := range int64(1000) {
			from, to := section(i, blocks)*512, section(i+1, blocks)*512
			a, b := extents[1+2*i], extents[2+2*i]
			k := ((to-from)/512 + 19) / 20 * 512
			if a.Length != k || b.Length != k || a.Offset < from || b.End() > to || a.End() > b.Offset {
				rt.Fatalf("section %d [%d, %d): samples %v and %v, want two of %d apart", i, from, to, a, b, k)
			}
		}
		if share := NewSet(extents...).Bytes() * 10; share < blocks*512 {
			rt.Fatalf("%d of %d bytes are sampled, want a tenth", share/10, blocks*512)
		}
	})
}

func TestSmallDrivesAreReadInFull(t *testing.T) {
	for _, blocks := range []int64{1, 3999} {
		extents, full, err := Sample(blocks, 4096, seed(1))
		if err != nil || !full || fmt.Sprint(extents) != fmt.Sprint([]Extent{{0, blocks * 4096}}) {
			t.Fatalf("%d blocks: %v, full %v, %v", blocks, extents, full, err)
		}
	}
	for _, bad := range [][2]int64{{0, 512}, {-1, 512}, {5000, 0}} {
		if _, _, err := Sample(bad[0], int(bad[1]), seed(1)); err == nil {
			t.Fatalf("%v: accepted", bad)
		}
	}
	if _, _, err := Sample(5000, 512, seed(0)); err == nil {
		t.Fatal("an all-zero seed was accepted")
	}
}

// Other seeds, other samples; the same seed, the same samples on any machine: pinned.
func TestSampleIsPinnedBySeed(t *testing.T) {
	a, _, err := Sample(1<<20, 512, seed(1))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := Sample(1<<20, 512, seed(2))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a) == fmt.Sprint(b) {
		t.Fatal("two seeds draw the same samples")
	}
	const want = "[{0 512} {130560 27136} {377344 27136} {605696 27136}]"
	if got := fmt.Sprint(a[:4]); got != want {
		t.Fatalf("seed 01…: %s, want %s", got, want)
	}
}

func TestSets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) (Set, [64]bool) {
			var s Set
			var bits [64]bool
			for range rapid.IntRange(0, 6).Draw(rt, name) {
				e := Extent{int64(rapid.IntRange(0, 60).Draw(rt, "o")), int64(rapid.IntRange(-1, 12).Draw(rt, "l"))}
				e.Length = min(e.Length, 64-e.Offset)
				s.Add(e)
				for i := e.Offset; i < e.End(); i++ {
					bits[i] = true
				}
			}
			return s, bits
		}
		a, inA := draw("a")
		b, inB := draw("b")
		without, both := a.Without(b), a.Intersect(b)
		has := func(s Set, i int64) bool {
			for _, e := range s.Extents() {
				if i >= e.Offset && i < e.End() {
					return true
				}
			}
			return false
		}
		for i := range int64(64) {
			if has(a, i) != inA[i] || has(without, i) != (inA[i] && !inB[i]) || has(both, i) != (inA[i] && inB[i]) {
				rt.Fatalf("byte %d: a %v, b %v, without %v, both %v", i, a, b, without, both)
			}
		}
		for i, e := range a.Extents() {
			if e.Length <= 0 || i > 0 && a.Extents()[i-1].End() >= e.Offset {
				rt.Fatalf("not in normal form: %v", a.Extents())
			}
		}
	})
}
