package render

import (
	"errors"
	"math"

	"golang.org/x/image/font"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// watermark draws a word across the page, large and pale. It is drawn as shapes: as letters it would
// be found between the lines by whoever searches or copies the text of the page.
func (s *sheet) watermark(word string) {
	const size, angle = 34.0, 52 * math.Pi / 180 // millimetres, radians
	f := s.spell.fonts[bold]
	em := fixed.Int26_6(f.UnitsPerEm()) << 6
	width := s.advance(f, word, em) * size
	sin, cos := math.Sincos(angle)
	place := func(along, up float64) (x, y float64) {
		return paperWidth/2 + along*cos - up*sin, paperHeight/2 - along*sin - up*cos
	}
	s.pdf.SetFillColor(232, 232, 232)
	along := -width / 2
	for _, r := range word {
		glyph, err := f.GlyphIndex(&s.spell.buffer, r)
		if err != nil {
			s.pdf.SetError(err) // which Output returns
			return
		}
		segments, err := f.LoadGlyph(&s.spell.buffer, glyph, em, nil)
		if err != nil {
			s.pdf.SetError(err)
			return
		}
		at := func(p fixed.Point26_6) (x, y float64) {
			return place(along+float64(p.X)/float64(em)*size, -float64(p.Y)/float64(em)*size-size*0.35)
		}
		for i, g := range segments {
			x, y := at(g.Args[0])
			switch g.Op {
			case sfnt.SegmentOpMoveTo:
				if i > 0 {
					s.pdf.ClosePath()
				}
				s.pdf.MoveTo(x, y)
			case sfnt.SegmentOpLineTo:
				s.pdf.LineTo(x, y)
			default: // TrueType has quadratic curves alone
				endX, endY := at(g.Args[1])
				s.pdf.CurveTo(x, y, endX, endY)
			}
		}
		s.pdf.ClosePath()
		s.pdf.DrawPath("F")
		along += s.advance(f, string(r), em) * size
	}
}

// advance is the width of a word in ems.
func (s *sheet) advance(f *sfnt.Font, word string, em fixed.Int26_6) float64 {
	total := 0.0
	for _, r := range word {
		glyph, err := f.GlyphIndex(&s.spell.buffer, r)
		width, errWidth := f.GlyphAdvance(&s.spell.buffer, glyph, em, font.HintingNone)
		if err := errors.Join(err, errWidth); err != nil {
			s.pdf.SetError(err)
			return 0
		}
		total += float64(width) / float64(em)
	}
	return total
}
