package overwrite

import (
	"fmt"
	"testing"
)

// contradictory says of the whole that it differs, and of every block that it does not.
type contradictory struct{ Pattern }

func (c contradictory) Equal(p []byte, off int64) bool {
	return len(p) <= 512 && c.Pattern.Equal(p, off)
}

// A request of which no block can be named as wrong is wrong as a whole: it is never taken as proven.
func TestDifferenceIsNeverLost(t *testing.T) {
	p := contradictory{anyStream(t)}
	var wrong Set
	err := Check(t.Context(), &sink{pattern: p}, []Extent{{0, 8 << 20}}, p, Options{Block: 512, Commit: func(g Progress) error {
		wrong.Add(g.Mismatch...)
		return nil
	}})
	if err != nil || wrong.Bytes() != 8<<20 {
		t.Fatalf("%d bytes were found wrong (%v), want all 8 MiB", wrong.Bytes(), err)
	}
}

// The first, the last and a middle byte of requests of many blocks: exactly their blocks are named.
func TestEveryWrongBlockIsNamed(t *testing.T) {
	for name, p := range map[string]Pattern{"keystream": anyStream(t), "zeros": Repeating{[]byte{0}}, "three bytes": Repeating{[]byte{0x92, 0x49, 0x24}}} {
		t.Run(name, func(t *testing.T) {
			const size, block = 3 << 20, 520 // blocks that are no multiple of what a cipher makes
			whole := size / block * block
			bad := []int{0, block - 1, 700*block + 17, 2000 * block, whole - 1}
			var wrong, want Set
			for _, at := range bad {
				want.Add(Extent{int64(at / block * block), block})
			}
			err := Check(t.Context(), &sink{pattern: flipped{p, bad}}, []Extent{{0, int64(whole)}}, p, Options{Block: block, Commit: func(g Progress) error {
				wrong.Add(g.Mismatch...)
				return nil
			}})
			if err != nil || fmt.Sprint(wrong.Extents()) != fmt.Sprint(want.Extents()) {
				t.Fatalf("wrong are %v (%v), want %v", wrong.Extents(), err, want.Extents())
			}
		})
	}
}

// flipped is a pattern but for one bit of some bytes.
type flipped struct {
	Pattern
	at []int
}

func (f flipped) Fill(p []byte, off int64) {
	f.Pattern.Fill(p, off)
	for _, at := range f.at {
		if i := int64(at) - off; i >= 0 && i < int64(len(p)) {
			p[i] ^= 4
		}
	}
}
