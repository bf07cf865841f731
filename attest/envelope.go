package attest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// PayloadType is the type of every payload: an in-toto statement.
const PayloadType = "application/vnd.in-toto+json"

// Envelope is a DSSE v1 envelope. The payload is the canonical JSON of a Statement.
type Envelope struct {
	Payload     string      `json:"payload"` // standard base64, padded
	PayloadType string      `json:"payloadType"`
	Signatures  []Signature `json:"signatures"`
}

// Signature is one of an Envelope's. The key id is a hint: it is compared with the key's hash.
type Signature struct {
	KeyID string `json:"keyid"` // hex SHA-256 of the key's SubjectPublicKeyInfo
	Sig   string `json:"sig"`   // standard base64: 64 bytes of Ed25519, or DER of P-256
}

// pae is DSSE's pre-authentication encoding: what is signed.
func pae(payload []byte) []byte { return paeOf(PayloadType, payload) }

func paeOf(kind string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
}

// seal signs a payload.
func seal(payload []byte, k *Key) (Envelope, error) {
	sig, err := k.Sign(pae(payload))
	if err != nil {
		return Envelope{}, err
	}
	return Envelope{
		Payload: base64.StdEncoding.EncodeToString(payload), PayloadType: PayloadType,
		Signatures: []Signature{{k.ID, base64.StdEncoding.EncodeToString(sig)}},
	}, nil
}

// signer is the id of the key that an envelope says it is signed with.
func (e Envelope) signer() (string, error) {
	if len(e.Signatures) != 1 {
		return "", fmt.Errorf("%d signatures, want one", len(e.Signatures))
	}
	return e.Signatures[0].KeyID, nil
}

// open checks an envelope and returns its payload, which nobody may look at before.
func (e Envelope) open(key Public) ([]byte, error) {
	switch signer, err := e.signer(); {
	case err != nil:
		return nil, err
	case e.PayloadType != PayloadType:
		return nil, fmt.Errorf("payload type %q", e.PayloadType)
	case signer != key.ID:
		return nil, errors.New("the signature names another key")
	}
	payload, err := decodeBase64(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	sig, err := decodeBase64(e.Signatures[0].Sig)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	if !key.verifies(pae(payload), sig) {
		return nil, errors.New("the signature does not fit")
	}
	return payload, nil
}

// digest is the hex SHA-256 of what was signed.
func (e Envelope) digest() (string, error) {
	payload, err := decodeBase64(e.Payload)
	if err != nil {
		return "", err
	}
	return hexSHA256(pae(payload)), nil
}

// decodeBase64 accepts one spelling of each value: standard alphabet, padded, no spare bits.
func decodeBase64(s string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodeToString(data) != s {
		return nil, errors.New("not in its one form of base64")
	}
	return data, nil
}

func hexSHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
