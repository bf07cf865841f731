package keystore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/durable"
)

// Options say how a new key is made and kept.
type Options struct {
	Alg        attest.Alg // Ed25519 when it is ""
	Passphrase string     // age, by a passphrase
	Recipients []string   // age, to recipients: "age1…" or the text of a file of them
	// Socket has the key in another program: the absolute path of its socket. SignerKey is the public key in PEM.
	Socket    string
	SignerKey []byte
}

// Kind is how a key with these options is kept.
func (o Options) Kind() Kind {
	switch {
	case o.Socket != "":
		return Signer
	case o.Passphrase != "" || len(o.Recipients) > 0:
		return Age
	}
	return PEM
}

// material makes a key, and the contents of its file. The private half is nowhere else.
func (o Options) material(name, role string) ([]byte, *attest.Key, error) {
	if o.Socket != "" {
		if o.Alg != "" || o.Passphrase != "" || len(o.Recipients) > 0 {
			return nil, nil, errors.New("the key of a signer is made and kept by it: neither algorithm, passphrase nor recipient can be chosen")
		}
		data, err := json.MarshalIndent(SignerFile{PublicKey: string(o.SignerKey), Schema: SignerSchema, Socket: o.Socket}, "", "  ")
		if err != nil {
			return nil, nil, err
		}
		k, err := openSigner(name, data, role)
		return append(data, '\n'), k, err
	}
	alg := o.Alg
	if alg == "" {
		alg = attest.Ed25519
	}
	text, err := attest.NewPrivatePEM(alg)
	if err != nil {
		return nil, nil, err
	}
	k, err := attest.ParsePrivatePEM(name, text, role)
	if err == nil && o.Kind() == Age {
		text, err = encrypt(text, o)
	}
	return text, k, err
}

// ErrKeyThere: there is a key already, and nothing was made.
var ErrKeyThere = errors.New("there is a key already")

// Init makes the first key of a role in a directory. The error is ErrKeyThere when there is one.
func Init(dir, role string, o Options) (*attest.Key, error) {
	lock, err := durable.WaitLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	k, err := initial(dir, role, o)
	return k, errors.Join(err, lock.Unlock())
}

func initial(dir, role string, o Options) (*attest.Key, error) {
	have, err := Find(dir, role)
	if err != nil {
		return nil, err
	}
	if have != "" {
		return nil, fmt.Errorf("%s: %w", have, ErrKeyThere)
	}
	if err := neverHad(dir, role); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, role+"."+string(o.Kind()))
	data, k, err := o.material(name, role)
	if err != nil {
		return nil, err
	}
	if err := durable.CreateFile(name, data, 0o600); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%s: %w", name, ErrKeyThere)
		}
		return nil, err
	}
	return k, k.KeepPublic(dir)
}

// Create makes a key in a file of its own, whose extension must be that of its kind, and the public key beside it. The
// error is ErrKeyThere when either is there.
func Create(name, role string, o Options) (k *attest.Key, public string, err error) {
	if KindOf(name) != o.Kind() || o.Kind() == PEM && filepath.Ext(name) != ".pem" {
		return nil, "", fmt.Errorf("%s: such a key is kept in a file that ends in .%s", name, o.Kind())
	}
	public = strings.TrimSuffix(name, filepath.Ext(name)) + ".pub"
	for _, n := range []string{name, public} {
		if _, err := os.Lstat(n); err == nil {
			return nil, "", fmt.Errorf("%s: %w", n, ErrKeyThere)
		}
	}
	data, k, err := o.material(name, role)
	if err != nil {
		return nil, "", err
	}
	return k, public, errors.Join(durable.CreateFile(name, data, 0o600), durable.CreateFile(public, k.PublicPEM(), 0o644))
}

// Rotated is what a rotation did.
type Rotated struct {
	Old     attest.Public
	New     *attest.Key
	Retired string // the old key's file, as it was
}

// Rotate puts a new key in the place of the one that a directory has. The old file is kept beside it as
// ROLE-ID.retired, its public key as ROLE-ID.pub, ID being the first 8 digits of the key's. Nothing needs the old private key
// any more. A cut at any moment leaves the old key, the new one, or both, which Find refuses.
func (s *Store) Rotate(o Options) (Rotated, error) {
	old, err := s.Open() // nobody rotates a key that he cannot use
	if err != nil {
		return Rotated{}, err
	}
	lock, err := durable.WaitLock(filepath.Join(s.Dir, "lock"))
	if err != nil {
		return Rotated{}, err
	}
	r, err := s.rotate(old, o)
	return r, errors.Join(err, lock.Unlock())
}

func (s *Store) rotate(old *attest.Key, o Options) (Rotated, error) {
	from, err := Find(s.Dir, s.Role)
	if err != nil {
		return Rotated{}, err
	}
	to := filepath.Join(s.Dir, s.Role+"."+string(o.Kind()))
	data, k, err := o.material(to, s.Role)
	if err != nil {
		return Rotated{}, err
	}
	if k.ID == old.ID {
		return Rotated{}, errors.New("the new key is the old one")
	}
	base := filepath.Join(s.Dir, s.Role+"-"+old.ID[:8])
	was, err := attest.ReadKeyFile(from)
	if err != nil {
		return Rotated{}, err
	}
	if err := errors.Join(durable.WriteFile(base+".pub", old.PublicPEM(), 0o644), durable.WriteFile(base+".retired", was, 0o600)); err != nil {
		return Rotated{}, err
	}
	if to == from {
		err = durable.WriteFile(to, data, 0o600)
	} else if err = durable.CreateFile(to, data, 0o600); err == nil {
		err = errors.Join(os.Remove(from), durable.SyncDir(s.Dir))
	}
	return Rotated{old.Public, k, base + ".retired"}, errors.Join(err, k.KeepPublic(s.Dir))
}
