package render

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// A certificate that was withdrawn, or rejected by who had to validate it, is not drawn as one that stands: not as a page, not as a
// row, and not as a code, which could not say it.
func TestWhatDoesNotStandIsNotDrawnAsIfItDid(t *testing.T) {
	is := issuer(t)
	r := purged()
	issued(t, is, r)
	job, drive := r.History.Job, r.Device.DriveID()
	for _, c := range []struct {
		name, words, column string
		do                  func() ([]byte, error)
	}{
		{"corrected", "PURGED verified", "", func() ([]byte, error) {
			return is.Supersede(job, drive, attest.Correction{Reason: "the tag was wrong", Given: &attest.Given{AssetTag: "THE-RIGHT-ONE"}})
		}},
		{"withdrawn", "WITHDRAWN", "withdrawn", func() ([]byte, error) {
			return is.Supersede(job, drive, attest.Correction{Reason: "another drive"})
		}},
	} {
		bundle, err := c.do()
		if err != nil {
			t.Fatal(err)
		}
		f, err := New(attest.Verify(bundle, attest.TrustKey(is.Key)), bundle, Site{})
		if err != nil {
			t.Fatal(err)
		}
		p, stands := f.page(""), c.column == ""
		if !strings.HasPrefix(p.verdict.words, c.words) || (p.verdict.grade == done) != stands || strings.HasPrefix(p.title, "Certificate") != stands {
			t.Errorf("%s: %+v, %s", c.name, p.verdict, p.title)
		}
		html, err := f.HTML()
		if err != nil || !bytes.Contains(html, []byte("THE-RIGHT-ONE")) || bytes.Contains(html, []byte("EB-0047112")) || bytes.Contains(bytes.ToLower(html), []byte("withdrawn")) == stands {
			t.Errorf("%s: %v: the page does not say what was said later", c.name, err)
		}
		csv, err := CSV([]*Form{f})
		if err != nil {
			t.Fatal(err)
		}
		if row := rowsOf(t, csv)[0]; row["standing"] != c.column || !strings.HasPrefix(row["words"], c.words) || row["given_asset_tag"] != "THE-RIGHT-ONE" {
			t.Errorf("%s: %q, %q", c.name, row["standing"], row["words"])
		}
		if _, err := f.QR(); errors.Is(err, ErrNoSummary) == stands {
			t.Errorf("%s: a code: %v", c.name, err)
		}
		if _, err := f.PDF(); err != nil {
			t.Error(err)
		}
	}
}
