package attest

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// pageFile is a sealed page as the first version made it. It must open for as long as there are such
// pages.
func pageFile(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/page.pdf")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func reasonOf(t testing.TB, err error) string {
	t.Helper()
	var e *PDFError
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%v is no *PDFError", err)
	}
	if e == nil {
		return "opened"
	}
	return e.Reason
}

func TestOpenPDF(t *testing.T) {
	data := pageFile(t)
	p, err := OpenPDF(data)
	if err != nil {
		t.Fatal(err)
	}
	page := data[:bytes.Index(data, []byte(PDFEnd))+len(PDFEnd)]
	if want := "expunge.pdf/v1\n" + hexSHA256(page) + "\n" + hexSHA256(p.Bundle) + "\n"; p.SealedText != want || !strings.HasPrefix(p.Seal, want+"\n\u2014 expunge.log/") {
		t.Fatalf("sealed %q by %q", p.SealedText, p.Seal)
	}
	if r := Verify(p.Bundle, Trust{}); r.Result == nil || r.Result.Device.Serial != "S676NX0R123456" {
		t.Fatalf("the attachment is not the certificate: %v", r.Reasons)
	}
}

// splitPage takes a page apart without the code under test: the bodies of its objects, and its trailer.
func splitPage(t testing.TB, page []byte) (bodies []string, trailer string) {
	t.Helper()
	rest := string(page[len(PDFHeader):])
	for n := 1; ; n++ {
		head := fmt.Sprintf("%d 0 obj\n", n)
		if !strings.HasPrefix(rest, head) {
			break
		}
		next := strings.Index(rest, fmt.Sprintf("\nendobj\n%d 0 obj\n", n+1))
		if next < 0 {
			next = strings.Index(rest, "\nendobj\nxref\n")
		}
		bodies = append(bodies, rest[len(head):next+len("\nendobj\n")])
		rest = rest[next+len("\nendobj\n"):]
	}
	from, to := strings.Index(rest, "trailer\n")+len("trailer\n"), strings.Index(rest, "\nstartxref")
	return bodies, rest[from:to]
}

// joinPage makes a page of objects, as an insider could who has the program and the key.
func joinPage(bodies []string, trailer string) []byte { return joinPageAfter("", bodies, trailer) }

func joinPageAfter(hidden string, bodies []string, trailer string) []byte {
	out, table := []byte(PDFHeader+hidden), ""
	for i, b := range bodies {
		table += fmt.Sprintf("%010d 00000 n \n", len(out))
		out = fmt.Appendf(out, "%d 0 obj\n%s", i+1, b)
	}
	start := len(out)
	return fmt.Appendf(out, "xref\n0 %d\n0000000000 65535 f \n%strailer\n%s\nstartxref\n%d\n%s", len(bodies)+1, table, trailer, start, PDFEnd)
}

// sealed puts a seal on that fits: whether its signature does is not asked here.
func sealed(page, bundle []byte) []byte {
	lines, err := PDFSealLines([]byte(PDFSealText(page, bundle) + "\n\u2014 insider AAAA\n"))
	if err != nil {
		return nil
	}
	return append(bytes.Clone(page), lines...)
}

func deflated(data []byte) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, err := w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return err.Error()
	}
	return b.String()
}

func embedded(stream string) string {
	return fmt.Sprintf("<< /Type /EmbeddedFile /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream\nendobj\n", len(stream), stream)
}

