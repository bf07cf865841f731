package attest

import "errors"

// VerifyPage says what a page is worth, with the certificate in it: as Verify, and invalid when the page is not as it was
// issued, whatever the certificate is.
func (v *Verifier) VerifyPage(data []byte) Report {
	page, err := OpenPDF(data)
	if err != nil {
		return badPage(err)
	}
	r := v.Verify(page.Bundle)
	switch {
	case r.Code == CodeInvalid:
		return r
	case r.Result == nil:
		return badPage(notPDF(PDFAttachments, "what is attached is no certificate"))
	}
	if err := r.CheckSeal(page); err != nil {
		return badPage(err)
	}
	return r
}

func badPage(err error) Report {
	reason := PDFNotOurs
	var page *PDFError
	if errors.As(err, &page) {
		reason = page.Reason
	}
	return Report{Code: CodeInvalid, Trust: "untrusted", Reasons: []Reason{{reason, err.Error(),
		"do not rely on what the page shows; save its attachment, certificate.json, and verify that, or get the page again"}}}
}
