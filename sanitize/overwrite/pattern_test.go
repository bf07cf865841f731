package overwrite

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os/exec"
	"testing"

	"pgregory.net/rapid"
)

// A stranger regenerates any block with openssl alone.
func TestKeystreamIsOpenSSLs(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed: the keystream cannot be compared with it")
	}
	key := bytes.Repeat([]byte{0xA1, 2}, 16)
	k, err := NewKeystream(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 512, 1 << 20, 1<<36 - 512, 1 << 40, 1<<44 + 1<<12, (1 << 62) + 4096} {
		cmd := exec.CommandContext(t.Context(), openssl, "enc", "-aes-256-ctr", "-K", hex.EncodeToString(key), "-iv", fmt.Sprintf("%032x", off/16))
		cmd.Stdin = bytes.NewReader(make([]byte, 1000))
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1000)
		k.Fill(got, off)
		if !bytes.Equal(got, want) {
			t.Fatalf("keystream at %d differs from openssl's", off)
		}
	}
	if _, err := NewKeystream(make([]byte, KeySize)); err == nil {
		t.Fatal("an all-zero key was accepted")
	}
	if _, err := NewKeystream(key[:16]); err == nil {
		t.Fatal("a short key was accepted")
	}
}

// Any part of a pattern is the same however it is cut: resuming and verifying depend on it.
func TestPatternsAreFunctionsOfTheOffset(t *testing.T) {
	unit, err := hex.DecodeString("924924")
	if err != nil {
		t.Fatal(err)
	}
	three, err := NewRepeating(unit)
	if err != nil {
		t.Fatal(err)
	}
	one, err := NewRepeating([]byte{0x55})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]Pattern{"keystream": anyStream(t), "three bytes": three, "one byte": one} {
		t.Run(name, func(t *testing.T) {
			whole := expect(p, 5000)
			rapid.Check(t, func(rt *rapid.T) {
				off := rapid.IntRange(0, 4999).Draw(rt, "off")
				n := rapid.IntRange(0, 5000-off).Draw(rt, "n")
				part := make([]byte, n)
				p.Fill(part, int64(off))
				if !bytes.Equal(part, whole[off:off+n]) {
					rt.Fatalf("bytes %d+%d differ from the same bytes of the whole", off, n)
				}
				if !p.Equal(part, int64(off)) {
					rt.Fatalf("bytes %d+%d are not what was filled in", off, n)
				}
				if n == 0 {
					return
				}
				at, bit := rapid.IntRange(0, n-1).Draw(rt, "at"), rapid.IntRange(0, 7).Draw(rt, "bit")
				part[at] ^= 1 << bit
				if p.Equal(part, int64(off)) {
					rt.Fatalf("bytes %d+%d: bit %d of byte %d was overlooked", off, n, bit, at)
				}
			})
		})
	}
	if want := []byte{0x92, 0x49, 0x24, 0x92}; !bytes.Equal(expect(three, 4), want) {
		t.Fatalf("three-byte pattern begins %x", expect(three, 4))
	}
}
