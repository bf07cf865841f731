// Package keystore opens the keys that sign: private keys in files, as they are or encrypted with age, and keys of
// another program behind a socket. Each is a crypto.Signer, which is all that attest wants of it; a key in a TPM or
// behind PKCS #11 would be one more kind of file here.
//
// A state has one key of a role, in exactly one file: ROLE.pem (PKCS #8), ROLE.age (the same, encrypted by a
// passphrase or to recipients) or ROLE.signer (where the other program is, and which key it has). Whatever is wrong
// with it is found when it is opened, before a drive is touched. A verifier links nothing of this.
package keystore

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/expunge-dev/expunge/attest"
)

// Kind is how a key is kept: the extension of its file.
type Kind string

// The kinds.
const (
	PEM    Kind = "pem"
	Age    Kind = "age"
	Signer Kind = "signer"
)

var kinds = []Kind{PEM, Age, Signer}

// Unlock is how encrypted key files are opened. The zero value opens none.
type Unlock struct {
	// Passphrase gets the passphrase of a file. nil: there is none.
	Passphrase func(file string) (string, error)
	// Identities is a file of age identities, for keys that are encrypted to recipients.
	Identities string
}

// Store has the key of a role in a directory. Its methods may be called from several goroutines.
type Store struct {
	Dir, Role string
	Unlock    Unlock

	mu     sync.Mutex
	opened map[[32]byte]*attest.Key // by the file's contents: a passphrase is asked for once, a signer tried once
}

// Open opens the key, which is made as a PEM file on first use: Ed25519, with the public key beside it. The error is an
// *attest.KeyFileError when the file is not as it must be, cannot be opened, or there are two.
func (s *Store) Open() (*attest.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, err := Find(s.Dir, s.Role)
	if err != nil {
		return nil, err
	}
	if name == "" {
		if err := neverHad(s.Dir, s.Role); err != nil {
			return nil, err
		}
		return attest.LoadOrCreateKey(s.Dir, s.Role)
	}
	data, err := attest.ReadKeyFile(name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	k := s.opened[sum]
	if k == nil {
		if k, err = open(name, data, s.Role, s.Unlock); err != nil {
			return nil, err
		}
		if s.opened == nil {
			s.opened = map[[32]byte]*attest.Key{}
		}
		s.opened[sum] = k
	}
	return k, k.KeepPublic(s.Dir)
}

// Find is the file of the key of a role, "" when there is none. The error is an *attest.KeyFileError when there are two.
func Find(dir, role string) (string, error) {
	found := ""
	for _, kind := range kinds {
		name := filepath.Join(dir, role+"."+string(kind))
		_, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return "", fmt.Errorf("find key: %w", err)
		case found != "":
			return "", &attest.KeyFileError{File: name, Problem: filepath.Base(found) + " is there, too, and only one of them can be the key",
				Hint: "a rotation that was cut off leaves both: take away the one whose public key is not in " + role + ".pub"}
		default:
			found = name
		}
	}
	return found, nil
}

// neverHad refuses to make a key where there was one: a new key in place of a lost one is a decision.
func neverHad(dir, role string) error {
	name := filepath.Join(dir, role+".pub")
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("find key: %w", err)
	}
	return &attest.KeyFileError{File: filepath.Join(dir, role+".pem"), Problem: "is not there, and " + filepath.Base(name) + " is: the private key was lost or moved",
		Hint: "restore it from a backup; or move " + name + " to another name ending in .pub, and: expunge key init"}
}

// KindOf is how a file keeps its key, by its extension. What ends otherwise is taken for PEM.
func KindOf(name string) Kind {
	switch k := Kind(strings.TrimPrefix(filepath.Ext(name), ".")); k {
	case Age, Signer:
		return k
	}
	return PEM
}

// OpenFile opens the key of a file, of which kind its extension says.
func OpenFile(name, role string, u Unlock) (*attest.Key, error) {
	data, err := attest.ReadKeyFile(name)
	if err != nil {
		return nil, err
	}
	return open(name, data, role, u)
}

func open(name string, data []byte, role string, u Unlock) (*attest.Key, error) {
	switch KindOf(name) {
	case Age:
		text, err := decrypt(name, data, u)
		if err != nil {
			return nil, err
		}
		return attest.ParsePrivatePEM(name, text, role)
	case Signer:
		return openSigner(name, data, role)
	}
	return attest.ParsePrivatePEM(name, data, role)
}
