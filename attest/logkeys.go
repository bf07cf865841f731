package attest

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/internal/durable"
)

// publicKeys is the file beside a log's tree with every key that its statements and checkpoints are
// checked with. A key is taken from it by its hash, which the statements name: what else is in the file
// says nothing.
const publicKeys = "keys.pem"

// parsePublicKeys reads public keys in PEM, by id.
func parsePublicKeys(data []byte) (map[string]Public, error) {
	keys := map[string]Public{}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			return nil, fmt.Errorf("a %q is no public key", block.Type)
		}
		key, err := ParsePublic(block.Bytes)
		if err != nil {
			return nil, err
		}
		keys[key.ID] = key
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		return nil, errors.New("a PEM block is damaged")
	}
	return keys, nil
}

// keepPublicKey puts a key into the file, unless it is there.
func (l *Log) keepPublicKey(keys ...Public) error {
	name := filepath.Join(l.dir, publicKeys)
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read keys of the log: %w", err)
	}
	have, err := parsePublicKeys(data)
	if err != nil {
		return &LogError{l.dir, publicKeys + ": " + err.Error()}
	}
	before := len(data)
	for _, k := range keys {
		if _, known := have[k.ID]; !known {
			data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})...)
		}
	}
	if len(data) == before {
		return nil
	}
	return durable.WriteFile(name, data, 0o644)
}

func (l *Log) publicKey(id string) (Public, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, publicKeys))
	if err != nil {
		return Public{}, fmt.Errorf("read keys of the log: %w", err)
	}
	keys, err := parsePublicKeys(data)
	if err != nil {
		return Public{}, &LogError{l.dir, publicKeys + ": " + err.Error()}
	}
	key, known := keys[id]
	if !known {
		return Public{}, &LogError{l.dir, fmt.Sprintf("%s does not have key %.16s…", publicKeys, id)}
	}
	return key, nil
}
