package sanitize

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// secrets holds the keys of overwrite streams and the passwords of erases. They are in a file of their own, 0600 and on disk
// before first use, and nowhere else: whoever has a key can make the drive's expected content, and
// only with it can an interrupted pass be continued and verified.
type secrets struct {
	name string
	Keys map[string]string `json:"keys"` // pass number to hex key
	// Passwords are those of ATA security erases, by operation number.
	Passwords map[string]string `json:"passwords,omitempty"`
	// PINs are those of TCG authorities, and PSIDs, that a person gave, by operation number.
	PINs map[string]string `json:"pins,omitempty"`
}

// openSecrets reads the file; one that does not exist is empty.
func openSecrets(name string) (*secrets, error) {
	s := &secrets{name: name, Keys: map[string]string{}}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	if err := strict.Decode(data, s); err != nil {
		// The decoder quotes what it found, which may be half a key.
		return nil, fmt.Errorf("read secrets %s: not in the form in which they are written", name)
	}
	return s, nil
}

// key is the key of a pass if it is the one that the journal names.
func (s *secrets) key(pass int, wantSHA256 string) ([]byte, bool) {
	key, err := decodeKey(s.Keys[strconv.Itoa(pass)])
	if err != nil || keyDigest(key) != wantSHA256 {
		return nil, false
	}
	return key, true
}

// newKey draws the key of a pass and returns it when it is on disk.
func (s *secrets) newKey(pass int) ([]byte, error) {
	key := make([]byte, overwrite.KeySize)
	rand.Read(key) // never fails: it ends the process if the kernel has no randomness
	if s.Keys == nil {
		s.Keys = map[string]string{}
	}
	s.Keys[strconv.Itoa(pass)] = hex.EncodeToString(key)
	return key, s.keep(fmt.Sprintf("key of pass %d", pass))
}

// keep puts the secrets on disk.
func (s *secrets) keep(what string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode secrets: %w", err)
	}
	if err := durable.WriteFile(s.name, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep %s: %w", what, err)
	}
	return nil
}

func keyDigest(key []byte) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// decodeKey reads a key or seed in hex; the error does not quote it.
func decodeKey(s string) ([]byte, error) {
	key, err := hex.DecodeString(s)
	if err != nil || len(key) != overwrite.KeySize {
		return nil, fmt.Errorf("not %d bytes in hex", overwrite.KeySize)
	}
	return key, nil
}
