package verifying

import (
	"bytes"

	"github.com/expunge-dev/expunge/attest"
)

// isPage says whether a file begins as a PDF does.
func isPage(data []byte) bool { return bytes.HasPrefix(data, []byte("%PDF-")) }

// isOurPage says whether a PDF among other files looks like a page of a certificate, or as if it had been one.
func isOurPage(data []byte) bool {
	return isPage(data) && (bytes.HasPrefix(data, []byte(attest.PDFHeader)) && bytes.Contains(data, []byte(attest.PDFAttachment)) || bytes.Contains(data, []byte(attest.PDFSealLine)))
}

// report judges a certificate, a record, or the certificate in a page.
func (o Options) report(data []byte) attest.Report {
	if isPage(data) {
		return o.verifier.VerifyPage(data)
	}
	return o.verifier.Verify(data)
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
