package keystream

import (
	"bytes"
	"testing"
)

// names are all implementations; a CPU may lack some.
var names = []string{"vaes-512", "vaes-256", "crypto/aes"}

func using(t testing.TB, name string, key []byte) *Stream {
	t.Helper()
	if name == "crypto/aes" || contains(vectors(), name) {
		s, err := NewUsing(name, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	t.Skipf("this CPU lacks %s: only the interpreter of tools/keystream runs it here", name)
	return nil
}

func contains(list []vector, name string) bool {
	for _, v := range list {
		if v.name == name {
			return true
		}
	}
	return false
}

// Requests of 1 MiB in turn over 64 MiB: more than caches hold, as with many drives.
func benchmark(b *testing.B, do func(b *testing.B, s *Stream, p []byte, off int64)) {
	const request = 1 << 20
	memory := make([]byte, 64*request)
	key := bytes.Repeat([]byte{7}, KeySize)
	stream, err := New(key)
	if err != nil {
		b.Fatal(err)
	}
	stream.Fill(memory, 0)
	for _, name := range names {
		b.Run(name, func(b *testing.B) {
			s := using(b, name, key)
			b.SetBytes(request)
			at := 0
			for b.Loop() {
				do(b, s, memory[at:at+request], int64(at))
				at = (at + request) % len(memory)
			}
		})
	}
}

func BenchmarkFill(b *testing.B) {
	benchmark(b, func(_ *testing.B, s *Stream, p []byte, off int64) { s.Fill(p, off) })
}

func BenchmarkEqual(b *testing.B) {
	benchmark(b, func(b *testing.B, s *Stream, p []byte, off int64) {
		if !s.Equal(p, off) {
			b.Fatal("the stream differs from itself")
		}
	})
}
