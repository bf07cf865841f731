package verifying

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// What somebody takes for a certificate is named for what it is, with what to verify in its place. It is never valid, and what was a
// certificate and is damaged is not excused.
func TestStraysAreNamed(t *testing.T) {
	for _, c := range []struct {
		name, text, kind string
	}{
		{"page", "<!DOCTYPE html>\n<html lang=\"en\">" + strings.Repeat(" ", 9000) + `<a download="certificate.json" href="data:,">`, "page"},
		{"other page", "<html><p>CLEARED verified", "html"},
		{"code", `<svg xmlns="http://www.w3.org/2000/svg">`, "picture"},
		{"PDF", "%PDF-1.4\nprinted", "pdf"},
		{"register", "serial,model,wwn,firmware,protocol\nA,B,,,", "register"},
		{"register in lines", `{"schema":"expunge/certificate-record/v1","serial":"A"}`, "register"},
		{"manifest of a register", "expunge.register/v1\nfile a.csv\n", "register_manifest"},
		{"plan", "{\n  \"digest\": \"05\",\n  \"plan\": {\n    \"schema\": \"expunge/plan/v1\"", "plan"},
		{"evidence", `{"schema":"expunge/evidence/v1","agent":"x"}` + "\n" + `{"schema":"expunge/plan/v1"}`, "evidence"},
		{"journal", `{"seq":1,"prev":"e3b0"`, "journal"},
		{"checkpoint", "expunge.log/02\n4\n", "checkpoint"},
		{"envelope", `{"payload":"eyJf","payloadType":"application/vnd.in-toto+json"}`, "envelope"},
		{"key", "# a key\n-----BEGIN PUBLIC KEY-----\nMCow", "public_key"},
		{"private key", "-----BEGIN PRIVATE KEY-----\nMC", "private_key"},
		{"what --json printed", "{\n  \"schema\": \"expunge/run/v1\",\n", "document"},
		{"nothing", " \n", "empty"},
		{"anything", "CLEARED verified", "unknown"},
		{"rest of a certificate", `{"checkpoint":"expunge.log/02\n4\n`, ""},
		{"altered certificate", `{"schema":"https://github.com/expunge-dev/expunge/certificate/v1","serial":"A"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "it.json")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			var d struct {
				Items      []Item
				ExitStatus int `json:"exit_status"`
			}
			var out, errs strings.Builder
			code := Run(t.Context(), nil, &out, &errs, Options{Paths: []string{file}, Prog: "expunge-verify"})
			headline := map[bool]string{true: ": INVALID\n", false: ": NO CERTIFICATE\n"}[c.kind == ""]
			if code != attest.CodeInvalid || !strings.HasSuffix(out.String(), headline) {
				t.Errorf("%d, %q", code, out.String())
			}
			if c.kind != "" && (!strings.Contains(errs.String(), "it holds no certificate: ") || c.kind != unknownKind && strings.Count(errs.String(), "\n") != 2) {
				t.Errorf("%q", errs.String())
			}
			out.Reset()
			Run(t.Context(), nil, &out, &errs, Options{Paths: []string{file}, Prog: "expunge-verify", JSON: true})
			if err := json.Unmarshal([]byte(out.String()), &d); err != nil {
				t.Fatal(err)
			}
			if len(d.Items) != 1 || d.Items[0].Kind != c.kind || d.Items[0].Verdict != "invalid" || d.ExitStatus != attest.CodeInvalid {
				t.Errorf("%+v", d)
			}
			// Reasons that were there keep their place.
			if r := d.Items[0].Reasons; r[0].Code == "not_a_certificate" || c.kind != "" && r[len(r)-1].Code != "not_a_certificate" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The sum calls things by their names: a drive that is unproven did not fail, and nobody who named no policy is told that one was not met.
func TestSumCallsThingsByTheirNames(t *testing.T) {
	var s Summary
	for _, i := range []Item{{Code: attest.CodeOK}, {Code: attest.CodeOutcome, Outcome: "failed"}, {Code: attest.CodeOutcome, Outcome: "unproven"}, {Code: attest.CodeOutcome, Outcome: "sanitized"}, {Code: attest.CodePolicy}} {
		s.count(i)
	}
	if got, want := s.words(), "5 certificates: 1 sanitized, 1 failed, 0 refused, 0 invalid, 1 unproven, 1 rejected or withdrawn, 1 authentic but not accepted\n"; got != want || s.Failed != 3 {
		t.Errorf("%q, want %q; %+v", got, want, s)
	}
	for code, want := range map[string]string{"untrusted": "NOT ACCEPTED", "policy_method": "POLICY NOT MET"} {
		if got := headline(Item{Code: attest.CodePolicy, Verdict: "policy not met", Reasons: []attest.Reason{{Code: code}}}); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
}
