package render

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Site is the letterhead of who hands certificates out. It is no part of a certificate.
type Site struct {
	Name    string
	Address []string
	logo    *logo
}

// logo is a picture in the one form that we hand on: 8 bits of red, green and blue.
type logo struct {
	png           []byte
	width, height int
}

// The bounds of a letterhead.
const (
	MaxLogo         = 256 << 10 // bytes of the file
	maxLogoPixels   = 4 << 20
	maxAddressLines = 6
	maxSiteLine     = 80 // characters
)

// NewSite checks a letterhead. The logo is a PNG, or nil.
func NewSite(name string, address []string, logoPNG []byte) (Site, error) {
	if name == "" {
		return Site{}, errors.New("the site has no name")
	}
	if len(address) > maxAddressLines {
		return Site{}, fmt.Errorf("an address of %d lines, at most %d", len(address), maxAddressLines)
	}
	for _, line := range append([]string{name}, address...) {
		if line == "" || !utf8.ValidString(line) || utf8.RuneCountInString(line) > maxSiteLine || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return Site{}, fmt.Errorf("%q is not 1 to %d printable characters", line, maxSiteLine)
		}
	}
	s := Site{Name: name, Address: address}
	if logoPNG == nil {
		return s, nil
	}
	var err error
	if s.logo, err = newLogo(logoPNG); err != nil {
		return Site{}, fmt.Errorf("logo: %w", err)
	}
	return s, nil
}

// newLogo draws the picture anew on white, so that what forms carry is ours whatever was in the file.
func newLogo(data []byte) (*logo, error) {
	if len(data) > MaxLogo {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), MaxLogo)
	}
	size, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if size.Width <= 0 || size.Height <= 0 || size.Width > maxLogoPixels/size.Height {
		return nil, fmt.Errorf("%d x %d pixels, at most %d in all", size.Width, size.Height, maxLogoPixels)
	}
	from, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	to := image.NewRGBA(image.Rect(0, 0, size.Width, size.Height))
	draw.Draw(to, to.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(to, to.Bounds(), from, from.Bounds().Min, draw.Over)
	var out bytes.Buffer
	enc := png.Encoder{CompressionLevel: png.BestCompression}
	if err := enc.Encode(&out, to); err != nil {
		return nil, err
	}
	return &logo{out.Bytes(), size.Width, size.Height}, nil
}
