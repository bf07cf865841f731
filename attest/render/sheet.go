package render

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"codeberg.org/go-pdf/fpdf"
)

// The measures of a page, in millimetres; sizes of type are in points.
const (
	paperWidth, paperHeight = 210.0, 297.0
	marginSide, marginFoot  = 14.0, 15.0
	textWidth               = paperWidth - 2*marginSide
	bodySize, bodyLine      = 8.2, 3.65
	bandHeight              = 10.0
)

// sheet is a PDF that is being drawn, from top to bottom.
type sheet struct {
	pdf     *fpdf.Fpdf
	spell   *speller
	y       float64
	band    string // across the head of every page
	running string // what later pages are of
}

func newSheet(p *page, when time.Time) (*sheet, error) {
	spell, err := newSpeller()
	if err != nil {
		return nil, err
	}
	pdf := fpdf.New("P", "mm", "A4", "")
	pdf.SetCatalogSort(true)
	pdf.SetCreationDate(when)
	pdf.SetModificationDate(when)
	pdf.SetProducer("expunge", false)
	pdf.SetTitle(p.title+": "+p.name+", "+p.verdict.words, true)
	pdf.SetMargins(marginSide, 0, marginSide)
	pdf.SetAutoPageBreak(false, 0)
	pdf.SetCellMargin(0)
	for face, data := range faces {
		pdf.AddUTF8FontFromBytes(faceName(face), "", bytes.Clone(data)) // fpdf writes into what it is given when it cuts a font down
	}
	return &sheet{pdf: pdf, spell: spell, band: p.band, running: p.name + ": " + p.verdict.words}, nil
}

func faceName(face int) string { return fmt.Sprintf("face%d", face) }

// font chooses a face and a size in points.
func (s *sheet) font(face int, size float64) {
	s.pdf.SetFont(faceName(face), "", size)
}

func (s *sheet) ink(r, g, b int) { s.pdf.SetTextColor(r, g, b) }

// begin starts a page.
func (s *sheet) begin() {
	s.pdf.AddPage()
	s.y = 12
	if s.band != "" {
		s.watermark("SIMULATED")
		s.pdf.SetFillColor(0, 0, 0)
		s.pdf.Rect(0, 0, paperWidth, bandHeight, "F")
		s.font(bold, 11.5)
		s.ink(255, 255, 255)
		s.pdf.Text((paperWidth-s.width(s.band))/2, bandHeight/2+1.5, s.band)
		s.y = bandHeight + 6
	}
	s.ink(0, 0, 0)
	if s.pdf.PageNo() > 1 {
		s.font(regular, 7.5)
		s.ink(90, 90, 90)
		for _, line := range s.wrap(s.running+" (continued)", textWidth) {
			s.pdf.Text(marginSide, s.y, line)
			s.y += 3.4
		}
		s.y += 2
		s.ink(0, 0, 0)
	}
}

// room starts another page where there is not so much left of this one.
func (s *sheet) room(height float64) {
	if s.y+height > paperHeight-marginFoot {
		s.begin()
	}
}

func (s *sheet) width(text string) float64 { return s.pdf.GetStringWidth(text) }

// wrap breaks a text into lines of the current face. Words that are too long are broken where the line ends.
func (s *sheet) wrap(text string, width float64) []string {
	var lines []string
	line := ""
	for _, word := range strings.Split(s.spell.spell(text), " ") {
		with := word
		if line != "" {
			with = line + " " + word
		}
		if s.width(with) <= width {
			line = with
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for line = word; s.width(line) > width; {
			head := s.fitting(line, width)
			lines = append(lines, line[:head])
			line = line[head:]
		}
	}
	return append(lines, line)
}

// fitting is how many bytes of a word go into a line; one character at least.
func (s *sheet) fitting(word string, width float64) int {
	used, end := 0.0, 0
	for i, r := range word {
		used += s.width(string(r))
		if used > width && i > 0 {
			return i
		}
		end = i + len(string(r))
	}
	return end
}

// paragraph draws a text at x and moves down.
func (s *sheet) paragraph(x, width, leading float64, text string) {
	for _, line := range s.wrap(text, width) {
		s.room(leading)
		s.pdf.Text(x, s.y+leading*0.78, line)
		s.y += leading
	}
}

// feet are drawn last, when the number of pages is known.
func (s *sheet) feet(text string) {
	total := s.pdf.PageCount()
	for n := 1; n <= total; n++ {
		s.pdf.SetPage(n)
		s.font(mono, 7) // a page does not know what was chosen on another
		s.font(regular, 6.8)
		s.ink(90, 90, 90)
		s.pdf.SetDrawColor(160, 160, 160)
		s.pdf.SetLineWidth(0.2)
		s.pdf.Line(marginSide, paperHeight-11.5, paperWidth-marginSide, paperHeight-11.5)
		s.pdf.Text(marginSide, paperHeight-8, text)
		right := fmt.Sprintf("page %d of %d", n, total)
		s.pdf.Text(paperWidth-marginSide-s.width(right), paperHeight-8, right)
	}
}

// bytes is the document as fpdf writes it, with one attachment.
func (s *sheet) bytes(bundle []byte) ([]byte, error) {
	s.pdf.SetAttachments([]fpdf.Attachment{{Content: bundle, Filename: attachmentName}})
	var out bytes.Buffer
	if err := s.pdf.Output(&out); err != nil {
		return nil, fmt.Errorf("draw page: %w", err)
	}
	return out.Bytes(), nil
}
