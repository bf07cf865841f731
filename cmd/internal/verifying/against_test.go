package verifying

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/attest"
)

func listed(t testing.TB, text string) *Assets {
	t.Helper()
	a, err := ParseAssets(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func codes(a answer) string {
	var s []string
	for _, f := range a.Against.Findings {
		s = append(s, strings.TrimSpace(f.Code+" "+f.Serial))
	}
	return strings.Join(s, ", ")
}

// Where list and certificates disagree, somebody is told, and the exit status is not nought.
func TestReconcile(t *testing.T) {
	s, other := newSite(t), newSite(t)
	type drive struct {
		site                  *site
		model, serial, status string
	}
	for _, c := range []struct {
		name, list string
		drives     []drive
		want       string
		code, with int
	}{
		{"all there", "A\nB", []drive{{s, "m", "A", "sanitized"}, {s, "m", "B", "sanitized"}}, "", 0, 2},
		{"one is missing", "A\nB", []drive{{s, "m", "A", "sanitized"}}, "no_certificate B", 12, 1},
		{"one too many", "A", []drive{{s, "m", "A", "sanitized"}, {s, "m", "B", "sanitized"}}, "not_in_list B", 12, 1},
		{"letter case is not guessed", "a", []drive{{s, "m", "A", "sanitized"}}, "no_certificate a, not_in_list A", 12, 0},
		{"failed", "A", []drive{{s, "m", "A", "failed"}}, "not_sanitized A", 12, 0},
		{"failed, then done", "A", []drive{{s, "m", "A", "failed"}, {s, "m", "A", "sanitized"}}, "", 13, 1},
		{"done, then failed", "A", []drive{{s, "m", "A", "sanitized"}, {s, "m", "A", "failed"}}, "failed_after_success A", 12, 0},
		{"done twice", "A", []drive{{s, "m", "A", "sanitized"}, {s, "m", "A", "sanitized"}}, "duplicate_success A", 12, 1},
		{"done, failed, done", "A", []drive{{s, "m", "A", "sanitized"}, {s, "m", "A", "failed"}, {s, "m", "A", "sanitized"}}, "duplicate_success A", 12, 1},
		{"two drives of one serial number", "A", []drive{{s, "m", "A", "sanitized"}, {s, "n", "A", "sanitized"}}, "several_drives A", 12, 0},
		{"unknown key", "A", []drive{{other, "m", "A", "sanitized"}}, "no_certificate A", 12, 0},
		{"an unknown key does not speak against", "A", []drive{{other, "n", "A", "failed"}, {s, "m", "A", "sanitized"}}, "", 12, 1},
		{"listed twice", "A\nA", []drive{{s, "m", "A", "sanitized"}}, "listed_twice A", 12, 1},
		{"a line without", "A\n\" \"\n,x", []drive{{s, "m", "A", "sanitized"}}, "no_serial", 12, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for n, d := range c.drives {
				// Names run against time: the order of files says nothing.
				data := d.site.issue(t, d.model, d.serial, d.status)
				put(t, dir, fmt.Sprintf("%d/certificate.json", 9-n), data)
				put(t, dir, fmt.Sprintf("copy/%d.json", n), data)
			}
			a := ask(t, Options{Paths: []string{dir}, Trust: s.trust(t), Against: listed(t, "serial\n"+c.list)}, "")
			if codes(a) != c.want || a.ExitStatus != c.code || a.Against.WithSuccess != c.with {
				t.Fatalf("%s; exit %d; %+v", codes(a), a.ExitStatus, a.Against)
			}
		})
	}
}

// Two issuers share no log: their clocks decide, and at the same second the failure counts.
func TestReconcileTwoIssuers(t *testing.T) {
	a, b := newSite(t), newSite(t)
	trust, err := attest.ParseTrust(append(a.Key.PublicPEM(), b.Key.PublicPEM()...))
	if err != nil {
		t.Fatal(err)
	}
	b.issue(t, "m", "Z", "sanitized") // so that the indexes say the opposite
	b.now = a.now
	failed, done := b.issue(t, "m", "A", "failed"), a.issue(t, "m", "A", "sanitized")
	later := a.issue(t, "m", "B", "sanitized")
	earlier := b.issue(t, "m", "B", "failed")
	b.now = b.now.Add(-1e9)
	o := Options{Paths: []string{"-"}, Trust: trust, Against: listed(t, "serial\nA\nB")}
	if got := codes(ask(t, o, string(failed)+string(done)+string(later)+string(earlier))); got != "failed_after_success A, failed_after_success B" {
		t.Fatal(got)
	}
	a.now = a.now.Add(5e9)
	if got := codes(ask(t, o, string(failed)+string(done)+string(a.issue(t, "m", "B", "sanitized"))+string(earlier))); got != "failed_after_success A" {
		t.Fatal(got)
	}
}

// An issuer that keeps two histories is found out as soon as both are seen.
func TestForkedLog(t *testing.T) {
	keys := t.TempDir()
	a, b := siteIn(t, keys, t.TempDir()), siteIn(t, keys, t.TempDir())
	data := string(a.issue(t, "m", "A", "failed")) + string(b.issue(t, "m", "A", "sanitized"))
	got := ask(t, Options{Paths: []string{"-"}, Trust: a.trust(t), Against: listed(t, "serial\nA")}, data)
	if !strings.Contains(codes(got), "forked_log A") || got.ExitStatus != attest.CodePolicy {
		t.Fatalf("%+v", got.Against)
	}
}

func TestParseAssets(t *testing.T) {
	for name, text := range map[string]string{
		"plain":            "serial\nA\nB\n",
		"other columns":    "tag,Serial_Number,\"a, b\"\n1,A,x\n2,B,y,z\n",
		"quoted, spaces":   "\"SERIALNUMBER\"\r\n\" A \"\r\nB\r\n",
		"semicolons":       "tag;Serial Number;where\n1;A;x,y\n2;B;z\n",
		"tabs":             "tag\tserial\n1\tA\n2\tB\n",
		"byte order mark":  "\xef\xbb\xbfserial,x\nA\nB\n",
		"blank lines":      "serial,x\n\nA\n,\n  ,\nB",
		"no last new line": "serial\nA\nB",
	} {
		if a := listed(t, text); fmt.Sprint(a.serials) != "[A B]" || len(a.without) > 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "header alone": "serial\n", "no such column": "asset,sn\nA,B\n", "two": "serial,serial_number\nA,B\n",
		"a quote without end": "serial\n\"A\n", "UTF-16": "\xff\xfes\x00e\x00r\x00", "not UTF-8": "serial\nA\xff\n", "NUL": "serial\nA\x00\n",
		"too long": "serial\nA\n" + strings.Repeat(strings.Repeat("x", 1<<16)+"\n", maxAssets>>16),
	} {
		if a, err := ParseAssets(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func FuzzParseAssets(f *testing.F) {
	for _, s := range []string{"serial\nA\n", "a;serial\n1;\"x\ny\"\n", "\xef\xbb\xbfserial\tb\n\n", "serial,\xff\n\x1b,\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := ParseAssets(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, s := range a.serials {
			if s == "" || s != attest.CleanASCII(s) && !strings.Contains(s, `\x`) || len(a.lines[s]) == 0 {
				t.Fatalf("%q", s)
			}
		}
		if words := a.reconcile(newLedger()).words(); strings.Count(words, "\n") != 1+len(a.reconcile(newLedger()).Findings) {
			t.Fatalf("%q", words)
		}
	})
}
