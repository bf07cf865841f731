package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"

	"filippo.io/mldsa"
	pqx509 "filippo.io/mldsa/x509"
)

// Alg is how a key signs. It belongs to the key: what a signature says of itself is never asked.
type Alg string

// The algorithms.
const (
	Ed25519 Alg = "Ed25519"   // RFC 8032, of the message
	P256    Alg = "P-256"     // FIPS 186-5 ECDSA with SHA-256 of the message; DER, and s at most half the order
	MLDSA44 Alg = "ML-DSA-44" // FIPS 204, of the message, without a context; checkpoints alone
)

// Public is a key that signatures are checked with.
type Public struct {
	ID   string // hex SHA-256 of the SubjectPublicKeyInfo
	Alg  Alg
	key  crypto.PublicKey
	spki []byte
}

// Key is the public key itself.
func (p Public) Key() crypto.PublicKey { return p.key }

// NewPublic takes an Ed25519, P-256 or ML-DSA-44 public key.
func NewPublic(key crypto.PublicKey) (Public, error) {
	p := Public{key: key}
	switch k := key.(type) {
	case ed25519.PublicKey:
		p.Alg = Ed25519
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return Public{}, errors.New("public key is of another curve than P-256")
		}
		p.Alg = P256
	case *mldsa.PublicKey:
		if k.Parameters() != mldsa.MLDSA44() {
			return Public{}, errors.New("public key is of other parameters than ML-DSA-44")
		}
		p.Alg = MLDSA44
	default:
		return Public{}, fmt.Errorf("public key is %T, want Ed25519, P-256 or ML-DSA-44", key)
	}
	var err error
	if p.spki, err = pqx509.MarshalPKIXPublicKey(key); err != nil {
		return Public{}, fmt.Errorf("public key: %w", err)
	}
	p.ID = hexSHA256(p.spki)
	return p, nil
}

// ParsePublic reads the one encoding of a SubjectPublicKeyInfo.
func ParsePublic(der []byte) (Public, error) {
	parsed, err := pqx509.ParsePKIXPublicKey(der)
	if err != nil {
		return Public{}, fmt.Errorf("public key: %w", err)
	}
	p, err := NewPublic(parsed)
	if err == nil && !bytes.Equal(p.spki, der) {
		err = errors.New("public key is not in its one encoding")
	}
	return p, err
}

// PublicKey is a key under its id, where keys are named one by one: in trust roots.
type PublicKey struct {
	KeyID string `json:"keyid"`
	SPKI  string `json:"spki"` // base64 of the SubjectPublicKeyInfo
}

// parse reads a key and holds it against its id.
func (k PublicKey) parse() (Public, error) {
	p, err := parseKey(k.SPKI)
	if err == nil && p.ID != k.KeyID {
		err = fmt.Errorf("the id of key %.16s… is not its hash", k.KeyID)
	}
	return p, err
}

func (p Public) entry() PublicKey { return PublicKey{p.ID, p.text()} }

// text is the key as bundles and sessions have it, which makes its id from that.
func (p Public) text() string { return base64.StdEncoding.EncodeToString(p.spki) }

// parseKey reads the one text of a key.
func parseKey(text string) (Public, error) {
	der, err := decodeBase64(text)
	if err != nil {
		return Public{}, fmt.Errorf("public key: %w", err)
	}
	return ParsePublic(der)
}

// verifies says whether a signature of the message is this key's.
func (p Public) verifies(message, sig []byte) bool {
	switch key := p.key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, sig)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		_, s, ok := parseECDSA(sig)
		return ok && s.Cmp(halfOrder) <= 0 && ecdsa.VerifyASN1(key, digest[:], sig)
	case *mldsa.PublicKey:
		return mldsa.Verify(key, message, sig, nil) == nil
	}
	return false
}

// halfOrder bounds s: for each signature (r, s) the pair (r, n-s) is one too, and only one of them is taken.
var halfOrder = new(big.Int).Rsh(elliptic.P256().Params().N, 1)

type ecdsaSignature struct{ R, S *big.Int }

// parseECDSA reads the one DER encoding of a signature.
func parseECDSA(sig []byte) (r, s *big.Int, ok bool) {
	var v ecdsaSignature
	if rest, err := asn1.Unmarshal(sig, &v); err != nil || len(rest) > 0 {
		return nil, nil, false
	}
	again, err := asn1.Marshal(v)
	return v.R, v.S, err == nil && bytes.Equal(again, sig)
}

// lowS puts a signature of P-256 into its one form.
func lowS(sig []byte) ([]byte, error) {
	r, s, ok := parseECDSA(sig)
	if !ok {
		return nil, errors.New("the signer returned no DER signature")
	}
	if s.Cmp(halfOrder) > 0 {
		s = new(big.Int).Sub(elliptic.P256().Params().N, s)
	}
	return asn1.Marshal(ecdsaSignature{r, s})
}
