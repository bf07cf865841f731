package render

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// pages is how many pages each sample may have. What is usual has one.
var pages = map[string]int{"long": 2, "many-exceptions": 3}

func TestPage(t *testing.T) {
	for name, change := range samples {
		t.Run(name, func(t *testing.T) {
			f := sample(t, change)
			data, _ := sealedPage(t, f)
			again, _ := sealedPage(t, f)
			if !bytes.Equal(data, again) {
				t.Error("the same certificate gave two different pages")
			}
			if n := bytes.Count(data, []byte("<</Type /Page\n")); n != max(1, pages[name]) {
				t.Errorf("%d pages", n)
			}
			if len(data) > 100_000 {
				t.Errorf("%d bytes", len(data))
			}
			p, err := attest.OpenPDF(data)
			if err != nil {
				t.Fatal(err)
			}
			if r := attest.Verify(p.Bundle, attest.Trust{}); r.Result == nil || r.LogLeaf != f.report.LogLeaf {
				t.Errorf("the page carries something else: %v", r.Reasons)
			}
		})
	}
}

// What a reader sees, word for word.
func TestPageText(t *testing.T) {
	for name, change := range samples {
		t.Run(name, func(t *testing.T) {
			f := sample(t, change)
			page, file := sealedPage(t, f)
			if *update && name == "purge" {
				if err := os.WriteFile("../testdata/page.pdf", page, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			out := string(tool(t, "pdftotext", "-layout", file, "-"))
			var lines []string
			for line := range strings.Lines(out) {
				if words := strings.Fields(line); len(words) > 0 {
					lines = append(lines, strings.Join(words, " "))
				}
			}
			// The run's key, and with it the certificate, is another each time.
			text := strings.NewReplacer(f.digest, "(64 digits)", f.digest[:16], "(16 digits)").Replace(strings.Join(lines, "\n") + "\n")
			got, golden := text, filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s\n--- want\n%s", got, want)
			}
		})
	}
}

// A failure says so in words, on each page; so does a simulation.
func TestFailureLooksLikeOne(t *testing.T) {
	for name, change := range samples {
		p := sample(t, change).page("")
		r := sample(t, change).result()
		good := r.Outcome.Status == "sanitized"
		text := p.title + " " + p.verdict.words + " " + strings.Join(p.verdict.plain, " ")
		if holds := strings.Contains(text, "hold data") || strings.Contains(text, "holding data") || strings.Contains(text, "holds"); holds == good {
			t.Errorf("%s: %s", name, text)
		}
		if (p.verdict.grade == done) != (good && !r.Simulated) {
			t.Errorf("%s looks like %d", name, p.verdict.grade)
		}
		if r.Simulated != (p.band != "") || r.Simulated != strings.HasPrefix(p.verdict.words, "SIMULATED") {
			t.Errorf("%s: band %q, words %q", name, p.band, p.verdict.words)
		}
	}
}

// Readers that others wrote find no fault, and the certificate as it was.
func TestOtherReaders(t *testing.T) {
	for _, name := range []string{"purge", "many-exceptions", "foreign"} {
		f := sample(t, samples[name])
		_, file := sealedPage(t, f)
		t.Run(name+" qpdf", func(t *testing.T) {
			if out := tool(t, "qpdf", "--check", file); bytes.Contains(out, []byte("WARNING")) {
				t.Error(string(out))
			}
		})
		t.Run(name+" pdfdetach", func(t *testing.T) {
			into := filepath.Join(t.TempDir(), "out.json")
			tool(t, "pdfdetach", "-save", "1", "-o", into, file)
			got, err := os.ReadFile(into)
			if err != nil || !bytes.Equal(got, f.bundle) {
				t.Errorf("%d bytes of %d, %v", len(got), len(f.bundle), err)
			}
			if list := tool(t, "pdfdetach", "-list", file); !bytes.HasPrefix(list, []byte("1 embedded files")) || !bytes.Contains(list, []byte("certificate.json")) {
				t.Error(string(list))
			}
		})
		t.Run(name+" zbarimg", func(t *testing.T) {
			picture := filepath.Join(t.TempDir(), "page")
			tool(t, "pdftoppm", "-r", "150", "-png", file, picture)
			found, err := filepath.Glob(picture + "*.png")
			if err != nil || len(found) == 0 {
				t.Fatal("no picture", err)
			}
			if got := string(tool(t, "zbarimg", append([]string{"--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"}, found[len(found)-1])...)); got != f.summary+"\n" {
				t.Errorf("read %q, want %q", got, f.summary)
			}
		})
	}
}

// The code says what it says by itself, or is not drawn.
func TestCodeIsTheSignedNote(t *testing.T) {
	for name, summary := range map[string]string{
		"an address": "https://example.org/c/1", "unsigned text": "purged\n", "too long": strings.Repeat("a", 600) + "\n\n\u2014 k AAAA\n",
	} {
		if _, err := newCode(summary); err == nil || errors.Is(err, ErrNoSummary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := sample(t, nil)
	f.summary = ""
	if _, err := f.QR(); !errors.Is(err, ErrNoSummary) {
		t.Errorf("no summary: %v", err)
	}
	if _, err := f.PDF(); err != nil {
		t.Errorf("a page without a code: %v", err)
	}
}

// The largest code that is allowed is still read from paper.
func TestLargestCode(t *testing.T) {
	f := sample(t, nil)
	text := f.summary[:strings.Index(f.summary, "\n\n")+1]
	for len(f.summary) < maxSummary-1 {
		text += "x"
		note, err := signNote(text + "\n")
		if err != nil {
			t.Fatal(err)
		}
		f.summary = string(note)
	}
	_, file := sealedPage(t, f)
	picture := filepath.Join(t.TempDir(), "page")
	tool(t, "pdftoppm", "-r", "150", "-singlefile", "-png", file, picture)
	if got := string(tool(t, "zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", picture+".png")); got != f.summary+"\n" {
		t.Errorf("read %q, want %q", got, f.summary)
	}
}

// A seal must be of what it is put on.
func TestSealFitsOrThereIsNone(t *testing.T) {
	f := sample(t, nil)
	page, err := f.PDF()
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("the key is away")
	for name, c := range map[string]struct {
		page, bundle []byte
		sign         func(string) ([]byte, error)
	}{
		"no key":              {page, f.bundle, func(string) ([]byte, error) { return nil, refused }},
		"another text":        {page, f.bundle, func(string) ([]byte, error) { return signNote("something else\n") }},
		"nothing":             {page, f.bundle, func(string) ([]byte, error) { return nil, nil }},
		"another certificate": {page, []byte("{}"), signNote},
		"no page":             {[]byte("%PDF-1.4\n%%EOF\n"), f.bundle, signNote},
		"a note beyond bounds": {page, f.bundle, func(s string) ([]byte, error) {
			return []byte(s + "\n\u2014 k " + strings.Repeat("A", 600) + "\n"), nil
		}},
		"a page sealed already": {append(bytes.Clone(page), "% expunge-seal: AAAA\n"...), f.bundle, signNote},
	} {
		if got, err := Seal(c.page, c.bundle, c.sign); err == nil {
			t.Errorf("%s: sealed %d bytes", name, len(got))
		}
	}
}

func BenchmarkPDF(b *testing.B) {
	f := sample(b, nil)
	for b.Loop() {
		if _, err := f.PDF(); err != nil {
			b.Fatal(err)
		}
	}
}
