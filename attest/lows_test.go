package attest

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
)

const sha256Hash = crypto.SHA256

func sha(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:]
}

// highS signs as hardware does that knows nothing of low s.
type highS struct{ crypto.Signer }

func (s highS) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	sig, err := s.Signer.Sign(r, digest, o)
	if err != nil {
		return nil, err
	}
	return highOf(sig)
}

// highOf is the other form of a signature.
func highOf(sig []byte) ([]byte, error) {
	r, s, ok := parseECDSA(sig)
	if !ok {
		return nil, errors.New("no signature")
	}
	if s.Cmp(halfOrder) <= 0 {
		s = new(big.Int).Sub(elliptic.P256().Params().N, s)
	}
	return asn1.Marshal(ecdsaSignature{r, s})
}
