package render

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/expunge-dev/expunge/attest"
)

// Seal puts a signed note over page and certificate behind the end of a page. sign makes a
// c2sp.org/signed-note of a text, with the key of the log of the certificate. What would not open again is refused.
func Seal(pdf, bundle []byte, sign func(text string) (note []byte, err error)) ([]byte, error) {
	text := attest.PDFSealText(pdf, bundle)
	note, err := sign(text)
	if err != nil {
		return nil, fmt.Errorf("seal page: %w", err)
	}
	lines, err := attest.PDFSealLines(note)
	if err != nil {
		return nil, fmt.Errorf("seal page: %w", err)
	}
	sealed := append(bytes.Clone(pdf), lines...)
	p, err := attest.OpenPDF(sealed)
	if err != nil {
		return nil, fmt.Errorf("seal page: %w", err)
	}
	if !bytes.Equal(p.Bundle, bundle) || p.Seal != string(note) {
		return nil, errors.New("seal page: what was sealed is not what was given")
	}
	return sealed, nil
}
