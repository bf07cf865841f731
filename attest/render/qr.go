package render

import (
	"errors"
	"fmt"
	"strings"

	"rsc.io/qr"
)

// ErrNoSummary: the certificate has no summary to be put into a QR code.
var ErrNoSummary = errors.New("the certificate has no signed summary")

// maxSummary keeps modules large enough for telephones: 600 bytes are version 19, modules of 0.6 mm.
const maxSummary = 600

// quiet is the white margin of a code in modules (ISO/IEC 18004, 6.3.8).
const quiet = 4

// run is a horizontal stretch of dark modules.
type run struct{ x, y, length int }

// code is a QR code as what has to be drawn.
type code struct {
	size int // modules on a side, with the margin
	runs []run
}

// newCode encodes a signed note, word for word. A text that only leads elsewhere is none: what
// it says must be there to read, and to check.
func newCode(summary string) (*code, error) {
	switch {
	case summary == "":
		return nil, ErrNoSummary
	case len(summary) > maxSummary:
		return nil, fmt.Errorf("summary of %d bytes, at most %d", len(summary), maxSummary)
	case !strings.Contains(summary, "\n\n\u2014 "):
		return nil, errors.New("the summary is no signed note")
	}
	q, err := qr.Encode(summary, qr.M)
	if err != nil {
		return nil, fmt.Errorf("encode QR code: %w", err)
	}
	c := &code{size: q.Size + 2*quiet}
	for y := range q.Size {
		for x := 0; x < q.Size; x++ {
			from := x
			for q.Black(x, y) {
				x++
			}
			if x > from {
				c.runs = append(c.runs, run{from + quiet, y + quiet, x - from})
			}
		}
	}
	return c, nil
}

// svg draws the code; millimetres is its side.
func (c *code) svg(millimetres int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%dmm" height="%dmm" viewBox="0 0 %d %d" shape-rendering="crispEdges" role="img" aria-label="QR code of the signed summary">`,
		millimetres, millimetres, c.size, c.size)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><path d="`, c.size, c.size)
	for _, r := range c.runs {
		fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", r.x, r.y, r.length, r.length)
	}
	b.WriteString(`" fill="#000"/></svg>` + "\n")
	return b.String()
}

// QR is the signed summary of the certificate as a QR code, an SVG picture.
func (f *Form) QR() ([]byte, error) {
	c, err := newCode(f.summary)
	if err != nil {
		return nil, err
	}
	return []byte(c.svg(qrSide)), nil
}

// qrSide is the side of a printed code in millimetres.
const qrSide = 62

const codeWords = "the signed summary, as text: it leads nowhere"