// What somebody can do to a page who does not have the key.
func TestPageAttacksFromOutside(t *testing.T) {
	data := pageFile(t)
	end := bytes.Index(data, []byte(PDFEnd)) + len(PDFEnd)
	page, seal := string(data[:end]), string(data[end:])
	update := "7 0 obj\n<</Length 0>>\nstream\n\nendstream\nendobj\nxref\n7 1\n0000000000 00000 n \ntrailer\n<</Prev 9>>\nstartxref\n60000\n%%EOF\n"
	at := strings.Index(page, "stream\n") + 300
	otherLine, err := PDFSealLines([]byte(PDFSealText([]byte("x"), []byte("y")) + "\n\u2014 insider AAAA\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ data, want string }{
		"a revision behind the seal":        {page + seal + update, PDFRevised},
		"a revision before the seal":        {page + update + seal, PDFRevised},
		"an end behind the end":             {page + seal + PDFEnd, PDFRevised},
		"a byte behind the seal":            {page + seal + "x", PDFRevised},
		"a line behind the seal":            {page + seal + "\n", PDFRevised},
		"the seal twice":                    {page + seal + seal, PDFRevised},
		"a line before the seal":            {page + "\n" + seal, PDFRevised},
		"another comment":                   {page + "% something\n", PDFRevised},
		"the seal taken off":                {page, PDFUnsealed},
		"the seal cut":                      {page + seal[:len(seal)-9] + "\n", PDFSeal},
		"the seal without its last line":    {page + strings.TrimSuffix(seal, "\n"), PDFRevised},
		"the seal of another page":          {page + string(otherLine), PDFSeal},
		"the seal without a signature":      {page + PDFSealLine + "YQ==\n", PDFSeal},
		"a seal that hides the end":         {page + PDFSealLine + strings.Repeat("QUFB", 400) + "\n", PDFSeal},
		"another byte in a stream":          {page[:at] + string([]byte{page[at] ^ 1}) + page[at+1:] + seal, PDFAttachments},
		"another byte in the title":         {strings.Replace(page, "/Producer (expunge)", "/Producer (Expunge)", 1) + seal, PDFSeal},
		"a header before the header":        {"%PDF-1.4\n" + page + seal, PDFNotOurs},
		"a second header":                   {strings.Replace(page, "/Producer (expunge)", "/Producer (%PDF-1)", 1) + seal, PDFRevised},
		"bytes before the first object":     {PDFHeader + " " + page[len(PDFHeader):] + seal, PDFNotOurs},
		"white space between objects":       {strings.Replace(page, "endobj\n2 0 obj", "endobj\n\n2 0 obj", 1) + seal, PDFNotOurs},
		"nothing":                           {"", PDFNotOurs},
		"a certificate":                     {"{}\n", PDFNotOurs},
		"an end alone":                      {PDFHeader + "startxref\n%%EOF\n", PDFNotOurs},
		"a table that points into the text": {strings.Replace(page, "startxref\n", "startxref\n1", 1) + seal, PDFNotOurs},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := OpenPDF([]byte(c.data))
			if got := reasonOf(t, err); got != c.want {
				t.Fatalf("%s (%v), want %s", got, err, c.want)
			}
			if c.want != PDFUnsealed && p.Bundle != nil {
				t.Fatal("a refused page gave its attachment")
			}
		})
	}
}

