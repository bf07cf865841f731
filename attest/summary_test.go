package attest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// A summary is taken from the log's key alone, in its one form, and says no more than the certificate.
func TestSummary(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	summaryOf := func(data []byte, err error) string {
		var c Certificate
		if e := json.Unmarshal(data, &c); err != nil || e != nil {
			t.Fatal(err, e)
		}
		return c.Summary
	}
	good := summaryOf(mustIssue(t, is, "S", "j"), nil)
	failed := summaryOf(issue(t, is, "T", "j", func(r *Result) {
		r.Outcome = Outcome{Status: "failed", Reason: "it failed", Exceptions: []Exception{}}
	}))
	trust, err := ParseTrust(is.Log.key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	if len(good) > 600 {
		t.Errorf("%d bytes: too much for a code that telephones read", len(good))
	}
	r := VerifySummary([]byte(good), trust)
	if r.Code != CodeOK || r.Serial != "S" || r.Model != "virtio disk" || r.Outcome != "CLEARED verified" || r.Signed != "2026-01-02T03:06:00Z" || !isHash(r.Result) {
		t.Fatalf("%+v", r)
	}
	for name, c := range map[string]struct {
		text  string
		trust Trust
		want  int
	}{
		"without the last newline":             {strings.TrimSuffix(good, "\n"), trust, CodeOK},
		"of a failure":                         {failed, trust, CodeOutcome},
		"a failure made good":                  {strings.Replace(failed, "FAILED - holds data", "CLEARED verified", 1), trust, CodeInvalid},
		"another serial number":                {strings.Replace(good, "serial S", "serial T", 1), trust, CodeInvalid},
		"another hash":                         {strings.Replace(good, "result ", "result 0", 1), trust, CodeInvalid},
		"a line more":                          {strings.Replace(good, "\n\n", "\nand more\n\n", 1), trust, CodeInvalid},
		"a line less":                          {strings.Replace(good, "model virtio disk\n", "", 1), trust, CodeInvalid},
		"cut":                                  {good[:len(good)-9], trust, CodeInvalid},
		"a signature more":                     {good + "— witness.example " + strings.Repeat("A", 96) + "\n", trust, CodeInvalid},
		"a space more":                         {good + " ", trust, CodeInvalid},
		"empty":                                {"", trust, CodeInvalid},
		"of no log that is known":              {good, trustIn(t, is.Key), CodePolicy},
		"of a log's key in the role of a host": {good, mustTrust(t, is.Log.key.Ed25519.PEM(RoleHost)), CodePolicy},
		"of nobody":                            {good, Trust{}, CodePolicy},
	} {
		r := VerifySummary([]byte(c.text), c.trust)
		if r.Code != c.want || r.Code != CodeOK && len(r.Reasons) == 0 || c.want == CodePolicy && r.Serial+r.Outcome != "" {
			t.Errorf("%s: code %d, want %d: %+v", name, r.Code, c.want, r)
		}
	}
	sim := testIssuer(t, testKey(3, RoleSimulation))
	i := testIntent("V", "j")
	i.Simulated = true
	at, err := sim.Intent(i)
	if err != nil {
		t.Fatal(err)
	}
	result := testResult("V", "j", at)
	result.Simulated = true
	simulated := summaryOf(sim.Result(result))
	r = VerifySummary([]byte(simulated), mustTrust(t, sim.Log.key.PublicPEM()))
	if r.Code != CodePolicy || r.AllowSimulated().Code != CodeOK || len(r.AllowSimulated().Reasons) != 0 {
		t.Errorf("%+v", r)
	}
	if r := VerifySummary([]byte(strings.Replace(simulated, " SIMULATED", "", 1)), mustTrust(t, sim.Log.key.PublicPEM())); r.Code != CodeInvalid {
		t.Errorf("a simulation passed for real: %+v", r)
	}
	// The key that signs checkpoints vouches for no run of a program.
	if r := Verify(mustIssue(t, is, "U", "j"), trust); r.Code != CodePolicy {
		t.Errorf("code %d", r.Code)
	}
}

func mustTrust(t *testing.T, pem []byte) Trust {
	t.Helper()
	trust, err := ParseTrust(pem)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// The certificate is of a file: each process of the fuzzer must have the same.
func FuzzVerifySummary(f *testing.F) {
	data, err := os.ReadFile("testdata/certificate.v1.json")
	if err != nil {
		f.Fatal(err)
	}
	var c Certificate
	if err := json.Unmarshal(data, &c); err != nil {
		f.Fatal(err)
	}
	is := testIssuer(f, testKey(7, RoleHost))
	trust, err := ParseTrust(is.Log.key.PublicPEM())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(c.Summary))
	f.Add([]byte(strings.Replace(c.Summary, "v1", "v1 SIMULATED", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r := VerifySummary(data, trust); r.Code != CodeInvalid && r.Trust != "untrusted" && strings.TrimSuffix(string(data), "\n")+"\n" != c.Summary {
			t.Fatalf("accepted: %q", data)
		}
	})
}
