package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/expunge-dev/expunge/attest"
)

// workFactor is the logarithm of what a guess of a passphrase costs: 2^18 is 256 MiB of memory and about a second, as
// age itself has it. A file that asks for more than maxWorkFactor is not opened.
var workFactor = 18

const maxWorkFactor = 20

// encrypt encrypts a private key by a passphrase, or to recipients.
func encrypt(text []byte, o Options) ([]byte, error) {
	var to []age.Recipient
	switch {
	case o.Passphrase != "" && len(o.Recipients) > 0:
		return nil, errors.New("a key is encrypted by a passphrase or to recipients, and not both")
	case o.Passphrase != "":
		r, err := age.NewScryptRecipient(o.Passphrase)
		if err != nil {
			return nil, err
		}
		r.SetWorkFactor(workFactor)
		to = append(to, r)
	}
	for _, text := range o.Recipients {
		r, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("recipient: %w", err)
		}
		to = append(to, r...)
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to...)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close(), armored.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// decrypt gets a private key out of a file, armored or not.
func decrypt(name string, data []byte, u Unlock) ([]byte, error) {
	var in io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	with := &unlocker{name: name, Unlock: u}
	out, err := age.Decrypt(in, with)
	var none *age.NoIdentityMatchError
	var file *attest.KeyFileError
	switch {
	case with.err != nil:
		err = with.err
	case errors.As(err, &none) && with.passphrase:
		err = &attest.KeyFileError{File: name, Problem: "the passphrase is not the one that it was encrypted by", Hint: "give the right one with --key-passphrase-file FILE, or type it"}
	case errors.As(err, &none):
		err = &attest.KeyFileError{File: name, Problem: "none of the identities is one that it was encrypted to", Hint: "give the file with the right one with --key-identity-file FILE"}
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(out, attest.MaxSize+1))
	}
	if err != nil && !errors.As(err, &file) {
		err = &attest.KeyFileError{File: name, Problem: fmt.Sprintf("cannot be decrypted: %v", err), Hint: "restore it from a backup"}
	}
	return text, err
}

// unlocker is an age.Identity that asks only for what the file wants, and only then.
type unlocker struct {
	Unlock
	name       string
	passphrase bool // one was tried
	err        error
}

// Unwrap implements age.Identity.
func (u *unlocker) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, err := u.unwrap(stanzas)
	if err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
		u.err = err
		var file *attest.KeyFileError
		if !errors.As(err, &file) {
			u.err = &attest.KeyFileError{File: u.name, Problem: err.Error(), Hint: "the file is damaged, or not made by age: restore it from a backup"}
		}
	}
	return key, err
}

func (u *unlocker) unwrap(stanzas []*age.Stanza) ([]byte, error) {
	byPassphrase := false
	for _, s := range stanzas {
		byPassphrase = byPassphrase || s.Type == "scrypt"
	}
	if byPassphrase {
		if u.Passphrase == nil {
			return nil, &attest.KeyFileError{File: u.name, Problem: "is encrypted, and no passphrase was given", Hint: "give it with --key-passphrase-file FILE, or type it at a terminal"}
		}
		phrase, err := u.Passphrase(u.name)
		if err != nil || phrase == "" {
			return nil, &attest.KeyFileError{File: u.name, Problem: fmt.Sprintf("is encrypted, and no passphrase was given: %v", orEmpty(err)), Hint: "give it with --key-passphrase-file FILE, or type it at a terminal"}
		}
		id, err := age.NewScryptIdentity(phrase)
		if err != nil {
			return nil, err
		}
		u.passphrase = true
		id.SetMaxWorkFactor(maxWorkFactor)
		return id.Unwrap(stanzas)
	}
	if u.Identities == "" {
		return nil, &attest.KeyFileError{File: u.name, Problem: "is encrypted to recipients, and no identity was given", Hint: "give the file of one with --key-identity-file FILE"}
	}
	data, err := attest.ReadKeyFile(u.Identities)
	if err != nil {
		return nil, err
	}
	list, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil {
		return nil, &attest.KeyFileError{File: u.Identities, Problem: "holds no age identities", Hint: "age-keygen makes such a file"}
	}
	for _, id := range list {
		key, err := id.Unwrap(stanzas)
		if err == nil || !errors.Is(err, age.ErrIncorrectIdentity) {
			return key, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

func orEmpty(err error) error {
	if err == nil {
		return errors.New("it is empty")
	}
	return err
}
