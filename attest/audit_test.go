package attest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// filesOf reads a directory, so that a test can change it without a disk.
func filesOf(t *testing.T, dir string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for name, data := range files(t, dir) {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	return m
}

// auditOfResults is an audit of a log whose jobs have no manifests, which TestAuditOfManifests is about.
func auditOfResults(in AuditInput) (Audited, error) {
	a, err := Audit(in)
	a.Findings = slices.DeleteFunc(a.Findings, func(f Finding) bool { return f.Code == FoundManifestMissing })
	return a, err
}

func foundIn(a Audited) string {
	var list []string
	for _, f := range a.Findings {
		code := f.Code
		if f.Index != nil {
			code += fmt.Sprintf(":%d", *f.Index)
		}
		list = append(list, code)
	}
	return strings.Join(list, " ")
}

// A log of more than one tile, in which something is wrong in every place that only such a log has.
func TestAuditOfALongLog(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	certificates := fstest.MapFS{}
	for n := range 130 {
		data := mustIssue(t, is, fmt.Sprint("S", n), "j")
		if n%50 == 0 || n >= 128 { // a few: each takes its time to check
			certificates[fmt.Sprintf("%d/certificate.json", n)] = &fstest.MapFile{Data: data}
		}
	}
	whole := filesOf(t, is.Log.dir)
	edit := func(name string, change func([]byte) []byte) func(log, c fstest.MapFS) {
		return func(log, _ fstest.MapFS) {
			log[name] = &fstest.MapFile{Data: change(bytes.Clone(log[name].Data))}
		}
	}
	flip := func(at int) func([]byte) []byte { return func(d []byte) []byte { d[at] ^= 1; return d } }
	remove := func(names ...string) func(log, c fstest.MapFS) {
		return func(log, _ fstest.MapFS) {
			for _, n := range names {
				if log[n] == nil {
					t.Fatalf("%s is not there", n)
				}
				delete(log, n)
			}
		}
	}
	foreign := testIssuer(t, testKey(2, RoleHost))
	other := mustIssue(t, foreign, "T", "j")
	for _, c := range []struct {
		name   string
		change func(log, certificates fstest.MapFS)
		want   string
		code   int
	}{
		{"nothing", func(_, _ fstest.MapFS) {}, "", CodeOK},
		{"full tile deleted", remove("tile/0/000"), "tile_missing:0", CodeInvalid},
		{"upper tile deleted", remove("tile/1/000.p/1"), "tile_missing:0", CodeInvalid},
		{"byte of the upper tile", edit("tile/1/000.p/1", flip(3)), "tile_altered:0", CodeInvalid},
		{"byte of the second tile", edit("tile/0/001.p/5", flip(40)), "tile_altered:257", CodeInvalid},
		{"full file of entries deleted", remove("tile/entries/000"), "leaves_missing:0", CodeInvalid},
		{"entries and their tile deleted", remove("tile/entries/001.p/5", "tile/0/001.p/5"), "leaves_missing:256 tile_missing:256 intent_unfinished:255", CodeInvalid},
		{"everything but the checkpoint deleted", func(log, _ fstest.MapFS) {
			for name := range log {
				if strings.HasPrefix(name, "tile/") {
					delete(log, name)
				}
			}
		}, "leaves_missing:0 tile_missing:0 tile_missing:0 leaves_missing:256 tile_missing:256", CodeInvalid},
		{"names of files that promise more than there is", func(log, _ fstest.MapFS) {
			log["tile/0/x999/x999/x999/000"] = &fstest.MapFile{Data: []byte("x")}
			log["tile/entries/x999/x999/x999/000"] = &fstest.MapFile{Data: []byte("x")}
			log["tile/nothing"] = &fstest.MapFile{}
		}, "log_rewound", CodeInvalid},
		{"a narrower tile left by a cut", func(log, _ fstest.MapFS) {
			log["tile/0/001.p/2"] = &fstest.MapFile{Data: log["tile/0/001.p/5"].Data[:64]}
		}, "", CodeOK},
		{"a narrower tile of another tree", func(log, _ fstest.MapFS) {
			log["tile/0/001.p/2"] = &fstest.MapFile{Data: log["tile/0/001.p/5"].Data[64:]}
		}, "tile_altered:256", CodeInvalid},
		{"certificates of another log", func(_, c fstest.MapFS) { c["T.json"] = &fstest.MapFile{Data: other} }, "certificate_foreign", CodeOK},
		{"other files among the certificates", func(_, c fstest.MapFS) {
			c["plan.json"], c["journal"] = &fstest.MapFile{Data: []byte("{}")}, &fstest.MapFile{Data: []byte(CertificateSchema)}
			c["x.json"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("0/certificate.json")}
		}, "", CodeOK},
		{"no file of a certificate's name", func(_, c fstest.MapFS) { c["x/certificate.json"] = &fstest.MapFile{Data: []byte("{}\n")} }, "certificate_invalid", CodeInvalid},
		{"the log of another key", func(log, _ fstest.MapFS) {
			clear(log)
			for name, f := range filesOf(t, foreign.Log.dir) {
				log[name] = f
			}
		}, "untrusted_key certificate_foreign certificate_foreign certificate_foreign certificate_foreign certificate_foreign", CodePolicy},
		{"a statement that is no file", func(log, _ fstest.MapFS) {
			for name := range log {
				if strings.HasPrefix(name, "envelopes/") {
					log[name] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
				}
			}
		}, "", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			log, proofs := fstest.MapFS{}, fstest.MapFS{}
			for name, f := range whole {
				log[name] = f
			}
			for name, f := range certificates {
				proofs[name] = f
			}
			c.change(log, proofs)
			a, err := auditOfResults(AuditInput{Log: log, Certificates: proofs, Trust: trustIn(t, is.Key), Unfinished: func(_, _ string) string { return AtWork }})
			if err != nil {
				t.Fatal(err)
			}
			a.Findings = slices.DeleteFunc(a.Findings, func(f Finding) bool { return f.Code == FoundNoCertificate && f.Grade == Note })
			if c.code < 0 {
				if a.Count(Contradiction) != 261 || a.Findings[0].Code != FoundStatementAltered {
					t.Errorf("%d: %s", a.Count(Contradiction), foundIn(a))
				}
				return
			}
			got := foundIn(a)
			if got != c.want || a.Code() != c.code {
				t.Errorf("%d %s, want %d %s", a.Code(), got, c.code, c.want)
			}
		})
	}
}

