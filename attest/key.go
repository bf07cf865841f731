package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/internal/durable"
)

// The roles of a key. What a simulation's key signs can never pass for the real thing.
const (
	RoleHost       = "host"
	RoleSimulation = "simulation"
)

// Key signs statements and checkpoints. It is made on first use and never leaves its file.
type Key struct {
	ID      string // hex SHA-256 of the SubjectPublicKeyInfo
	Role    string
	private ed25519.PrivateKey
}

// KeyFileError says why a key file is not used. Nothing was signed.
type KeyFileError struct{ File, Problem, Hint string }

func (e *KeyFileError) Error() string { return fmt.Sprintf("key file %s: %s", e.File, e.Problem) }

// LoadOrCreateKey reads the key of a role from a directory, or makes it: Ed25519, PKCS #8 in PEM,
// 0600, with the public key beside it. The error is a *KeyFileError when the file is not as it
// must be.
func LoadOrCreateKey(dir, role string) (*Key, error) {
	name := filepath.Join(dir, role+".pem")
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		if err := createKey(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make signing key: %w", err)
		}
	}
	k, err := loadKey(name, role)
	if err != nil {
		return nil, err
	}
	public := filepath.Join(dir, role+".pub")
	if have, err := os.ReadFile(public); err == nil && bytes.Equal(have, k.PublicPEM()) {
		return k, nil
	}
	return k, durable.WriteFile(public, k.PublicPEM(), 0o644)
}

func createKey(name string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	return durable.CreateFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}

func loadKey(name, role string) (*Key, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, &KeyFileError{name, fmt.Sprintf("is not a file but %v", info.Mode().Type()), "put the key file itself there"}
	case info.Mode().Perm()&0o077 != 0:
		return nil, &KeyFileError{name, fmt.Sprintf("others can read it (mode %04o)", info.Mode().Perm()),
			"if nobody did: chmod 600 " + name + "; otherwise begin a new state directory"}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	const hint = "restore it from a backup; a new key needs a new state directory"
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, &KeyFileError{name, "does not hold one private key in PEM", hint}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	private, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, &KeyFileError{name, "does not hold an Ed25519 key", hint}
	}
	return newKey(private, role), nil
}

func newKey(private ed25519.PrivateKey, role string) *Key {
	k := &Key{Role: role, private: private}
	k.ID = keyID(k.public())
	return k
}

func (k *Key) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// PublicPEM is the public key as a trust file: PEM, with the role in a line before it that other
// programs take for a comment.
func (k *Key) PublicPEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.public())
	if err != nil {
		return nil // an Ed25519 key always marshals
	}
	return append([]byte("# expunge "+k.Role+" key "+k.ID+"\n"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
}
