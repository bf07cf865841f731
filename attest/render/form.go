package render

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

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
	f := &Form{again, bundle, hex.EncodeToString(sum[:]), again.Summary, site}
	if len(again.Standing()) > 0 {
		f.summary = "" // the code of a page says what was signed, and cannot say that it does not stand
	}
	return f, nil
}

// result is what was signed, with what people say now in place of what they said.
func (f *Form) result() attest.Result {
	r := *f.report.Result
	r.Given = f.report.Given()
	return r
}

// standing is why the certificate does not stand, in a word: the codes of reasons; "" where it does.
func (f *Form) standing() string {
	var codes []string
	for _, reason := range f.report.Standing() {
		codes = append(codes, reason.Code)
	}
	return strings.Join(codes, ", ")
}

// words is the outcome as people say it, and whether it stands.
func (f *Form) words() string {
	words := attest.Words(f.result())
	switch standing := f.standing(); {
	case standing == "":
		return words
	case strings.Contains(standing, "withdrawn"):
		return "WITHDRAWN - treat as holding data"
	case strings.Contains(standing, "escalated"):
		return "NOT ENOUGH, by its validator - treat as holding data"
	}
	return "REJECTED by its validator - treat as holding data"
}

// Bundle is the certificate itself, byte for byte.
func (f *Form) Bundle() []byte { return f.bundle }
