package verifying

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/attest"
)

func hash(c string) string { return strings.Repeat(c, 64) }

// site issues certificates as one host does.
type site struct {
	attest.Issuer
	now  time.Time
	jobs int
}

func newSite(t testing.TB) *site {
	t.Helper()
	return siteIn(t, t.TempDir(), t.TempDir())
}

func siteIn(t testing.TB, keys, log string) *site {
	t.Helper()
	key, err := attest.LoadOrCreateKey(keys, attest.RoleHost)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	logKey, err := attest.LoadOrCreateLogKey(keys)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return s.now }
	s.Issuer = attest.Issuer{Key: key, Run: &attest.Run{Agent: attest.Agent{Name: "expunge", Version: "test"}}, Log: attest.OpenLog(log, logKey, now), Now: now}
	return s
}

// issue certifies a drive, with an outcome, a second later each time.
func (s *site) issue(t testing.TB, model, serial, status string) []byte {
	t.Helper()
	s.now = s.now.Add(time.Second)
	s.jobs++
	job, size := fmt.Sprintf("j%d", s.jobs), int64(4<<20)
	d := attest.Device{Model: model, Serial: serial, Protocol: "virtio", Media: "unknown", Identity: "host-local", SizeBytes: size, LogicalBlockBytes: 512, Nodes: []string{"/dev/vda"}}
	policy := attest.Policy{Name: "nist-800-88r2", SHA256: hash("b")}
	at, err := s.Intent(attest.Intent{Agent: attest.Agent{Name: "expunge", Version: "test"}, Device: d, Scope: "logical", Job: job, PlanSHA256: hash("a"),
		Policy: policy, Method: "clear", Technique: "host overwrite", Verification: "sampled"})
	if err != nil {
		t.Fatal(err)
	}
	r := attest.Result{
		Agent: attest.Agent{Name: "expunge", Version: "test"}, Device: d, Scope: "logical", Outcome: attest.Outcome{Status: status, Exceptions: []attest.Exception{}},
		Sanitization: attest.Sanitization{Method: "clear", Technique: "host overwrite", Passes: []attest.Pass{{Pass: 1, Pattern: "random", KeySHA256: hash("c"), Bytes: size, Complete: true}},
			Started: "2026-01-02T03:04:05Z", Finished: "2026-01-02T03:05:05Z", BytesWritten: size, Attempts: 1, Excludes: []string{}},
		Verification: attest.Verification{Mode: "sampled", Result: "passed", Samples: 2002, Bytes: size / 10, CoveragePPM: 100000,
			Seed: hash("d"), PRNG: "aes-256-ctr/u64be/reject", Expected: "keystream"},
		Policy: policy, Evidence: attest.Evidence{JournalSHA256: hash("e"), JournalRecords: 12, PlanSHA256: hash("a")}, History: attest.History{Job: job, IntentIndex: at.Index, IntentLeaf: at.Leaf},
	}
	if r.Outcome.Method = "clear"; status != "sanitized" {
		r.Outcome.Method, r.Outcome.Reason = "", "flush: input/output error"
	}
	data, err := s.Result(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (s *site) trust(t testing.TB) attest.Trust {
	t.Helper()
	trust, err := attest.ParseTrust(s.Key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// put writes a file below a directory, with the directories that it needs.
func put(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

type answer struct {
	Items      []Item
	NotJudged  []NotJudged `json:"not_judged"`
	Against    *Reconciled
	Summary    Summary
	ExitStatus int `json:"exit_status"`
	Errors     []attest.Reason
}

func ask(t testing.TB, o Options, stdin string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	o.JSON = true
	code := Run(t.Context(), strings.NewReader(stdin), &out, &errs, o)
	var a answer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatalf("%v\n%s%s", err, &out, &errs)
	}
	if a.ExitStatus != code || len(a.Items) != a.Summary.Certificates+a.Summary.Records || len(a.NotJudged) != a.Summary.NotJudged {
		t.Fatalf("exit code %d, %+v", code, a)
	}
	return a
}

// What a directory holds is judged or said not to be. Nothing in it passes for checked in silence.
func TestDirectory(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	good := s.issue(t, "m", "A", "sanitized")
	put(t, dir, "jobs/1/certificate.json", good)
	put(t, dir, "jobs/1/plan.json", []byte(`{"schema":"expunge/plan/v1"}`))
	put(t, dir, "jobs/1/journal", []byte("x"))
	put(t, dir, "jobs/2/certificate.json.bak", good)
	put(t, dir, "export/B.JSON", s.issue(t, "m", "B", "failed"))
	o := Options{Paths: []string{dir}, Trust: s.trust(t)}
	a := ask(t, o, "")
	if a.ExitStatus != attest.CodeOutcome || a.Summary != (Summary{Certificates: 2, Sanitized: 1, Failed: 1, NotJudged: 1, OtherFiles: 2}) {
		t.Fatalf("%d %+v", a.ExitStatus, a.Summary)
	}
	if i := a.Items[1]; i.Serial != "A" || i.Model != "m" || i.Outcome != "sanitized" || i.Method != "clear" || i.Time != "2026-01-02T03:04:06Z" || i.ExitStatus != 0 || i.Simulated {
		t.Fatalf("%+v", i)
	}
	if n := a.NotJudged[0]; n.Path != filepath.Join(dir, "jobs/1/plan.json") || n.Reasons[0].Code != "not_a_certificate" {
		t.Fatalf("%+v", n)
	}

	t.Run("damaged ones are judged", func(t *testing.T) {
		dir := t.TempDir()
		put(t, dir, "cut.json", good[:300])
		put(t, dir, "schema.json", bytes.Replace(good, []byte("certificate/v1"), []byte("certificate/v9"), 1))
		put(t, dir, "spaced.json", append([]byte("\n  "), good...))
		put(t, dir, "empty/certificate.json", nil)
		put(t, dir, "long/certificate.json", bytes.Repeat([]byte(" "), attest.MaxSize+9))
		put(t, dir, "large.json", bytes.Repeat([]byte(" "), attest.MaxSize+9))
		a := ask(t, Options{Paths: []string{dir}, Trust: s.trust(t)}, "")
		if a.ExitStatus != attest.CodeInvalid || a.Summary != (Summary{Certificates: 5, Invalid: 5, NotJudged: 1}) {
			t.Fatalf("%+v", a)
		}
	})
	t.Run("links are not followed", func(t *testing.T) {
		dir, outside := t.TempDir(), t.TempDir()
		put(t, outside, "certificate.json", good)
		for name, target := range map[string]string{"loop": ".", "dir": outside, "certificate.json": filepath.Join(outside, "certificate.json"), "dangling": "none"} {
			if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
				t.Skip(err)
			}
		}
		a := ask(t, Options{Paths: []string{dir}, Trust: s.trust(t)}, "")
		if a.ExitStatus != CodeNotFound || a.Summary != (Summary{NotJudged: 4}) || a.Errors[0].Code != "no_certificate" {
			t.Fatalf("%+v", a)
		}
		// One that was named is.
		if a := ask(t, Options{Paths: []string{filepath.Join(dir, "dir")}, Trust: s.trust(t)}, ""); a.ExitStatus != 0 || a.Summary.Sanitized != 1 {
			t.Fatalf("%+v", a)
		}
	})
	t.Run("what has a certificate's name and cannot be read is not passed over", func(t *testing.T) {
		dir := t.TempDir()
		put(t, dir, "a/certificate.json", good)
		put(t, dir, "b/plan.json", []byte("{}"))
		for _, name := range []string{"certificate.json", "other.json"} {
			if err := syscall.Mkfifo(filepath.Join(dir, "b", name), 0o600); err != nil {
				t.Skip(err)
			}
		}
		a := ask(t, Options{Paths: []string{dir}, Trust: s.trust(t)}, "")
		if a.ExitStatus != CodeIO || a.Summary.Unreadable != 1 || a.Summary.Sanitized != 1 || a.Summary.NotJudged != 2 {
			t.Fatalf("%d %+v", a.ExitStatus, a.Summary)
		}
	})
	t.Run("too deep is not checked", func(t *testing.T) {
		dir := t.TempDir()
		put(t, dir, "certificate.json", good)
		put(t, dir, strings.Repeat("d/", maxDepth+1)+"certificate.json", good)
		a := ask(t, Options{Paths: []string{dir}, Trust: s.trust(t)}, "")
		if a.ExitStatus != CodeIO || a.Summary.Unreadable != 1 || a.Summary.Sanitized != 1 {
			t.Fatalf("%+v", a)
		}
	})
}

// Many are told in the order of their names, whoever verified them, and each by itself.
func TestManyInOrder(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	var all []string
	for n := range 30 {
		serial := fmt.Sprintf("S%02d", n)
		data := s.issue(t, "m", serial, "sanitized")
		for c := range 10 {
			put(t, dir, fmt.Sprintf("%s-%d.json", serial, c), data)
			all = append(all, serial)
		}
	}
	a := ask(t, Options{Paths: []string{dir}, Trust: s.trust(t)}, "")
	if a.ExitStatus != 0 || len(a.Items) != len(all) {
		t.Fatalf("%+v", a.Summary)
	}
	for n, i := range a.Items {
		if i.Serial != all[n] {
			t.Fatalf("item %d is %s, want %s", n, i.Serial, all[n])
		}
	}
	var out, errs bytes.Buffer
	if code := Run(t.Context(), nil, &out, &errs, Options{Paths: []string{dir}, Trust: s.trust(t)}); code != 0 || errs.Len() > 0 {
		t.Fatalf("%d %s", code, &errs)
	}
	if lines := strings.Split(out.String(), "\n"); !strings.HasPrefix(lines[300], "VALID           S29  ") || lines[302] != "300 certificates: 300 sanitized, 0 failed, 0 refused, 0 invalid" {
		t.Fatal(out.String())
	}
}

// Standard input is one certificate or one on each line, of whatever bytes.
func TestStandardInput(t *testing.T) {
	s := newSite(t)
	good, failed := string(s.issue(t, "m", "A", "sanitized")), string(s.issue(t, "m", "B", "failed"))
	forged := strings.Replace(good, "result", "Result", 1)
	for _, c := range []struct {
		name, stdin string
		want        Summary
		code        int
	}{
		{"one", good, Summary{Certificates: 1, Sanitized: 1}, 0},
		{"lines", good + failed + good, Summary{Certificates: 3, Sanitized: 2, Failed: 1}, 13},
		{"a forged one between", good + forged + good, Summary{Certificates: 3, Sanitized: 2, Invalid: 1}, 11},
		{"the last is cut off", good + failed[:len(failed)-1], Summary{Certificates: 2, Sanitized: 1, Invalid: 1}, 11},
		{"an empty line", good + "\n" + good, Summary{Certificates: 3, Sanitized: 2, Invalid: 1}, 11},
		{"nothing", "", Summary{Certificates: 1, Invalid: 1}, 11},
		{"a text", strings.Repeat("no\n", 5000), Summary{Certificates: 1, Invalid: 1}, 11},
		{"indented", "{\n  \"intent\": {\n}\n}\n", Summary{Certificates: 1, Invalid: 1}, 11},
		{"a long line", good + `{"` + strings.Repeat("x", 3*attest.MaxSize) + "\n" + good, Summary{Certificates: 3, Sanitized: 2, Invalid: 1}, 11},
		{"lines without end", good + strings.Repeat("\n", 1<<20), Summary{Certificates: 2 + maxStrays, Sanitized: 1, Invalid: maxStrays, Unreadable: 1}, 11},
		{"a line without end", good + strings.Repeat("x", maxLine+maxLine/2) + "\n" + good, Summary{Certificates: 3, Sanitized: 1, Invalid: 1, Unreadable: 1}, 11},
		{"many long lines", good + strings.Repeat(`{"intent":`+strings.Repeat(" ", 200<<10)+"\n", 50), Summary{Certificates: 51, Sanitized: 1, Invalid: 50}, 11},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(t, Options{Paths: []string{"-"}, Trust: s.trust(t)}, c.stdin)
			if a.ExitStatus != c.code || a.Summary != c.want {
				t.Fatalf("%d %+v", a.ExitStatus, a.Summary)
			}
		})
	}
	a := ask(t, Options{Paths: []string{"-", "-"}, Trust: s.trust(t)}, good+failed)
	if a.Items[0].Line != 1 || a.Items[1].Line != 2 || a.Summary.Unreadable != 1 || a.ExitStatus != CodeIO {
		t.Fatalf("%+v", a.Items)
	}
}

// A name cannot steer the terminal of who reads it, nor write a line of its own.
func TestNamesDoNotSteer(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	put(t, dir, "a\x1b[2J\n.json", s.issue(t, "m", "A", "sanitized"))
	put(t, dir, "b\n.json", []byte("{}"))
	var out, errs bytes.Buffer
	Run(t.Context(), nil, &out, &errs, Options{Paths: []string{dir}, Trust: s.trust(t)})
	if text := out.String() + errs.String(); strings.Contains(text, "\x1b") || strings.Count(out.String(), "\n") != 6 {
		t.Fatalf("%q", text)
	}
}

// What is stopped has not judged everything, and says so.
func TestStopped(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	put(t, dir, "certificate.json", s.issue(t, "m", "A", "sanitized"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	if code := Run(ctx, nil, &out, &errs, Options{Paths: []string{dir}, Trust: s.trust(t)}); code != CodeSignal || !strings.Contains(errs.String(), "not everything was judged") {
		t.Fatalf("%d %s%s", code, &out, &errs)
	}
}

// What cannot be printed was not said.
func TestFullDisk(t *testing.T) {
	s, dir := newSite(t), t.TempDir()
	put(t, dir, "a.json", s.issue(t, "m", "A", "sanitized"))
	put(t, dir, "b.json", s.issue(t, "m", "B", "sanitized"))
	for _, o := range []Options{{}, {JSON: true}, {JSON: true, Stream: true}} {
		var errs bytes.Buffer
		o.Paths, o.Trust = []string{dir}, s.trust(t)
		if code := Run(t.Context(), nil, full{}, &errs, o); code != CodeIO || !strings.Contains(errs.String(), "no space") {
			t.Fatalf("%d %s", code, &errs)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("no space") }

func FuzzStandardInput(f *testing.F) {
	s := newSite(f)
	good := string(s.issue(f, "m", "A", "sanitized"))
	trust := s.trust(f)
	for _, seed := range []string{good, good + good, good + "\n", "{\"\n{\"", "", "{\"intent\":" + good, "\xff\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a := ask(t, Options{Paths: []string{"-"}, Trust: trust}, string(data))
		if a.Summary.Sanitized > strings.Count(string(data), good) || a.ExitStatus == 0 && strings.Repeat(good, a.Summary.Sanitized) != string(data) {
			t.Fatalf("accepted: %+v", a.Summary)
		}
	})
}