// What an insider can do, who can seal a page of their own making.
func TestPageAttacksFromInside(t *testing.T) {
	data := pageFile(t)
	opened, err := OpenPDF(data)
	if err != nil {
		t.Fatal(err)
	}
	bodies, trailer := splitPage(t, data)
	catalog, file, spec, sheet := len(bodies)-1, 0, 0, 0
	for i, b := range bodies {
		switch {
		case strings.HasPrefix(b, "<< /Type /EmbeddedFile"):
			file = i
		case strings.HasPrefix(b, "<< /Type /Filespec"):
			spec = i
		case strings.HasPrefix(b, "<</Type /Page\n"):
			sheet = i
		}
	}
	edit := func(i int, old, by string) func([]string, *string) {
		return func(b []string, _ *string) { b[i] = strings.Replace(b[i], old, by, 1) }
	}
	add := func(key string) func([]string, *string) { return edit(catalog, "/Lang (en)", "/Lang (en) "+key) }
	for name, c := range map[string]struct {
		change func([]string, *string)
		want   string
	}{
		"no change":                        {func([]string, *string) {}, "opened"},
		"a script":                         {add("/Names << /JavaScript << /Names [(a) 3 0 R] >> >>"), PDFActive},
		"an action when opened":            {add("/OpenAction << /S /URI >>"), PDFActive},
		"an action of another kind":        {add("/AA << /WC 3 0 R >>"), PDFActive},
		"a form":                           {add("/AcroForm 3 0 R"), PDFActive},
		"an action by an escaped name":     {add("/Open#41ction 3 0 R"), PDFNotOurs},
		"an unknown word":                  {add("/Unknown 1"), PDFNotOurs},
		"layers":                           {add("/OCProperties 3 0 R"), PDFActive},
		"a word twice":                     {add("/Lang (fr)"), PDFNotOurs},
		"a note over the page":             {edit(sheet, "/Parent 1 0 R", "/Parent 1 0 R /Annots [<< /Type /Annot /Subtype /FreeText >>]"), PDFActive},
		"encryption":                       {func(_ []string, tr *string) { *tr = strings.Replace(*tr, "/Size", "/Encrypt 3 0 R /Size", 1) }, PDFNotOurs},
		"an older revision":                {func(_ []string, tr *string) { *tr = strings.Replace(*tr, "/Size", "/Prev 99 /Size", 1) }, PDFNotOurs},
		"a table of another kind":          {func(_ []string, tr *string) { *tr = strings.Replace(*tr, "/Size", "/XRefStm 99 /Size", 1) }, PDFNotOurs},
		"a second attachment":              {func(b []string, _ *string) { b[0] = embedded(deflated([]byte("{}"))) }, PDFAttachments},
		"a second name":                    {edit(catalog, "/Names [(certificate.json)", "/Names [(a.json) 3 0 R (certificate.json)"), PDFAttachments},
		"another name":                     {edit(catalog, "(certificate.json)", "(certificate.exe)"), PDFAttachments},
		"another name of the file":         {edit(spec, "/UF (certificate.json)", "/UF (other.json)"), PDFAttachments},
		"another file for other viewers":   {edit(spec, "/UF 3 0 R", "/UF 4 0 R"), PDFAttachments},
		"a page in the file's place":       {edit(spec, "/F 3 0 R /UF 3 0 R", fmt.Sprintf("/F %d 0 R /UF %d 0 R", sheet+2, sheet+2)), PDFAttachments},
		"a dictionary in a file's place":   {edit(spec, "/F 3 0 R /UF 3 0 R", "/F << /F 1 >> /UF << /F 1 >>"), PDFAttachments},
		"no attachment":                    {edit(catalog, "/Names << /EmbeddedFiles << /Names [(certificate.json) 4 0 R] >> >>", ""), PDFAttachments},
		"an attachment without end":        {func(b []string, _ *string) { b[file] = embedded(deflated(make([]byte, MaxSize+1))) }, PDFAttachments},
		"an attachment with a tail":        {func(b []string, _ *string) { b[file] = embedded(deflated(opened.Bundle) + "tail") }, PDFAttachments},
		"an attachment that is not packed": {func(b []string, _ *string) { b[file] = embedded("{}") }, PDFAttachments},
		"a length by reference":            {edit(file, "/Length ", "/Length 1 0 R /Length1 "), PDFNotOurs},
		"objects in a stream":              {edit(0, "/Type /Pages", "/Type /ObjStm /N 1 /First 2"), PDFNotOurs},
		"deep nesting":                     {edit(0, "/Kids", "/Kids "+strings.Repeat("[", 100000)), PDFNotOurs},
		"nesting that ends":                {edit(0, "/Kids [", "/Kids ["+strings.Repeat("[", 10)+strings.Repeat("]", 10)), PDFNotOurs},
		"a string without end":             {edit(0, "/Kids", "/Title (("), PDFNotOurs},
		"a comment in an object":           {edit(0, "/Kids", "% hidden\n/Kids"), PDFNotOurs},
	} {
		t.Run(name, func(t *testing.T) {
			b, tr := append([]string{}, bodies...), trailer
			c.change(b, &tr)
			page := joinPage(b, tr)
			if name != "no change" && bytes.Equal(page, joinPage(bodies, trailer)) {
				t.Fatal("nothing was changed")
			}
			_, err := OpenPDF(sealed(page, opened.Bundle))
			if got := reasonOf(t, err); got != c.want {
				t.Fatalf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
	t.Run("something before the first object", func(t *testing.T) {
		page := joinPageAfter("% hidden\n", bodies, trailer)
		if _, err := OpenPDF(sealed(page, opened.Bundle)); reasonOf(t, err) != PDFNotOurs {
			t.Fatal(err)
		}
	})
	t.Run("another attachment", func(t *testing.T) {
		b := append([]string{}, bodies...)
		b[file] = embedded(deflated([]byte("{}")))
		if _, err := OpenPDF(sealed(joinPage(b, trailer), opened.Bundle)); reasonOf(t, err) != PDFSeal {
			t.Fatal(err)
		}
	})
}

// No byte of a page can be changed or cut. Those of the signature are for who has the key to judge, and are handed on as
// they are.
func TestEveryByteOfAPageCounts(t *testing.T) {
	data := pageFile(t)
	whole, err := OpenPDF(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(data); i++ {
		if i < len(data)-700 && i%211 > 0 {
			continue // all of the end, and a part of the rest
		}
		changed := bytes.Clone(data)
		changed[i] ^= 1 << (i % 8)
		if p, err := OpenPDF(changed); err == nil && p.Seal == whole.Seal {
			t.Fatalf("byte %d was changed, and nobody saw it", i)
		}
		if p, err := OpenPDF(data[:i]); err == nil || p.Bundle != nil && reasonOf(t, err) != PDFUnsealed {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestPageIsBounded(t *testing.T) {
	if _, err := OpenPDF(append([]byte(PDFHeader), make([]byte, MaxPDF)...)); reasonOf(t, err) != PDFNotOurs {
		t.Fatal(err)
	}
	page, bundle := smallPage(t), []byte("{}\n")
	page = page[:bytes.Index(page, []byte(PDFEnd))+len(PDFEnd)]
	note := PDFSealText(page, bundle) + "\n\u2014 insider " + strings.Repeat("A", 700) + "\n"
	if _, err := OpenPDF(fmt.Appendf(page, "%s%s\n", PDFSealLine, base64.StdEncoding.EncodeToString([]byte(note)))); reasonOf(t, err) != PDFSeal {
		t.Fatalf("a seal of %d bytes: %v", len(note), err)
	}
	if lines, err := PDFSealLines(make([]byte, 700)); err == nil {
		t.Fatalf("a seal of %d bytes hides the end of the page from viewers", len(lines))
	}
}

// smallPage has all that a page must have, and nothing to see.
func smallPage(t testing.TB) []byte {
	t.Helper()
	bundle := []byte("{}\n")
	return sealed(joinPage([]string{
		"<</Type /Pages /Kids [] /Count 0 /MediaBox [0 0 595.28 -841.89]>>\nendobj\n",
		embedded(deflated(bundle)),
		"<< /Type /Filespec /F (certificate.json) /UF (certificate.json) /EF << /F 2 0 R /UF 2 0 R >> >>\nendobj\n",
		"<< /Type /Catalog /Pages 1 0 R /Lang (a\\(b\\)) /AF [3 0 R] /ViewerPreferences << /DisplayDocTitle true >> /Names << /EmbeddedFiles << /Names [(certificate.json) 3 0 R] >> >> >>\nendobj\n",
	}, "<< /Size 5 /Root 4 0 R /ID [<00ff> <00ff>] >>"), bundle)
}

// FuzzOpenPDF: any bytes are answered, and what opens is exactly what was sealed.
func FuzzOpenPDF(f *testing.F) {
	small := smallPage(f)
	if _, err := OpenPDF(small); err != nil {
		f.Fatal(err) // it would find nothing from there
	}
	f.Add(small)
	f.Add(small[:len(small)/2])
	f.Add([]byte(PDFHeader + "1 0 obj\n<</Type /Catalog>>\nendobj\nxref\n0 2\n0000000000 65535 f \n0000000015 00000 n \ntrailer\n<</Root 1 0 R>>\nstartxref\n49\n" + PDFEnd))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := OpenPDF(data)
		if reasonOf(t, err) == "opened" && (len(p.Bundle) > MaxSize || !strings.HasPrefix(p.Seal, p.SealedText+"\n")) {
			t.Fatalf("opened with %d bytes sealed by %q", len(p.Bundle), p.Seal)
		}
	})
}

func BenchmarkOpenPDF(b *testing.B) {
	data := pageFile(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := OpenPDF(data); err != nil {
			b.Fatal(err)
		}
	}
}
