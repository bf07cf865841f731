package render

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func picture(t *testing.T, w, h int) []byte {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for x := range w {
		img.Set(x, h/2, color.NRGBA{200, 0, 0, 128})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestLetterhead(t *testing.T) {
	f := sample(t, nil)
	without, err := f.PDF()
	if err != nil {
		t.Fatal(err)
	}
	if f.site, err = NewSite("Recycling Nord GmbH", []string{"Hafenstr. 1", "20457 Hamburg"}, picture(t, 300, 80)); err != nil {
		t.Fatal(err)
	}
	with, _ := sealedPage(t, f)
	if !bytes.Contains(with, []byte("/Subtype /Image")) || bytes.Contains(without, []byte("/Subtype /Image")) {
		t.Error("the logo is not there, or where nobody asked for it")
	}
	again, _ := sealedPage(t, f)
	if !bytes.Equal(with, again) {
		t.Error("the same certificate and letterhead gave two different pages")
	}
}

func TestLetterheadIsRefused(t *testing.T) {
	huge := append(picture(t, 10, 10), make([]byte, MaxLogo)...)
	for name, c := range map[string]struct {
		site    string
		address []string
		logo    []byte
	}{
		"no name":          {"", nil, nil},
		"a long name":      {strings.Repeat("x", 81), nil, nil},
		"a control":        {"a\x1b[2J", nil, nil},
		"another way":      {"a\u202eb", nil, nil},
		"an empty line":    {"a", []string{""}, nil},
		"many lines":       {"a", make([]string, 7), nil},
		"no picture":       {"a", nil, []byte("GIF89a")},
		"a large file":     {"a", nil, huge},
		"a large picture":  {"a", nil, picture(t, 4100, 1025)},
		"a broken picture": {"a", nil, picture(t, 100, 100)[:60]},
	} {
		if _, err := NewSite(c.site, c.address, c.logo); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
