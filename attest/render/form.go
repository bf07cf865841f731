package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/expunge-dev/expunge/attest"
)

// Form is a certificate that was verified, about to be shown.
type Form struct {
	report  attest.Report
	bundle  []byte
	digest  string // hex SHA-256 of the bundle
	summary string // the signed note of the certificate that becomes the QR code
	site    Site
}

// ErrUnverified: the bytes are no certificate, or not the one that the report is of. Nothing of them is
// shown.
var ErrUnverified = errors.New("not the certificate that was verified")

// New makes a form of a certificate. The report must be what attest.Verify says of these bytes: they are
// verified again, so that no form can show one certificate and carry another. Whether the key is to be trusted is not
// said on any form: it is for the reader to decide.
func New(r attest.Report, bundle []byte, site Site) (*Form, error) {
	again := attest.Verify(bundle, attest.Trust{})
	if r.Result == nil || again.Result == nil || again.LogLeaf != r.LogLeaf || again.KeyID != r.KeyID {
		return nil, ErrUnverified
	}
	sum := sha256.Sum256(bundle)
	return &Form{again, bundle, hex.EncodeToString(sum[:]), again.Summary, site}, nil
}

func (f *Form) result() attest.Result { return *f.report.Result }

// Bundle is the certificate itself, byte for byte.
func (f *Form) Bundle() []byte { return f.bundle }
