package verifying

import (
	"bytes"
	"errors"

	"github.com/expunge-dev/expunge/attest"
)

// isPage says whether a file begins as a PDF does.
func isPage(data []byte) bool { return bytes.HasPrefix(data, []byte("%PDF-")) }

// report judges a certificate, a record, or the certificate in a page.
func (o Options) report(data []byte) attest.Report {
	if !isPage(data) {
		return o.verifier.Verify(data)
	}
	page, err := attest.OpenPDF(data)
	if err != nil {
		return badPage(err)
	}
	r := o.verifier.Verify(page.Bundle)
	if r.Result == nil {
		return r
	}
	if err := r.CheckSeal(page); err != nil {
		return badPage(err)
	}
	return r
}

// badPage is what a page is worth that is not as it was issued. The certificate in it may be; nobody should look at the page.
func badPage(err error) attest.Report {
	reason := attest.PDFNotOurs
	var page *attest.PDFError
	if errors.As(err, &page) {
		reason = page.Reason
	}
	return attest.Report{Code: attest.CodeInvalid, Trust: "untrusted", Reasons: []attest.Reason{{Code: reason, Message: err.Error(),
		Hint: "do not rely on what the page shows; save its attachment, certificate.json, and verify that, or get the page again"}}}
}

// judgeSummary answers for the text of a code on a page.
func (j *job) judgeSummary(o Options, data []byte) Item {
	r := attest.VerifySummary(data, o.Trust)
	if o.AllowSimulated {
		r = r.AllowSimulated()
	}
	if o.Demands != nil || o.Against != nil || o.Also != nil || o.Check != nil || o.MinCosigners > 0 {
		r.Reasons = append(r.Reasons, attest.Reason{Code: "summary_only", Message: "a summary cannot be held against what is asked for beside that it is authentic", Hint: "verify the certificate itself"})
		if r.Code == attest.CodeOK {
			r.Code = attest.CodePolicy
		}
	}
	item := Item{Path: j.path, File: j.path, Line: j.line, Verdict: attest.Report{Code: r.Code}.Verdict(), Code: r.Code, ExitStatus: r.Code, Reasons: r.Reasons,
		Simulated: r.Simulated, Trust: Trust{Level: r.Trust, Simulated: r.Simulated}, Serial: r.Serial, Model: r.Model, Time: r.Signed}
	if item.Reasons == nil {
		item.Reasons = []attest.Reason{}
	}
	if r.Result != "" {
		item.Summary = &Summarized{r.Outcome, r.By, r.Result, r.Origin}
	}
	return item
}

// Summarized is what the code on a page says beside serial number, model and time.
type Summarized struct {
	Outcome string `json:"outcome"` // in words
	By      string `json:"by"`      // method, technique and policy
	Result  string `json:"result_sha256"`
	Log     string `json:"log"` // whose key signed it
}
