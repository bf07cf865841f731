package keystream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"os"
	"os/exec"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

var testKey = bytes.Repeat([]byte{0xA1, 2, 0x5c, 0xff}, 8)

// reference makes the stream as the package's comment says it, block by block.
func reference(t testing.TB, off int64, n int) []byte {
	t.Helper()
	c, err := aes.NewCipher(testKey)
	if err != nil {
		t.Fatal(err)
	}
	var stream []byte
	number := big.NewInt(off / 16)
	for skip := int(off % 16); len(stream) < skip+n; number.Add(number, big.NewInt(1)) {
		var b [16]byte
		c.Encrypt(b[:], number.FillBytes(b[:]))
		stream = append(stream, b[:]...)
	}
	return stream[off%16:][:n]
}

// each runs a test with every implementation, or says which this CPU lacks.
func each(t *testing.T, do func(t *testing.T, s *Stream)) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			s := using(t, name, testKey)
			if s.Implementation() != name {
				t.Fatalf("asked for %s, got %s", name, s.Implementation())
			}
			do(t, s)
		})
	}
}

// offsets are where the last one, two, four bytes of the counter carry, and far beyond 2^40 and any
// drive. The upper half of the counter is always 0: no position has a block number of 2^64.
var offsets = []int64{
	0, 16, 512, 4096 - 512, 4096 - 16, 1<<20 - 1024, 1<<36 - 512, 1<<40 + 4096, 1<<44 + 3, 1<<52 - 16, 1<<62 + 4096, math.MaxInt64 - 5000,
}

func TestStreamIsAESInCounterMode(t *testing.T) {
	each(t, func(t *testing.T, s *Stream) {
		for _, off := range offsets {
			for _, n := range []int{0, 1, 15, 16, 17, 256, 511, 512, 513, 1024, 4096, 4999} {
				got := make([]byte, n)
				s.Fill(got, off)
				if !bytes.Equal(got, reference(t, off, n)) {
					t.Fatalf("%d bytes at %d differ from AES", n, off)
				}
			}
		}
	})
}

// A stranger regenerates any block with openssl alone.
func TestStreamIsOpenSSLs(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: the keystream cannot be compared with it")
	}
	each(t, func(t *testing.T, s *Stream) {
		for _, off := range []int64{0, 1<<36 - 512, 1 << 40, 1<<44 - 4096, 1<<62 + 4096} {
			cmd := exec.CommandContext(t.Context(), openssl, "enc", "-aes-256-ctr", "-K", hex.EncodeToString(testKey), "-iv", fmt.Sprintf("%032x", off/16))
			cmd.Stdin = bytes.NewReader(make([]byte, 5000))
			want, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(want))
			s.Fill(got, off)
			if !bytes.Equal(got, want) {
				t.Fatalf("keystream at %d differs from openssl's", off)
			}
		}
	})
}

// However it is cut, and wherever in memory it goes, it is the same stream, and nothing beside it is
// written.
func TestPiecesAreTheWhole(t *testing.T) {
	each(t, func(t *testing.T, s *Stream) {
		rapid.Check(t, func(rt *rapid.T) {
			off := rapid.OneOf(rapid.Int64Range(0, 1<<13), rapid.Int64Range(1<<40, math.MaxInt64-(1<<14))).Draw(rt, "off")
			n := rapid.IntRange(0, 1<<14).Draw(rt, "n")
			shift := rapid.IntRange(0, 64).Draw(rt, "shift")
			whole, pieces := make([]byte, n), make([]byte, shift+n+64)
			s.Fill(whole, off)
			for at := 0; at < n; {
				piece := rapid.IntRange(1, n-at).Draw(rt, "piece")
				p := pieces[shift+at : shift+at+piece]
				s.Fill(p, off+int64(at))
				if !s.Equal(p, off+int64(at)) {
					rt.Fatalf("%d bytes at %d are not what they were made", piece, off+int64(at))
				}
				at += piece
			}
			if !bytes.Equal(pieces[shift:shift+n], whole) {
				rt.Fatalf("pieces of %d bytes at %d differ from the whole", n, off)
			}
			if n := bytes.Count(pieces[:shift], []byte{0}) + bytes.Count(pieces[shift+n:], []byte{0}); n != shift+64 {
				rt.Fatal("bytes beside the stream were written")
			}
		})
	})
}

// More than one call of assembly makes.
func TestLongStreams(t *testing.T) {
	each(t, func(t *testing.T, s *Stream) {
		const off, n = 1<<40 + 100, 2*maxRun + 777
		p := make([]byte, n)
		s.Fill(p, off)
		for at := 0; at < n; at += 100_000 {
			end := min(at+1000, n)
			if !bytes.Equal(p[at:end], reference(t, off+int64(at), end-at)) {
				t.Fatalf("bytes from %d on differ from AES", at)
			}
		}
		if !s.Equal(p, off) {
			t.Fatal("a long stream differs from itself")
		}
		p[n-1] ^= 1
		if s.Equal(p, off) {
			t.Fatal("the last bit of a long stream was overlooked")
		}
	})
}

