package verifying

import (
	"bytes"
	"regexp"

	"github.com/expunge-dev/expunge/attest"
)

// stray is a file that holds no certificate and is not what is left of one.
type stray struct {
	kind string // stable, for --json
	what string // as people call it
	hint string // what to verify in its place
}

// theCertificate is what to verify in place of something that was made beside it.
const theCertificate = "verify certificate.json itself; where it was issued: expunge certificate export SERIAL -o certificate.json"

// strays are told apart by how they begin, or by what no other file has near its beginning. The first that fits counts.
var strays = []struct {
	begins, has string // both are in small letters; one may be empty
	stray
}{
	{begins: "<!doctype html", has: `download="certificate.json"`, stray: stray{"page", "it is a page (HTML) from which one can be saved", "open it, save the certificate by its link certificate.json, and verify that"}},
	{begins: "<!doctype html", stray: stray{"html", "it is an HTML page", theCertificate}},
	{begins: "<html", stray: stray{"html", "it is an HTML page", theCertificate}},
	{begins: "<svg", stray: stray{"picture", "it is a picture (SVG), such as the code of a signed summary", "read the code, and verify its text; or " + theCertificate}},
	{begins: "%pdf-", stray: stray{"pdf", "it is a PDF in which there is no certificate", "a page of a certificate has it attached, as certificate.json: get the page as it was issued, not printed or scanned"}},
	{begins: "serial,model,wwn,firmware,", stray: stray{"register", "it is a register (CSV): rows about certificates, which prove nothing by themselves", theCertificate}},
	{has: `"schema":"expunge/certificate-record/`, stray: stray{"register", "it is a register (one JSON object a line) about certificates, which proves nothing by itself", theCertificate}},
	{begins: "expunge.register/v1\n", stray: stray{"register_manifest", "it is the signed manifest of a register", "docs/forms.md says how a register is checked; or " + theCertificate}},
	{has: `"schema":"expunge/evidence/`, stray: stray{"evidence", "it is an evidence bundle", "hold the certificate against it: expunge verify certificate.json --evidence FILE"}},
	{has: `"schema":"expunge/plan/`, stray: stray{"plan", "it is a plan: what is to be done, not what was", "when it was carried out, " + theCertificate}},
	{begins: `{"seq":1,"prev":"`, stray: stray{"journal", "it is a journal, from which a certificate is derived", theCertificate}},
	{begins: "expunge.log/", stray: stray{"checkpoint", "it is a checkpoint of a log", "expunge audit judges a log; of a drive, " + theCertificate}},
	{begins: `{"payload":"`, stray: stray{"envelope", "it is one statement of a log, without the proof that it is in there", theCertificate}},
	{has: "private key-----", stray: stray{"private_key", "it is a private key: nobody else should have it", theCertificate}},
	{has: "-----begin public key-----", stray: stray{"public_key", "it is a public key", "it says whose word you take: expunge verify certificate.json --trust FILE"}},
}

// unknownKind is of what is not known to be anything.
const unknownKind = "unknown"

// program is the form that a document of this program says it has.
var program = regexp.MustCompile(`"schema":"(expunge/[a-z./-]{1,60}/v[0-9]{1,3})"`)

// nearBeginning is as much as is looked at, beside a page's link.
const nearBeginning = 4096

// strayed says what a file is that is no certificate; nil of what is, or had been, one: that is judged.
func strayed(data []byte) *stray {
	if attest.Resembles(data) || isOurPage(data) {
		return nil
	}
	text := bytes.TrimLeft(data, " \t\r\n\xef\xbb\xbf")
	switch {
	case len(data) == 0:
		return &stray{"empty", "the file is empty", theCertificate}
	case len(text) == 0:
		return &stray{"empty", "the file is blank", theCertificate}
	}
	near := bytes.ToLower(text[:min(len(text), nearBeginning)])
	spaceless := bytes.ReplaceAll(near, []byte(`": "`), []byte(`":"`)) // of documents that are indented
	for i, s := range strays {
		within := spaceless
		if s.kind == "page" {
			within = text
		}
		if bytes.HasPrefix(near, []byte(s.begins)) && bytes.Contains(within, []byte(s.has)) {
			return &strays[i].stray
		}
	}
	if m := program.FindSubmatch(spaceless); m != nil {
		return &stray{"document", "it is a document of this program (" + string(m[1]) + ")", theCertificate}
	}
	return &stray{unknownKind, "it is nothing that is known here", "if it was a certificate it is damaged: get it again"}
}

// apply adds to what was judged of a file that it never was a certificate.
func (s *stray) apply(i *Item) {
	i.Kind = s.kind
	i.Reasons = append(i.Reasons, attest.Reason{Code: "not_a_certificate", Message: "it holds no certificate: " + s.what, Hint: s.hint})
}

// told are the reasons that people are told: of what is known to be something else, how it fails to be a certificate says nothing.
func (i Item) told() []attest.Reason {
	if i.Kind != "" && i.Kind != unknownKind {
		return i.Reasons[len(i.Reasons)-1:]
	}
	return i.Reasons
}
