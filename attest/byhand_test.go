package attest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// byHand is the worked example of docs/certificate.md.
func byHand(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "docs", "certificate.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "## By hand\n")
	if !found {
		t.Fatal("docs/certificate.md has no worked example")
	}
	var script strings.Builder
	for line := range strings.Lines(text) {
		switch code, indented := strings.CutPrefix(line, "    "); {
		case indented:
			script.WriteString(code)
		case script.Len() > 0 && strings.TrimSpace(line) != "":
			return script.String()
		case script.Len() > 0:
			script.WriteString("\n")
		}
	}
	return script.String()
}

// A stranger without this program checks a certificate with what every machine has, as the documentation
// says; and what was changed is found so too.
func TestByHand(t *testing.T) {
	for _, tool := range []string{"sh", "openssl", "jq", "basenc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	script := byHand(t)
	check := func(t *testing.T, certificate, key []byte) (string, error) {
		t.Helper()
		dir := t.TempDir()
		for name, data := range map[string][]byte{"certificate.json": certificate, "host.pub": key} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	p256, err := generate(P256)
	if err != nil {
		t.Fatal(err)
	}
	of256, err := NewKey(p256, RoleHost)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []*Key{testKey(1, RoleHost), of256} {
		t.Run(string(host.Alg), func(t *testing.T) {
			is := testIssuer(t, host)
			for _, job := range []string{"j1", "j2", "j3", "j4"} {
				mustIssue(t, is, "S", job)
			}
			good, err := is.Reissue("j2", testDevice("S").DriveID())
			if err != nil {
				t.Fatal(err)
			}
			out, err := check(t, good, host.PublicPEM())
			if err != nil || !strings.HasSuffix(out, "\nsanitized: entry 4 of 9 in "+is.Log.key.Origin+"\n") {
				t.Fatalf("%v\n%s", err, out)
			}
			other, err := is.Reissue("j3", testDevice("S").DriveID())
			if err != nil {
				t.Fatal(err)
			}
			proof := func(data []byte) []byte {
				return data[bytes.Index(data, []byte(`"proofs":`)):bytes.Index(data, []byte(`"result":`))]
			}
			for name, changed := range map[string][]byte{
				"the payload":          bytes.Replace(good, []byte(`"result":{"payload":"eyJf`), []byte(`"result":{"payload":"eyJe`), 1),
				"the size of the log":  bytes.Replace(good, []byte(`\n9\n`), []byte(`\n8\n`), 1),
				"the proof of another": bytes.Replace(good, proof(good), proof(other), 1),
			} {
				if bytes.Equal(changed, good) {
					t.Fatalf("%s: nothing was changed", name)
				}
				if out, err := check(t, changed, host.PublicPEM()); err == nil {
					t.Errorf("%s was changed, and nothing said so:\n%s", name, out)
				}
			}
			if out, err := check(t, good, testKey(9, RoleHost).PublicPEM()); err == nil {
				t.Errorf("the key of another host:\n%s", out)
			}
		})
	}
}
