package overwrite

import (
	"context"
	"testing"

	"github.com/expunge-dev/expunge/devices/blockio"
)

// sink is a drive of infinite speed: what is left is what we cost.
type sink struct {
	pattern Pattern // what reads return
	held    []blockio.Completion
}

func (s *sink) Depth() int   { return 9 }
func (s *sink) Close() error { return nil }

func (s *sink) Submit(r blockio.Request) error {
	if s.pattern != nil && r.Op == blockio.Read {
		s.pattern.Fill(r.Data, r.Offset)
	}
	s.held = append(s.held, blockio.Completion{Tag: r.Tag, N: len(r.Data)})
	return nil
}

func (s *sink) Complete(_ context.Context, done []blockio.Completion) (int, error) {
	n := copy(done, s.held)
	s.held = append(s.held[:0], s.held[n:]...)
	return n, nil
}

const benchSize = 256 << 20

func benchmark(b *testing.B, p Pattern, work func(context.Context, blockio.Queue, []Extent, Pattern, Options) error) {
	b.SetBytes(benchSize)
	for b.Loop() {
		if err := work(b.Context(), &sink{pattern: p}, []Extent{{0, benchSize}}, p, Options{Block: 4096}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFillZeros(b *testing.B)      { benchmark(b, Repeating{[]byte{0}}, Fill) }
func BenchmarkFillThreeBytes(b *testing.B) { benchmark(b, Repeating{[]byte{0x92, 0x49, 0x24}}, Fill) }
func BenchmarkFillKeystream(b *testing.B)  { benchmark(b, anyStream(b), Fill) }

// BenchmarkCheckZeros writes zeros as the drive, and compares.
func BenchmarkCheckZeros(b *testing.B) { benchmark(b, Repeating{[]byte{0}}, Check) }

// BenchmarkCheckKeystream makes the stream twice: once as the drive, once to compare.
func BenchmarkCheckKeystream(b *testing.B) { benchmark(b, anyStream(b), Check) }
