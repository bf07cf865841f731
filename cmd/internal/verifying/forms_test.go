package verifying

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// pageAndTrust are a page as the renderer made it, with the certificate in it, and the keys of host and log.
func pageAndTrust(t *testing.T) (page []byte, certificate attest.Certificate, trust attest.Trust) {
	t.Helper()
	page, err := os.ReadFile("../../../attest/testdata/page.pdf")
	if err != nil {
		t.Fatal(err)
	}
	p, err := attest.OpenPDF(page)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(p.Bundle, &certificate); err != nil {
		t.Fatal(err)
	}
	r := attest.Verify(p.Bundle, attest.Trust{})
	var text []byte
	for _, k := range certificate.Keys {
		der, err := base64.StdEncoding.DecodeString(k)
		if err != nil {
			t.Fatal(err)
		}
		if id := fmt.Sprintf("%x", sha256.Sum256(der)); id == r.KeyID || strings.HasSuffix(r.LogOrigin, id) {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})...)
		}
	}
	if trust, err = attest.ParseTrust(text); err != nil {
		t.Fatal(err)
	}
	return page, certificate, trust
}

// A page is judged with the certificate in it: whatever was done to either is found.
func TestPages(t *testing.T) {
	page, _, trust := pageAndTrust(t)
	dir := t.TempDir()
	put(t, dir, "good.pdf", page)
	put(t, dir, "PAGE.PDF", page)
	if a := ask(t, Options{Paths: []string{dir}, Trust: trust}, ""); a.ExitStatus != 0 || len(a.Items) != 2 || a.Items[0].Serial == "" || a.Items[0].Trust.Level != "trusted" {
		t.Fatalf("%+v", a)
	}
	sealed := bytes.LastIndex(page, []byte(attest.PDFSealLine))
	words := bytes.Index(page, []byte("/Producer"))
	if words < 0 {
		words = bytes.Index(page, []byte("/Title"))
	}
	painted := append(bytes.Clone(page), "1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\nstartxref\n0\n%%EOF\n"...)
	changed := bytes.Clone(page)
	changed[words+14] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"an overlay":          {painted, attest.PDFRevised},
		"a byte behind":       {append(bytes.Clone(page), ' '), attest.PDFRevised},
		"without its seal":    {page[:sealed], attest.PDFUnsealed},
		"a letter changed":    {changed, attest.PDFSeal},
		"another kind of PDF": {[]byte("%PDF-1.4\n%%EOF\n"), attest.PDFNotOurs},
		"cut":                 {page[:len(page)/2], attest.PDFNotOurs},
	} {
		a := ask(t, Options{Paths: []string{put(t, t.TempDir(), "x.pdf", c.data)}, Trust: trust}, "")
		if i := a.Items[0]; a.ExitStatus != attest.CodeInvalid || i.Reasons[0].Code != c.want || i.Serial != "" || i.Reasons[0].Hint == "" {
			t.Errorf("%s: %d %+v, want %s", name, a.ExitStatus, i.Reasons, c.want)
		}
	}
	// A seal that fits and that another log signed.
	s := newSite(t)
	p, err := attest.OpenPDF(page)
	if err != nil {
		t.Fatal(err)
	}
	note, err := s.SignNote(p.SealedText)
	if err != nil {
		t.Fatal(err)
	}
	line, err := attest.PDFSealLines(note)
	if err != nil {
		t.Fatal(err)
	}
	foreign := append(bytes.Clone(page[:sealed]), line...)
	if a := ask(t, Options{Paths: []string{put(t, t.TempDir(), "x.pdf", foreign)}, Trust: trust}, ""); a.ExitStatus != attest.CodeInvalid || a.Items[0].Reasons[0].Code != attest.PDFSeal {
		t.Errorf("sealed by somebody: %+v", a.Items[0])
	}
}

// The text of a page's code is judged by the log's key, and is never taken for the certificate.
func TestCodes(t *testing.T) {
	_, certificate, trust := pageAndTrust(t)
	o := Options{Paths: []string{"-"}, Trust: trust}
	a := ask(t, o, certificate.Summary)
	if i := a.Items[0]; a.ExitStatus != 0 || i.Serial == "" || i.Summary == nil || !strings.HasPrefix(i.Summary.Outcome, "PURGED") || i.Drive != nil {
		t.Fatalf("%d %+v", a.ExitStatus, i)
	}
	if a := ask(t, o, strings.Replace(certificate.Summary, "serial ", "serial X", 1)); a.ExitStatus != attest.CodeInvalid || a.Items[0].Serial != "" {
		t.Errorf("%+v", a.Items[0])
	}
	o.Trust = newSite(t).trust(t)
	if a := ask(t, o, certificate.Summary); a.ExitStatus != attest.CodePolicy || a.Items[0].Reasons[0].Code != "untrusted_key" || a.Items[0].Serial != "" {
		t.Errorf("%+v", a.Items[0])
	}
	o.Trust, o.Against = trust, listed(t, "serial\n"+a.Items[0].Serial)
	if a := ask(t, o, certificate.Summary); a.ExitStatus != attest.CodePolicy || len(a.Against.Findings) != 1 {
		t.Errorf("a summary closed a drive of the list: %+v", a)
	}
}

// What is asked of certificates is asked of a record in vain: it never answers for a drive in their place.
func TestRecordsAnswerForThemselvesAlone(t *testing.T) {
	_, _, trust := pageAndTrust(t) // of the same host
	for _, name := range []string{"manifest.v1.json", "destruction.v1.json"} {
		data, err := os.ReadFile("../../../attest/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseDemands([]byte("demands: x\nmethod: purge"))
		if err != nil {
			t.Fatal(err)
		}
		for what, o := range map[string]Options{
			"demands":  {Demands: &d},
			"a drive":  {Also: func(attest.Report) []attest.Reason { return nil }},
			"evidence": {Check: func(attest.Result) *attest.Reason { return nil }},
		} {
			o.Paths, o.Trust = []string{put(t, t.TempDir(), name, data)}, trust
			if a := ask(t, Options{Paths: o.Paths, Trust: trust}, ""); a.ExitStatus != 0 {
				t.Fatalf("by itself: %d %+v", a.ExitStatus, a.Items[0].Reasons)
			}
			a := ask(t, o, "")
			found := false
			for _, r := range a.Items[0].Reasons {
				found = found || r.Code == "record_only"
			}
			if a.ExitStatus != attest.CodePolicy || !found {
				t.Errorf("%s against %s: %d %+v", name, what, a.ExitStatus, a.Items[0].Reasons)
			}
		}
	}
}

// A PDF that has nothing to do with this is not judged where it lies among others, and is when it is named.
func TestOtherPDFs(t *testing.T) {
	page, _, trust := pageAndTrust(t)
	dir := t.TempDir()
	put(t, dir, "good.pdf", page)
	other := put(t, dir, "invoice.pdf", []byte("%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF\n"))
	put(t, dir, "cut.pdf", page[:len(page)-300])
	if a := ask(t, Options{Paths: []string{dir}, Trust: trust}, ""); a.ExitStatus != attest.CodeInvalid || a.Summary != (Summary{Certificates: 2, Sanitized: 1, Invalid: 1, NotJudged: 1}) {
		t.Errorf("%d %+v", a.ExitStatus, a.Summary)
	}
	if a := ask(t, Options{Paths: []string{other}, Trust: trust}, ""); a.ExitStatus != attest.CodeInvalid {
		t.Errorf("%d", a.ExitStatus)
	}
}
