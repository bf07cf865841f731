package sanitize

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys are on disk before use, private, and never in an error.
func TestSecrets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secrets")
	s, err := openSecrets(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.newKey(1)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	again, err := openSecrets(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := again.key(1, keyDigest(key)); !ok || !bytes.Equal(got, key) {
		t.Fatal("the key is not the same after reading")
	}
	if _, ok := again.key(1, keyDigest(make([]byte, 32))); ok {
		t.Fatal("another key than the journal's was given out")
	}
	if _, ok := again.key(2, keyDigest(key)); ok {
		t.Fatal("the key of another pass was given out")
	}
	damaged := fmt.Appendf(nil, `{"keys":{"1":"%x`, key)
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSecrets(name); err == nil || strings.Contains(err.Error(), fmt.Sprintf("%x", key[:4])) {
		t.Fatalf("damaged secrets: %v", err)
	}
}
