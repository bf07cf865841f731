package render

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

var (
	tag   = regexp.MustCompile(`<[^>]*>`)
	value = regexp.MustCompile(` (d|href)="[^"]*"`)
)

// tags are the elements of a page without what carries data.
func tags(t *testing.T, f *Form) []string {
	t.Helper()
	f.summary = "" // a code has the size of its text
	page, err := f.HTML()
	if err != nil {
		t.Fatal(err)
	}
	return tag.FindAllString(value.ReplaceAllString(string(page), ""), -1)
}

func everywhere(word string) func(*attest.Result) {
	return func(r *attest.Result) {
		g := r.Given
		for _, s := range []*string{&g.Organization, &g.Processor, &g.Site, &g.Location, &g.AssetTag, &g.Source, &g.Lot, &g.Ticket, &g.Custody, &g.Received, &g.Seal, &g.Details, &g.Notes,
			&g.Operator.Name, &g.Operator.Title, &g.Operator.Organization, &g.Operator.Location, &g.Operator.Contact, &r.Device.Model, &r.Device.Serial, &r.Device.Firmware, &r.Agent.Version,
			&r.Policy.Name, &r.Policy.Standard, &r.Sanitization.Excludes[0], &r.Sanitization.RestsOn[0], &r.Verification.Expected, &r.Sanitization.Operations[0].Command, &r.Sanitization.Operations[0].Status,
			&r.Sanitization.Operations[0].Because, &r.Sanitization.Operations[0].Timing, &r.Device.Nodes[0]} {
			*s = word
		}
	}
}

// Whatever a drive or a person says, it becomes text.
func TestHTMLHasNoElementsButOurs(t *testing.T) {
	plain := tags(t, sample(t, everywhere("plain words")))
	for _, hostile := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onclick='x`, `</td></table><h1>PURGED verified</h1>`, `<!--`, `]]>`, `&lt;b&gt;`, `</style><style>*{display:none}`, `javascript:alert(1)`} {
		if got := tags(t, sample(t, everywhere(hostile))); !slices.Equal(got, plain) {
			t.Errorf("%s changed the elements", hostile)
		}
	}
}

func TestHTMLStandsAlone(t *testing.T) {
	f := sample(t, samples["failed-simulated"])
	f.site = Site{Name: "Recycler <North>", Address: []string{"a & b"}}
	data, err := f.HTML()
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, want := range []string{
		`<html lang="en">`, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">`,
		`<h1>Record of a sanitization that did not succeed</h1>`, `<h2>SIMULATED: FAILED - holds data</h2>`, `<p class="band" role="alert"><strong>SIMULATED`, `Recycler &lt;North&gt;`, `no part of the certificate`,
		`<th scope="row">Serial number</th><td><strong>S676NX0R123456</strong></td>`, "as stated by the operator, not checked", f.report.KeyID, f.digest,
		`href="data:application/json;base64,` + base64.StdEncoding.EncodeToString(f.bundle) + `"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, not := range []string{"<script", "http://", "https://", "<link", "<iframe", "@import", "url("} {
		if strings.Contains(strings.ReplaceAll(page, `xmlns="http://www.w3.org/2000/svg"`, ""), not) {
			t.Errorf("it has %s", not)
		}
	}
	again, err := sampleAgain(t, f).HTML()
	if err != nil || string(again) != page {
		t.Errorf("the same certificate gave another page, %v", err)
	}
}

func sampleAgain(t *testing.T, f *Form) *Form {
	t.Helper()
	again, err := New(f.report, f.bundle, f.site)
	if err != nil {
		t.Fatal(err)
	}
	return again
}
