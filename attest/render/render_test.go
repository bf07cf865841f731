package render

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func sha256Hex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func noteSigner(name string) (note.Signer, error) {
	public := append([]byte{1}, fixedKey.Public().(ed25519.PublicKey)...)
	h := sha256.New()
	h.Write([]byte(name + "\n"))
	h.Write(public)
	id := binary.BigEndian.Uint32(h.Sum(nil))
	return note.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, id, base64.StdEncoding.EncodeToString(append([]byte{1}, fixedKey.Seed()...))))
}

func TestLeave(t *testing.T) {
	dir := os.Getenv("RENDER_OUT")
	if dir == "" {
		t.Skip()
	}
	for name, change := range samples {
		f := sample(t, change)
		pdf, err := f.PDF()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sealed, err := Seal(pdf, f.bundle, signNote)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			sealed = pdf
		}
		fmt.Println(name, len(pdf), len(sealed)-len(pdf), len(f.bundle))
		os.WriteFile(filepath.Join(dir, name+".pdf"), sealed, 0o644)
		page, err := f.HTML()
		if err != nil {
			t.Error(err)
		}
		os.WriteFile(filepath.Join(dir, name+".html"), page, 0o644)
	}
}
