package attest

import (
	"os"
	"strings"
	"testing"
)

// Only a page whose certificate's log sealed it is worth something: not one to which somebody attached an authentic record, and not
// one that somebody else sealed.
func TestPageOfARecordIsNone(t *testing.T) {
	data := pageFile(t)
	bodies, trailer := splitPage(t, data)
	for name, want := range map[string]string{"manifest.v1.json": PDFAttachments, "destruction.v1.json": PDFAttachments, "certificate.v1.json": PDFSeal} {
		bundle, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		forged := append([]string{}, bodies...)
		for i, b := range forged {
			if strings.Contains(b, "/EmbeddedFile") && strings.Contains(b, "stream\n") {
				forged[i] = embedded(deflated(bundle))
			}
		}
		page := sealed(joinPage(forged, trailer), bundle)
		if _, err := OpenPDF(page); err != nil {
			t.Fatalf("%s: the forged page does not even open: %v", name, err)
		}
		trust := trustIn(t, testKey(7, RoleHost))
		if Verify(bundle, trust).Code == CodeInvalid {
			t.Fatalf("%s is not authentic: nothing is shown", name)
		}
		if r := NewVerifier(trust).VerifyPage(page); r.Code != CodeInvalid || r.Reasons[0].Code != want || r.IsRecord() || r.Result != nil {
			t.Errorf("%s: code %d, %v", name, r.Code, r.Reasons)
		}
	}
}

// A root that takes the word of any key back, or bounds it, leaves a summary without a key to be judged by.
func TestSummaryUnderABoundedRoot(t *testing.T) {
	zero := int64(0)
	for name, root := range map[string]Root{
		"revoked":  {Revocations: []Revocation{{KeyID: hash("1")}}},
		"retired":  {Keys: []RootKey{{Until: &Bound{Index: &zero}}}},
		"not yet":  {Keys: []RootKey{{From: &Bound{Time: "2026-01-01T00:00:00Z"}}}},
		"for ever": {Keys: []RootKey{{}}},
	} {
		r := SummaryReport{Outcome: "PURGED verified", Simulated: true}
		r.judge(Trust{root: &root})
		got := r.AllowSimulated()
		if bound := name != "for ever"; (got.Code == CodePolicy) != bound || (got.Code == CodeOK) == bound || (len(got.Reasons) == 1) != bound {
			t.Errorf("%s: code %d, %v", name, got.Code, got.Reasons)
		}
	}
}