// Whose word it is: a key that is not trusted, or for another role, is never silently taken.
func TestAuditOfKeys(t *testing.T) {
	host := testIssuer(t, testKey(1, RoleHost))
	certificate := mustIssue(t, host, "S", "j")
	simulation := testKey(1, RoleSimulation)
	for _, c := range []struct {
		name  string
		trust Trust
		want  string
		level string
	}{
		{"its own", TrustKey(host.Key), "", "self"},
		{"trusted", trustIn(t, host.Key), "", "trusted"},
		{"another", trustIn(t, testKey(2, RoleHost)), FoundUntrustedKey, "untrusted"},
		{"that of simulations", trustIn(t, simulation), FoundUntrustedKey, "untrusted"},
		{"none", Trust{}, FoundUntrustedKey, "untrusted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := auditOfResults(AuditInput{Log: filesOf(t, host.Log.dir), Certificates: fstest.MapFS{"S.json": {Data: certificate}}, Trust: c.trust})
			if err != nil || foundIn(a) != c.want || a.Trust != c.level || (a.Code() == CodeOK) != (c.want == "") {
				t.Errorf("%v: %q by key %s, %s", err, foundIn(a), a.KeyID, a.Trust)
			}
		})
	}
}

// Certificates of a log that was begun anew under the same key show both.
func TestAuditSeesTwoLogsOfOneKey(t *testing.T) {
	first, second := testIssuer(t, testKey(1, RoleHost)), testIssuer(t, testKey(1, RoleHost))
	failed, err := issue(t, first, "S", "j1", func(r *Result) {
		r.Outcome = Outcome{Status: "failed", Reason: "it failed", Exceptions: []Exception{}}
	})
	if err != nil {
		t.Fatal(err)
	}
	good := mustIssue(t, second, "S", "j2")
	proofs := fstest.MapFS{"1.json": {Data: failed}, "2.json": {Data: good}}
	a, err := auditOfResults(AuditInput{Log: filesOf(t, second.Log.dir), Certificates: proofs, Trust: trustIn(t, first.Key)})
	if want := "log_forked certificate_without_leaf:2"; err != nil || foundIn(a) != want {
		t.Errorf("%v: %q, want %q", err, foundIn(a), want)
	}
}

// An entry that was not committed is told, and is no omission while its job is not at its end.
func TestAuditOfACutAppend(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	before := fstest.MapFS{}
	proofs := fstest.MapFS{"1.json": {Data: mustIssue(t, is, "S", "j1")}}
	for name, f := range filesOf(t, is.Log.dir) {
		before[name] = f
	}
	if _, err := is.Intent(testIntent("S", "j2")); err != nil {
		t.Fatal(err)
	}
	if ahead := filesOf(t, is.Log.dir); ahead[aheadName] == nil || len(ahead[aheadName].Data) == 0 {
		t.Fatal("the entry is not written ahead")
	} else if a, err := auditOfResults(AuditInput{Log: ahead, Certificates: proofs, Trust: trustIn(t, is.Key)}); err != nil || foundIn(a) != "intent_open:3" || a.Size != 4 {
		t.Errorf("written ahead: %v: %d entries, %s", err, a.Size, foundIn(a))
	}
	if err := is.Log.Settle(); err != nil {
		t.Fatal(err)
	}
	for name, f := range filesOf(t, is.Log.dir) {
		if name != "checkpoint" {
			before[name] = f
		}
	}
	in := AuditInput{Log: before, Certificates: proofs, Trust: trustIn(t, is.Key)}
	if a, err := auditOfResults(in); err != nil || foundIn(a) != "leaf_uncommitted:3" || a.Code() != CodePolicy {
		t.Errorf("%v: %d %s", err, a.Code(), foundIn(a))
	}
	in.Unfinished = func(job, drive string) string {
		if job == "j2" && drive == testDevice("S").DriveID() {
			return "interrupted"
		}
		return ""
	}
	if a, err := auditOfResults(in); err != nil || foundIn(a) != "leaf_uncommitted:3" || a.Code() != CodeOK || !strings.Contains(a.Findings[0].Message, "interrupted") {
		t.Errorf("%v: %d %+v", err, a.Code(), a.Findings)
	}
}

