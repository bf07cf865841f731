package attest

import (
	"context"
	"crypto"
	"errors"
)

// dsseKey is a key as go-securesystemslib wants it.
type dsseKey struct{ *Key }

func (k dsseKey) Verify(_ context.Context, data, sig []byte) error {
	if !k.verifies(data, sig) {
		return errors.New("signature does not fit")
	}
	return nil
}

func (k dsseKey) KeyID() (string, error)   { return k.ID, nil }
func (k dsseKey) Public() crypto.PublicKey { return k.key }
