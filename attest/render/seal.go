package render

import (
	"bytes"
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
	if _, err := attest.OpenPDF(sealed); err != nil {
		return nil, fmt.Errorf("seal page: %w", err)
	}
	return sealed, nil
}
