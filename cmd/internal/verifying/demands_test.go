package verifying

import (
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

// Each demand that is not met is a reason of its own, and keeps the exit status from nought.
func TestDemands(t *testing.T) {
	s := newSite(t)
	good, failed := string(s.issue(t, "m", "A", "sanitized")), string(s.issue(t, "m", "B", "failed"))
	for _, c := range []struct {
		demand, certificate, want string
		code                      int
	}{
		{"", good, "", 0},
		{"method: clear\nscope: logical\nverification: sampled\ntechniques: [host overwrite]\nforbid: [block erase]\npolicies: [nist-800-88r2]\nsigned-after: 2026-01-01T00:00:00Z\nsigned-before: 2027-01-01T00:00:00Z\nno-warnings: true\nissuer-known: true", good, "", 0},
		{"method: purge", good, "policy_method", 12},
		{"scope: device", good, "policy_scope", 12},
		{"verification: full", good, "policy_verification", 12},
		{"techniques: [block erase]", good, "policy_technique", 12},
		{"forbid: [host overwrite]", good, "policy_technique", 12},
		{"policies: [aus-ism]", good, "policy_policy", 12},
		{"given: [operator, asset-tag]", good, "policy_given policy_given", 12},
		{"signed-after: 2026-01-02T03:04:07Z", good, "policy_time", 12},
		{"signed-before: 2026-01-02T03:04:06Z", good, "policy_time", 12},
		{"signed-after: 2026-01-02T04:04:06+01:00\nsigned-before: 2026-01-02T03:04:07Z", good, "", 0},
		{"method: purge", failed, "failed", 13},
		{"method: purge\npolicies: [aus-ism]", failed, "failed policy_policy", 12},
	} {
		d, err := ParseDemands([]byte("demands: x\n" + c.demand))
		if err != nil {
			t.Fatalf("%s: %v", c.demand, err)
		}
		a := ask(t, Options{Paths: []string{"-"}, Trust: s.trust(t), Demands: &d}, c.certificate)
		var codes []string
		for _, r := range a.Items[0].Reasons {
			codes = append(codes, r.Code)
		}
		if got := strings.Join(codes, " "); got != c.want || a.ExitStatus != c.code {
			t.Errorf("%q: %d %s, want %d %s", c.demand, a.ExitStatus, got, c.code, c.want)
		}
	}
	// What is worse stays so, and the issuer's own key is not enough where that is demanded.
	d, err := ParseDemands([]byte("demands: x\nissuer-known: true"))
	if err != nil {
		t.Fatal(err)
	}
	self := s.trust(t)
	self.Self = true
	if a := ask(t, Options{Paths: []string{"-"}, Trust: self, Demands: &d}, good); a.ExitStatus != 12 || a.Items[0].Reasons[0].Code != "policy_self" {
		t.Errorf("%+v", a.Items[0])
	}
	if a := ask(t, Options{Paths: []string{"-"}, Trust: self, Demands: &d}, good[:len(good)-9]+"\n"); a.ExitStatus != attest.CodeInvalid {
		t.Errorf("%+v", a)
	}
}

func TestDemandsThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "no name": "method: purge", "unknown word": "demands: x\nmethods: purge", "unknown method": "demands: x\nmethod: erase",
		"no method of a host": "demands: x\nmethod: destroy", "all forbidden": "demands: x\ntechniques: [format]\nforbid: [format]", "unknown technique": "demands: x\nforbid: [shred]", "unknown given": "demands: x\ngiven: [shoe size]", "twice": "demands: x\nmethod: purge\nmethod: clear",
		"two documents": "demands: x\n---\ndemands: y\n", "no time": "demands: x\nsigned-after: yesterday", "a fraction": "demands: x\nsigned-after: 2026-01-01T00:00:00.5Z", "never": "demands: x\nsigned-after: 2027-01-01T00:00:00Z\nsigned-before: 2026-01-01T00:00:00Z",
		"too long": "demands: x\n" + strings.Repeat("#", maxDemands), "no YAML": "\x00", "a list": "[demands]",
	} {
		if d, err := ParseDemands([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// The example in the documentation is one, and names every word and reason.
func TestDemandsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/verify.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(doc), "```yaml\n")
	example, _, _ := strings.Cut(after, "```")
	d, err := ParseDemands([]byte(example))
	if err != nil || d.Method != "purge" || !d.NotSelf || !slices.Equal(d.Given, []string{"operator", "asset-tag", "custody"}) {
		t.Fatalf("%v %+v", err, d)
	}
	source, err := os.ReadFile("../../../attest/demands.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(source), `"policy_`)[1:] {
		code, _, _ := strings.Cut(part, `"`)
		if !strings.Contains(string(doc), "| `policy_"+code+"` |") {
			t.Errorf("docs/verify.md does not explain policy_%s", code)
		}
	}
}

func FuzzParseDemands(f *testing.F) {
	f.Add([]byte("demands: x\nmethod: purge\ngiven: [lot]\n"))
	f.Add([]byte("demands: &a x\nmethod: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := ParseDemands(data); err == nil && (d.Name == "" || d.Check() != nil) {
			t.Fatalf("%+v", d)
		}
	})
}

// A page can be larger than a certificate, and nothing else can: whatever is given, no more than that is read.
func TestOnlyPagesAreLarge(t *testing.T) {
	for begin, most := range map[string]int{"%PDF-1.7\n": attest.MaxPDF + 1, `{"schema":`: attest.MaxSize + 1, "\x00": attest.MaxSize + 1} {
		got, err := readAll(io.MultiReader(strings.NewReader(begin), strings.NewReader(strings.Repeat("x", 8<<20))), 0)
		if err != nil || len(got) != most {
			t.Errorf("%q: %d bytes, %v; want %d", begin, len(got), err, most)
		}
	}
}
