package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
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

// Key signs. Where the private half is — in a file, behind a socket, in hardware — is the Signer's
// business.
type Key struct {
	Public
	Role   string
	signer crypto.Signer
}

// NewKey is the key of a signer: Ed25519 or P-256.
func NewKey(signer crypto.Signer, role string) (*Key, error) {
	public, err := NewPublic(signer.Public())
	if err != nil {
		return nil, err
	}
	if public.Alg == MLDSA44 {
		return nil, errors.New("an ML-DSA-44 key signs checkpoints only")
	}
	return &Key{public, role, signer}, nil
}

// Sign signs a message in the one form that is taken, and has looked at what came back: a signer that
// is not the one it was taken for is found out here.
func (k *Key) Sign(message []byte) ([]byte, error) {
	input, hash := message, crypto.Hash(0)
	if k.Alg == P256 {
		digest := sha256.Sum256(message)
		input, hash = digest[:], crypto.SHA256
	}
	sig, err := k.signer.Sign(rand.Reader, input, hash)
	if err == nil && k.Alg == P256 {
		sig, err = lowS(sig)
	}
	if err != nil {
		return nil, fmt.Errorf("sign with %s key %.16s…: %w", k.Role, k.ID, err)
	}
	if !k.verifies(message, sig) {
		return nil, fmt.Errorf("sign with %s key %.16s…: what the signer returned is no signature of this key", k.Role, k.ID)
	}
	return sig, nil
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
		if err := CreateKeyFile(name, Ed25519); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make signing key: %w", err)
		}
	}
	k, err := LoadKeyFile(name, role)
	if err != nil {
		return nil, err
	}
	return k, k.KeepPublic(dir)
}

// KeepPublic writes the public key of a directory's key beside it, as a trust file.
func (k *Key) KeepPublic(dir string) error {
	public := filepath.Join(dir, k.Role+".pub")
	if have, err := os.ReadFile(public); err == nil && bytes.Equal(have, k.PublicPEM()) {
		return nil
	}
	return durable.WriteFile(public, k.PublicPEM(), 0o644)
}

// CreateKeyFile makes a new key in a file that is not there yet: PKCS #8 in PEM, 0600.
func CreateKeyFile(name string, alg Alg) error {
	text, err := NewPrivatePEM(alg)
	if err != nil {
		return err
	}
	return durable.CreateFile(name, text, 0o600)
}

// NewPrivatePEM makes a new key, Ed25519 or P-256, and encodes it: PKCS #8 in PEM.
func NewPrivatePEM(alg Alg) ([]byte, error) {
	private, err := generate(alg)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func generate(alg Alg) (crypto.Signer, error) {
	switch alg {
	case Ed25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case P256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	return nil, fmt.Errorf("%q signs no statements: Ed25519 and P-256 do", alg)
}

// restore is what to do about a damaged key file.
const restore = "restore it from a backup; a new key needs a new state directory"

// LoadKeyFile reads a private key that only its owner can read.
func LoadKeyFile(name, role string) (*Key, error) {
	data, err := ReadKeyFile(name)
	if err != nil {
		return nil, err
	}
	return ParsePrivatePEM(name, data, role)
}

// ParsePrivatePEM reads one private key, of a file of that name. The error is a *KeyFileError.
func ParsePrivatePEM(name string, data []byte, role string) (*Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, &KeyFileError{name, "does not hold one private key in PEM", restore}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, &KeyFileError{name, "does not hold an Ed25519 or P-256 key", restore}
	}
	k, err := NewKey(signer, role)
	if err != nil {
		return nil, &KeyFileError{name, "does not hold an Ed25519 or P-256 key", restore}
	}
	return k, nil
}

// ReadKeyFile reads a file of secrets, unless others can too. The error is a *KeyFileError when they can, or when it
// is no file.
func ReadKeyFile(name string) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, &KeyFileError{name, fmt.Sprintf("is not a file but %v", info.Mode().Type()), "put the key file itself there"}
	case info.Mode().Perm()&0o077 != 0:
		return nil, &KeyFileError{name, fmt.Sprintf("others can read it (mode %04o)", info.Mode().Perm()),
			"if nobody did: chmod 600 " + name + "; otherwise begin a new state directory"}
	case info.Size() > MaxSize:
		return nil, &KeyFileError{name, fmt.Sprintf("has %d bytes", info.Size()), restore}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return data, nil
}

// PublicPEM is the public key as a trust file: PEM, with the role in a line before it that other
// programs take for a comment.
func (k *Key) PublicPEM() []byte { return k.PEM(k.Role) }

// PEM is the key as a trust file, limited to a role.
func (p Public) PEM(role string) []byte {
	return append([]byte("# expunge "+role+" key "+p.ID+"\n"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.spki})...)
}
