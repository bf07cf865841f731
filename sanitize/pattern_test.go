package sanitize

import (
	"bytes"
	"testing"

	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// What is written to a node at its addresses must be what is compared there: a drive of several
// nodes would otherwise prove one with the pattern of another, or none at all.
func TestPatternsOfNodesCompareWhatTheyFill(t *testing.T) {
	whole, err := overwrite.NewKeystream(bytes.Repeat([]byte{9}, overwrite.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	const base = 1 << 30
	marker, err := newMarkerPattern([]byte("seed"), base)
	if err != nil {
		t.Fatal(err)
	}
	first := marker
	first.base = 0
	for name, p := range map[string]struct{ here, first overwrite.Pattern }{
		"overwrite": {overwrite.Shifted(whole, base), overwrite.Shifted(whole, 0)},
		"markers":   {marker, first},
	} {
		t.Run(name, func(t *testing.T) {
			got, same := make([]byte, 4096), make([]byte, 4096)
			p.here.Fill(got, 512)
			p.first.Fill(same, base+512)
			if !bytes.Equal(got, same) || !p.here.Equal(got, 512) {
				t.Fatal("what was filled in is not the drive's pattern at the node's address")
			}
			if p.first.Equal(got, 512) {
				t.Fatal("another node's pattern passes for it")
			}
		})
	}
}