// A statement of the same job, drive and key that was never logged does not pass for the one that was.
func TestAuditOfAReplacedStatement(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	failed, err := issue(t, is, "S", "j", func(r *Result) {
		r.Outcome = Outcome{Status: "failed", Reason: "it failed", Exceptions: []Exception{}}
	})
	if err != nil {
		t.Fatal(err)
	}
	log := filesOf(t, is.Log.dir)
	var c Certificate
	if err := json.Unmarshal(failed, &c); err != nil {
		t.Fatal(err)
	}
	digest, err := c.Result.digest()
	if err != nil {
		t.Fatal(err)
	}
	at := is.Run.leaf
	better := testResult("S", "j", Logged{1, at})
	better.Time, better.Signers = is.time(), []string{is.Run.key.ID}
	payload, err := Canonical(Statement[Result]{StatementType, better.subjects(), SanitizationType, better})
	if err != nil {
		t.Fatal(err)
	}
	e, err := seal(payload, is.Run.key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := Canonical(e)
	if err != nil {
		t.Fatal(err)
	}
	log[envelopeName(digest)] = &fstest.MapFile{Data: append(data, '\n')}
	a, err := auditOfResults(AuditInput{Log: log, Certificates: fstest.MapFS{"S.json": {Data: failed}}, Trust: trustIn(t, is.Key)})
	if err != nil || foundIn(a) != "statement_altered:2" || a.Outcomes["failed"] != 1 || len(a.Outcomes) != 1 {
		t.Errorf("%v: %s, %v", err, foundIn(a), a.Outcomes)
	}
}

// Only a process that is at work on the job excuses a certificate that is not there: an interrupted
// job has no result.
func TestAuditOfAMissingCertificate(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	mustIssue(t, is, "S", "j")
	for word, code := range map[string]int{"": CodePolicy, "interrupted": CodePolicy, AtWork: CodeOK} {
		a, err := auditOfResults(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: fstest.MapFS{}, Trust: trustIn(t, is.Key), Unfinished: func(_, _ string) string { return word }})
		if err != nil || foundIn(a) != "result_without_certificate:2" || a.Code() != code {
			t.Errorf("%q, %v: %d %s", word, err, a.Code(), foundIn(a))
		}
	}
}

// changing is a log to which another process adds an entry while it is read.
type changing struct {
	fs.FS
	add func()
}

func (c changing) Open(name string) (fs.File, error) {
	if strings.HasPrefix(name, "envelopes/") {
		c.add()
	}
	return c.FS.Open(name)
}

func TestAuditNoticesThatTheLogGrows(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	proofs := fstest.MapFS{"1.json": {Data: mustIssue(t, is, "S", "j1")}}
	added := false
	log := changing{os.DirFS(is.Log.dir), func() {
		if !added {
			added = true
			if _, err := is.Intent(testIntent("S", "j2")); err != nil {
				t.Error(err)
			}
		}
	}}
	in := AuditInput{Log: log, Certificates: proofs, Trust: trustIn(t, is.Key)}
	if _, err := auditOfResults(in); err == nil || !strings.Contains(err.Error(), ErrLogChanged.Error()) {
		t.Fatalf("error %v, want ErrLogChanged", err)
	}
	if a, err := auditOfResults(in); err != nil || foundIn(a) != "intent_open:3" {
		t.Fatalf("%v: %s", err, foundIn(a))
	}
}

// Every code is explained, with its grade.
func TestFindingsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "certificate.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("finding.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for line := range strings.Lines(string(source)) {
		if fields := strings.Fields(line); len(fields) == 3 && strings.HasPrefix(fields[0], "Found") && fields[1] == "=" {
			codes = append(codes, strings.Trim(fields[2], `"`))
		}
	}
	if len(codes) < 25 {
		t.Fatalf("%d codes", len(codes))
	}
	for _, code := range codes {
		row := fmt.Sprintf("| `%s` | %s |", code, found(code, "").Grade)
		if !slices.ContainsFunc(strings.Split(string(doc), "\n"), func(l string) bool { return strings.HasPrefix(l, row) }) {
			t.Errorf("docs/certificate.md has no row %q", row)
		}
	}
}