// A bit that is overlooked is data that is called overwritten.
func TestEqualSeesEveryBit(t *testing.T) {
	each(t, func(t *testing.T, s *Stream) {
		for _, c := range []struct {
			off   int64
			n     int
			shift int // of the buffer
		}{{1 << 40, 4096, 0}, {512, 4096, 1}, {0, 1, 0}, {0, 15, 3}, {100, 257, 0}, {1<<36 - 8, 16, 5}, {4095, 513, 0}, {1 << 20, 1039, 7}} {
			p := make([]byte, c.shift+c.n)[c.shift:]
			s.Fill(p, c.off)
			if !s.Equal(p, c.off) {
				t.Fatalf("%d bytes at %d are not what they were made", c.n, c.off)
			}
			for at := range p {
				for bit := range 8 {
					p[at] ^= 1 << bit
					if s.Equal(p, c.off) {
						t.Fatalf("%d bytes at %d: bit %d of byte %d was overlooked", c.n, c.off, bit, at)
					}
					p[at] ^= 1 << bit
				}
			}
			if s.Equal(p, c.off+16) {
				t.Fatalf("%d bytes at %d pass for those 16 bytes on", c.n, c.off)
			}
		}
	})
}

func TestKeysAreChecked(t *testing.T) {
	for name, key := range map[string][]byte{"zero": make([]byte, KeySize), "short": testKey[:16], "long": append(testKey[:32:32], 1), "none": nil} {
		if _, err := New(key); err == nil {
			t.Errorf("%s key was accepted", name)
		}
	}
	if _, err := NewUsing("rot13", testKey); err == nil {
		t.Error("an implementation that does not exist was found")
	}
}

// FIPS 197, A.3: the first, a middle and the last words of the expanded key.
func TestKeyExpansion(t *testing.T) {
	key, err := hex.DecodeString("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
	if err != nil {
		t.Fatal(err)
	}
	keys := expandKey([KeySize]byte(key))
	for round, want := range map[int]string{
		0: "603deb1015ca71be2b73aef0857d7781", 1: "1f352c073b6108d72d9810a30914dff4", 2: "9ba354118e6925afa51a8b5f2067fcde",
		3: "a8b09c1a93d194cdbe49846eb75d5b9a", 13: "cafaaae3e4d59b349adf6acebd10190d", 14: "fe4890d1e6188d0b046df344706c631e",
	} {
		if got := hex.EncodeToString(keys[round][:]); got != want {
			t.Errorf("round key %d is %s, want %s", round, got, want)
		}
	}
}

// An implementation that is wrong anywhere is not used, and the others are.
func TestWrongImplementationsAreNotUsed(t *testing.T) {
	// One that is right, on any CPU.
	fill := func(s *schedule, dst []byte, block uint64) {
		c, err := aes.NewCipher(slices.Concat(s.keys[0][:], s.keys[1][:])) // a key begins its expansion
		if err != nil {
			return
		}
		var counter [16]byte
		for i := range 8 {
			counter[15-i] = byte(block >> (8 * i))
		}
		clear(dst)
		cipher.NewCTR(c, counter[:]).XORKeyStream(dst, dst)
	}
	equal := func(s *schedule, p []byte, block uint64) bool {
		want := make([]byte, len(p))
		fill(s, want, block)
		return bytes.Equal(p, want)
	}
	good := vector{"good", 256, fill, equal}
	bad := func(name string, change func(v *vector)) vector {
		v := good
		v.name = name
		change(&v)
		return v
	}
	wrong := []vector{
		bad("fills zeros", func(v *vector) { v.fill = func(_ *schedule, dst []byte, _ uint64) { clear(dst) } }),
		bad("fills nothing", func(v *vector) { v.fill = func(*schedule, []byte, uint64) {} }),
		bad("says always yes", func(v *vector) { v.equal = func(*schedule, []byte, uint64) bool { return true } }),
		bad("says always no", func(v *vector) { v.equal = func(*schedule, []byte, uint64) bool { return false } }),
		bad("counts in 32 bits", func(v *vector) {
			v.fill = func(s *schedule, dst []byte, block uint64) { fill(s, dst, block&0xffffffff) }
			v.equal = func(s *schedule, p []byte, block uint64) bool { return equal(s, p, block&0xffffffff) }
		}),
		bad("overlooks the last byte", func(v *vector) {
			v.equal = func(s *schedule, p []byte, block uint64) bool {
				want := bytes.Clone(p)
				fill(s, want, block)
				return bytes.Equal(want[:len(want)-1], p[:len(p)-1])
			}
		}),
	}
	list := right(append(wrong, good))
	if len(list) != 1 || list[0].name != "good" {
		var names []string
		for _, v := range list {
			names = append(names, v.name)
		}
		t.Fatalf("trusted are %q, want good alone", names)
	}
	// What this CPU has is right, and preferred.
	if has := vectors(); len(has) > 0 {
		if s, err := New(testKey); err != nil || s.Implementation() != has[0].name {
			t.Fatalf("New takes %s, %v; the CPU has %s", s.Implementation(), err, has[0].name)
		}
	}
}

// Nobody changes assembly by hand: both widths come of one description that is tested for both.
func TestAssemblyIsWhatTheGeneratorPrints(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command: the generator cannot be run")
	}
	cmd := exec.CommandContext(t.Context(), goTool, "run", "-C", "../../tools", "./keystream")
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	want, err := cmd.Output()
	if err != nil {
		t.Fatalf("run the generator: %v: %s", err, &stderr)
	}
	if got, err := os.ReadFile("vaes_amd64.s"); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("vaes_amd64.s is not what tools/keystream prints (%v): go generate writes it", err)
	}
}
