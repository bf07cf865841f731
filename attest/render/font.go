package render

import (
	"fmt"
	"strings"
	"sync"

	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
)

// The faces of a page, embedded in the program and, cut down to what is used, in each page.
const (
	regular = iota
	bold
	mono
)

var faces = [][]byte{regular: goregular.TTF, bold: gobold.TTF, mono: gomono.TTF}

// stand takes the place of a character that the fonts do not have.
const stand = '\u25a1'

// fonts are the faces, parsed once to know which characters they have.
var fonts = sync.OnceValues(func() ([]*sfnt.Font, error) {
	var list []*sfnt.Font
	for _, data := range faces {
		f, err := sfnt.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("parse font: %w", err)
		}
		list = append(list, f)
	}
	return list, nil
})

// speller spells texts with the characters that a page has, and notes whether any is missing.
type speller struct {
	fonts   []*sfnt.Font
	buffer  sfnt.Buffer
	known   map[rune]bool
	missing bool
}

func newSpeller() (*speller, error) {
	list, err := fonts()
	if err != nil {
		return nil, err
	}
	return &speller{fonts: list, known: map[rune]bool{}}, nil
}

// spell puts a box in the place of every character that is in none of the fonts, and a sign in the place of the end of a
// line: a text that was given stays one, and cannot look like lines of the page.
func (s *speller) spell(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' {
			return '\u00b6'
		}
		if !s.has(r) {
			s.missing = true
			return stand
		}
		return r
	}, text)
}

// has says whether every face has a character.
func (s *speller) has(r rune) bool {
	known, asked := s.known[r]
	if asked {
		return known
	}
	known = r >= ' '
	for _, f := range s.fonts {
		glyph, err := f.GlyphIndex(&s.buffer, r)
		known = known && err == nil && glyph != 0
	}
	s.known[r] = known
	return known
}
