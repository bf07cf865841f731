package render

import (
	"bytes"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/attest"
)

const attachmentName = attest.PDFAttachment

const pdfWhere = "The certificate itself is attached to this file under the name certificate.json; every PDF reader saves it, and so does: pdfdetach -saveall FILE.pdf"

// PDF is the certificate as pages of paper, with the certificate attached. It is not sealed yet.
func (f *Form) PDF() ([]byte, error) {
	p := f.page(pdfWhere)
	when, err := time.Parse(time.RFC3339, f.result().Time.Claimed)
	if err != nil {
		return nil, fmt.Errorf("draw page: %w", err)
	}
	s, err := newSheet(p, when.UTC())
	if err != nil {
		return nil, err
	}
	var c *code
	if f.summary != "" {
		if c, err = newCode(f.summary); err != nil {
			return nil, fmt.Errorf("draw page: %w", err)
		}
	}
	s.begin()
	s.head(p)
	s.verdict(p.verdict)
	s.beside(p.drive, p.given)
	for _, part := range p.sections {
		s.section(part)
	}
	if p.areas != nil {
		s.areas(p.areas)
	}
	s.check(p.check, p.steps, c)
	if s.spell.missing {
		s.y += 1.5
		s.font(bold, bodySize)
		s.paragraph(marginSide, textWidth, bodyLine, string(stand)+" stands for a character that this page has no letter for: see the signed data in certificate.json.")
	}
	s.feet("certificate SHA-256 " + f.digest[:16] + "\u2026 - what is signed counts, not this page")
	drawn, err := s.bytes(f.bundle)
	if err != nil {
		return nil, err
	}
	return finish(drawn)
}

// head is title and letterhead.
func (s *sheet) head(p *page) {
	top, left := s.y, textWidth
	bottom := top
	if p.site.Name != "" {
		left = textWidth - 66
		bottom = s.letterhead(p.site, top)
	}
	s.font(bold, 16)
	s.paragraph(marginSide, left, 6.8, p.title)
	s.y += 0.8
	s.font(regular, bodySize)
	s.ink(60, 60, 60)
	s.paragraph(marginSide, left, bodyLine, p.intro)
	s.ink(0, 0, 0)
	s.y = max(s.y, bottom) + 2.5
}

// letterhead is drawn at the right, and says that it is no part of the certificate.
func (s *sheet) letterhead(site Site, y float64) float64 {
	const width = 60.0
	x := paperWidth - marginSide - width
	if l := site.logo; l != nil {
		w, h := fitted(float64(l.width), float64(l.height), width, 14)
		s.pdf.RegisterImageReader("logo", "PNG", bytes.NewReader(l.png))
		s.pdf.Image("logo", paperWidth-marginSide-w, y, w, h, false, "PNG", 0, "")
		y += h + 1
	}
	draw := func(face int, size, leading float64, text string) {
		s.font(face, size)
		for _, line := range s.wrap(text, width) {
			s.pdf.Text(x+width-s.width(line), y+leading*0.8, line)
			y += leading
		}
	}
	draw(bold, 8.5, 3.8, site.Name)
	for _, line := range site.Address {
		draw(regular, 7.5, 3.3, line)
	}
	s.ink(110, 110, 110)
	draw(regular, 6, 2.8, "letterhead, no part of the certificate")
	s.ink(0, 0, 0)
	return y
}

// fitted scales a picture down into a box.
func fitted(w, h, boxW, boxH float64) (float64, float64) {
	scale := min(boxW/w, boxH/h)
	return w * scale, h * scale
}

// verdict is drawn so that a failure cannot be taken for a success in any light: by its frame, its sign and its words.
func (s *sheet) verdict(v verdict) {
	const side, signWidth = marginSide, 17.0
	x, width := side+signWidth+3, textWidth-signWidth-6
	s.font(bold, 17)
	words := s.wrap(v.words, width)
	s.font(regular, 8.6)
	var plain []string
	for _, sentence := range v.plain {
		plain = append(plain, s.wrap(sentence, width)...)
	}
	const wordLine, plainLine = 7.4, 3.9
	height := max(18, 5+float64(len(words))*wordLine+float64(len(plain))*plainLine)
	s.room(height)
	s.frame(v.grade, side, s.y, textWidth, height)
	s.sign(v.grade, side+signWidth/2+0.5, s.y+height/2)
	if v.grade == undone {
		s.ink(255, 255, 255)
	}
	y := s.y + 2.2
	s.font(bold, 17)
	for _, line := range words {
		s.pdf.Text(x, y+wordLine*0.75, line)
		y += wordLine
	}
	s.font(regular, 8.6)
	for _, line := range plain {
		s.pdf.Text(x, y+plainLine*0.75, line)
		y += plainLine
	}
	s.ink(0, 0, 0)
	s.y += height + 4
}

func (s *sheet) frame(g grade, x, y, w, h float64) {
	switch g {
	case done:
		s.pdf.SetDrawColor(0, 95, 45)
		s.pdf.SetLineWidth(0.7)
		s.pdf.Rect(x, y, w, h, "D")
	case partly:
		s.pdf.SetDrawColor(150, 80, 0)
		s.pdf.SetLineWidth(1.3)
		s.pdf.SetDashPattern([]float64{4, 2}, 0)
		s.pdf.Rect(x, y, w, h, "D")
		s.pdf.SetDashPattern(nil, 0)
	case pretended:
		s.pdf.SetDrawColor(0, 0, 0)
		s.pdf.SetLineWidth(1.3)
		s.pdf.SetDashPattern([]float64{1.3, 2.6}, 0)
		s.pdf.Rect(x, y, w, h, "D")
		s.pdf.SetDashPattern(nil, 0)
	default:
		s.pdf.SetFillColor(140, 10, 20)
		s.pdf.Rect(x, y, w, h, "F")
	}
}

// sign draws a hook, an exclamation mark, a cross or a ring around a point.
func (s *sheet) sign(g grade, x, y float64) {
	s.pdf.SetLineCapStyle("round")
	s.pdf.SetLineWidth(2)
	switch g {
	case done:
		s.pdf.SetDrawColor(0, 95, 45)
		s.pdf.Line(x-5, y+0.5, x-1.5, y+4)
		s.pdf.Line(x-1.5, y+4, x+5.5, y-4.5)
	case partly:
		s.pdf.SetDrawColor(150, 80, 0)
		s.pdf.Line(x, y-5.5, x, y+1.5)
		s.pdf.Line(x, y+5, x, y+5.05)
	case pretended: // neither a hook nor a cross: a hollow ring
		s.pdf.SetDrawColor(0, 0, 0)
		s.pdf.SetLineWidth(1.2)
		s.pdf.Circle(x, y, 5, "D")
	default:
		s.pdf.SetDrawColor(255, 255, 255)
		s.pdf.Line(x-4.5, y-4.5, x+4.5, y+4.5)
		s.pdf.Line(x-4.5, y+4.5, x+4.5, y-4.5)
	}
	s.pdf.SetLineCapStyle("butt")
}
