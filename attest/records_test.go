package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"
)

func validatorTrust(t testing.TB, k *Key, validators ...*Key) Trust {
	t.Helper()
	pem := k.PublicPEM()
	for _, v := range validators {
		pem = append(pem, v.PEM(RoleValidator)...)
	}
	trust, err := ParseTrust(pem)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func judge(decision string) Judgement {
	j := Judgement{Decision: decision, By: Person{Name: "A. Auditor"}}
	if decision != Accept {
		j.Reason = "it was not the lot"
	}
	return j
}

func codesOf(r Report) string {
	var list []string
	for _, reason := range r.Reasons {
		list = append(list, reason.Code)
	}
	return strings.Join(list, " ")
}

func refusedAs(t *testing.T, err error, code string) {
	t.Helper()
	var refused *RecordError
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("%v, want it refused as %s", err, code)
	}
}

// failed makes the result one of a drive that holds data.
func failed(r *Result) {
	r.Outcome = Outcome{Status: "failed", Reason: "the drive is gone", Exceptions: []Exception{}}
}

// The newest decision counts; an accept counts by a trusted key alone, and an objection by anybody's.
func TestNewestValidationCounts(t *testing.T) {
	trusted, stranger := testKey(8, RoleValidator), testKey(9, RoleValidator)
	type said struct {
		decision string
		by       *Key
	}
	for _, c := range []struct {
		said []said
		code int
		want string
	}{
		{[]said{{Accept, trusted}}, CodeOK, ""},
		{[]said{{Accept, stranger}}, CodeOK, "untrusted_validator"},
		{[]said{{Reject, trusted}}, CodeOutcome, "validation_rejected"},
		{[]said{{Escalate, stranger}}, CodeOutcome, "untrusted_validator validation_escalated"},
		{[]said{{Accept, trusted}, {Escalate, trusted}}, CodeOutcome, "validation_escalated"},
		{[]said{{Reject, trusted}, {Accept, trusted}}, CodeOK, ""},
		{[]said{{Reject, trusted}, {Accept, stranger}}, CodeOutcome, "untrusted_validator validation_rejected"},
	} {
		is := testIssuer(t, testKey(1, RoleHost))
		data := mustIssue(t, is, "S", "j")
		for _, s := range c.said {
			var err error
			if data, err = is.Validate("j", testDevice("S").DriveID(), judge(s.decision), s.by); err != nil {
				t.Fatal(err)
			}
		}
		r := Verify(data, validatorTrust(t, is.Key, trusted))
		if r.Code != c.code || codesOf(r) != c.want || len(r.Validations) != len(c.said) {
			t.Errorf("%v: %d %q, want %d %q", c.said, r.Code, codesOf(r), c.code, c.want)
		}
		if again, err := is.Reissue("j", testDevice("S").DriveID()); err != nil || !bytes.Equal(again, data) {
			t.Errorf("reissued it is another one, %v", err)
		}
		if a, err := auditOfResults(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: fstest.MapFS{"S.json": {Data: data}}, Trust: validatorTrust(t, is.Key, trusted)}); err != nil || foundIn(a) != "" || a.Validations != len(c.said) {
			t.Errorf("%v: %s, %d validations", err, foundIn(a), a.Validations)
		}
	}
}

func TestValidationIsIndependentAndTrue(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	id := testDevice("S").DriveID()
	mustIssue(t, is, "S", "j")
	for name, key := range map[string]*Key{"host": is.Key, "session": is.Run.key} {
		if _, err := is.Validate("j", id, judge(Accept), key); err == nil {
			t.Errorf("the %s's key validated its own work", name)
		} else {
			refusedAs(t, err, "not_independent")
		}
	}
	other := testKey(9, RoleValidator)
	if _, err := issue(t, is, "S", "k", failed); err != nil {
		t.Fatal(err)
	}
	_, err := is.Validate("k", id, judge(Accept), other)
	refusedAs(t, err, "not_sanitized")
	if _, err := issue(t, is, "S", "l", func(r *Result) { r.Category, r.Disposition = "high", "decommission" }); err == nil {
		t.Error("the result is not of its intent")
	}
	if _, err := is.Validate("none", id, judge(Accept), other); !errors.Is(err, ErrNotLogged) {
		t.Errorf("%v", err)
	}
	data, err := is.Validate("k", id, judge(Reject), other)
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(data, validatorTrust(t, is.Key, other)); r.Code != CodeOutcome || codesOf(r) != "failed validation_rejected" {
		t.Errorf("%d %s", r.Code, codesOf(r))
	}
	// Who is trusted to judge is not trusted to make what is judged.
	judgeOnly, err := ParseTrust(append(is.Key.PEM(RoleValidator), other.PEM(RoleValidator)...))
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(data, judgeOnly); r.Code != CodePolicy {
		t.Errorf("%d %s", r.Code, codesOf(r))
	}
	_, err = is.Validate("k", id, judge(Reject), other)
	refusedAs(t, err, "said_already")
	if data, err = is.Validate("k", id, judge(Reject), testKey(10, RoleValidator)); err != nil || len(Verify(data, trustIn(t, is.Key)).Validations) != 2 {
		t.Errorf("two who say the same: %v", err)
	}
	for n := range maxRecords - 2 {
		j := judge(Reject)
		j.Reason = fmt.Sprint(n)
		if _, err := is.Validate("k", id, j, other); err != nil {
			t.Fatal(err)
		}
	}
	_, err = is.Validate("k", id, judge(Escalate), other)
	refusedAs(t, err, "too_many")
}

func TestRecommendation(t *testing.T) {
	for _, c := range []struct {
		change func(*Result)
		want   string
		why    string
	}{
		{func(*Result) {}, Accept, ""},
		{failed, Reject, "failed"},
		{func(r *Result) { r.Outcome.Status, r.Outcome.ExceptionBytes = "exceptions", 512 }, Escalate, "512 bytes"},
		{func(r *Result) { r.Category = "high" }, Escalate, "below the minimum"},
		{func(r *Result) { r.Category, r.Disposition = "moderate", "decommission" }, Escalate, "below the minimum"},
		{func(r *Result) { r.Category, r.Disposition = "moderate", "reuse" }, Escalate, "scope is too narrow"},
		{func(r *Result) { r.Category, r.Disposition = "low", "decommission" }, Accept, ""},
		{func(r *Result) { r.Category, r.Verification.Mode = "high", "status" }, Escalate, "nothing was read back"},
		{func(r *Result) { r.Category, r.Sanitization.RestsOn = "high", []string{"the maker's word"} }, Escalate, "no host can prove"},
	} {
		r := testResult("S", "j", Logged{})
		c.change(&r)
		if got := Recommend(r); got.Decision != c.want || !strings.Contains(strings.Join(got.Reasons, "\n"), c.why) {
			t.Errorf("%+v, want %s because %s", got, c.want, c.why)
		}
	}
}

func TestSupersession(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	id := testDevice("S").DriveID()
	before := mustIssue(t, is, "S", "j")
	trust := trustIn(t, is.Key)
	if _, err := is.Supersede("j", id, Correction{Reason: "", Given: &Given{AssetTag: "A-17"}}); err == nil {
		t.Error("superseded without a reason")
	}
	data, err := is.Supersede("j", id, Correction{Reason: "the tag was wrong", Given: &Given{AssetTag: "A-17"}})
	if err != nil {
		t.Fatal(err)
	}
	r := Verify(data, trust)
	if r.Code != CodeOK || r.Given() == nil || r.Given().AssetTag != "A-17" || r.Result.Given != nil {
		t.Errorf("%d %s: %+v", r.Code, codesOf(r), r.Given())
	}
	data, err = is.Supersede("j", id, Correction{Reason: "of another drive"})
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(data, trust); r.Code != CodeOutcome || codesOf(r) != "withdrawn" || r.Given().AssetTag != "A-17" {
		t.Errorf("%d %s", r.Code, codesOf(r))
	}
	_, err = is.Supersede("j", id, Correction{Reason: "after all", Given: &Given{AssetTag: "A-18"}})
	refusedAs(t, err, "withdrawn")
	_, err = is.Validate("j", id, judge(Accept), testKey(9, RoleValidator))
	refusedAs(t, err, "withdrawn")

	// The certificate as it was still verifies by itself; who has the log is told.
	if r := Verify(before, trust); r.Code != CodeOK {
		t.Errorf("%d %s", r.Code, codesOf(r))
	}
	look := func(files fstest.MapFS) string {
		a, err := auditOfResults(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: files, Trust: trust})
		if err != nil {
			t.Fatal(err)
		}
		return foundIn(a)
	}
	if got := look(fstest.MapFS{"S.json": {Data: before}}); got != "supersession_withheld:3 supersession_withheld:4" {
		t.Errorf("an old certificate: %s", got)
	}
	if got := look(fstest.MapFS{"S.json": {Data: data}}); got != "" {
		t.Errorf("the new certificate: %s", got)
	}
	if got := look(fstest.MapFS{"S.json": {Data: data}, "old.json": {Data: before}}); got != "certificate_outdated:3 certificate_outdated:4" {
		t.Errorf("both: %s", got)
	}
	if got := look(fstest.MapFS{"S.json": {Data: without(t, data)}}); got != "supersession_withheld:4" {
		t.Errorf("the last one cut off: %s", got)
	}
	if got := look(fstest.MapFS{"S.json": {Data: data}, "cut.json": {Data: without(t, data)}}); got != "supersession_withheld:4" {
		t.Errorf("cut off in one of two that are as new: %s", got)
	}
}

// without cuts the last supersession off a certificate, with its proof.
func without(t *testing.T, data []byte) []byte {
	t.Helper()
	var c Certificate
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	c.Supersessions, c.Proofs = c.Supersessions[:len(c.Supersessions)-1], c.Proofs[:len(c.Proofs)-1]
	out, err := Canonical(c)
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

// Whatever is said of a drive that holds data, and by whomever, its certificate is never good.
func TestNoRecordMakesAFailureGood(t *testing.T) {
	validators := []*Key{testKey(8, RoleValidator), testKey(9, RoleValidator)}
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; runs > 30 {
			return // each signs a dozen checkpoints
		}
		is := Issuer{Key: testKey(1, RoleHost), Run: testRun(RoleHost), Log: OpenLog(t.TempDir(), testLogKey(1), testNow), Now: testNow}
		at, err := is.Intent(testIntent("S", "j"))
		if err != nil {
			rt.Fatal(err)
		}
		result := testResult("S", "j", at)
		status := rapid.SampledFrom([]string{"failed", "unproven", "unknown", "refused"}).Draw(rt, "status")
		result.Outcome = Outcome{Status: status, Reason: "r", Exceptions: []Exception{}}
		data, err := is.Result(result)
		if err != nil {
			rt.Fatal(err)
		}
		id := result.Device.DriveID()
		for range rapid.IntRange(1, 3).Draw(rt, "records") {
			var next []byte
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				next, err = is.Validate("j", id, judge(rapid.SampledFrom(decisions).Draw(rt, "decision")), rapid.SampledFrom(validators).Draw(rt, "key"))
			case 1:
				next, err = is.Supersede("j", id, Correction{Reason: "r", Given: &Given{Notes: "PURGED"}})
			case 2:
				next, err = is.Supersede("j", id, Correction{Reason: "r"})
			case 3:
				if _, err = is.Destruction(testDestruction("S")); err == nil {
					next, err = is.Reissue("j", id)
				}
			}
			if refused := (*RecordError)(nil); err != nil && !errors.As(err, &refused) {
				rt.Fatal(err)
			}
			if err == nil {
				data = next
			}
			if r := Verify(data, validatorTrust(t, is.Key, validators...)); r.Code != CodeOutcome {
				rt.Fatalf("%s: %d %s", status, r.Code, codesOf(r))
			}
		}
	})
}

func testDestruction(serial string) Destruction {
	d := testDevice(serial)
	return Destruction{Device: Name(d.Model, d.Serial, d.WWN), Media: "hdd", Technique: "shred", Operator: Person{Name: "O. Perator"}, Witness: Person{Name: "W. Itness"},
		Place: "hall 3", When: "2026-01-02T03:00:00Z", Photos: []Photo{}}
}

func TestDestruction(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	certificate, err := issue(t, is, "S", "j", failed)
	if err != nil {
		t.Fatal(err)
	}
	record, err := is.Destruction(testDestruction("S"))
	if err != nil {
		t.Fatal(err)
	}
	r := Verify(record, trustIn(t, is.Key))
	if r.Code != CodeOK || r.Result != nil || r.Destruction == nil || len(r.Destruction.Closes) != 1 || r.Destruction.Closes[0].Status != "failed" || !r.Destruction.Known {
		t.Fatalf("%d %s %+v", r.Code, codesOf(r), r.Destruction)
	}
	if r := Verify(record, trustIn(t, testKey(2, RoleHost))); r.Code != CodePolicy {
		t.Errorf("a stranger's: %d", r.Code)
	}
	look := func(certificates, records fstest.MapFS) string {
		a, err := auditOfResults(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: certificates, Records: records, Trust: trustIn(t, is.Key)})
		if err != nil {
			t.Fatal(err)
		}
		return foundIn(a)
	}
	if got := look(fstest.MapFS{"S.json": {Data: certificate}}, fstest.MapFS{"r.json": {Data: record}}); got != "failure_closed:3" {
		t.Errorf("%s", got)
	}
	if got := look(fstest.MapFS{"S.json": {Data: certificate}}, nil); got != "record_missing:3 failure_closed:3" {
		t.Errorf("without its file: %s", got)
	}
	for n := range record {
		bad := bytes.Clone(record)
		if bad[n] ^= 1; n%37 == 0 && Verify(bad, trustIn(t, is.Key)).Code != CodeInvalid {
			t.Fatalf("byte %d changed, and it verifies", n)
		}
	}
	// The drive comes again: the chain of its history has the record in it.
	again := mustIssue(t, is, "S", "k")
	if got := look(fstest.MapFS{"S.json": {Data: certificate}, "k.json": {Data: again}}, fstest.MapFS{"r.json": {Data: record}}); got != "failure_closed:3 work_after_destruction:4" {
		t.Errorf("%s", got)
	}
	if _, err := is.Destruction(testDestruction("NEVER")); err != nil {
		t.Fatal(err)
	}
	if got := look(fstest.MapFS{"S.json": {Data: certificate}, "k.json": {Data: again}, "n.json": {Data: mustIssue(t, is, "NEVER", "n")}}, nil); strings.Contains(got, "chain_broken") {
		t.Errorf("%s", got)
	}
}

func TestDestructionIsRefused(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	for name, c := range map[string]struct {
		change func(*Destruction)
		code   string
	}{
		"degauss flash":   {func(d *Destruction) { d.Technique, d.Media = Degauss, "ssd" }, "degauss_refused"},
		"degauss unknown": {func(d *Destruction) { d.Technique, d.Media = Degauss, "unknown" }, "degauss_refused"},
		"degauss hybrid":  {func(d *Destruction) { d.Technique, d.Media = Degauss, "hybrid" }, "degauss_refused"},
		"future":          {func(d *Destruction) { d.When = "2026-01-02T03:06:01Z" }, "in_the_future"},
		"own witness":     {func(d *Destruction) { d.Witness.Name = "o. perator " }, "destruction_refused"},
		"no place":        {func(d *Destruction) { d.Place = "" }, "destruction_refused"},
		"no witness":      {func(d *Destruction) { d.Witness.Name = "" }, "destruction_refused"},
		"no name":         {func(d *Destruction) { d.Device = Name("M", "", "") }, "destruction_refused"},
		"technique":       {func(d *Destruction) { d.Technique = "formatted" }, "destruction_refused"},
		"media":           {func(d *Destruction) { d.Media = "paper" }, "destruction_refused"},
		"another's id":    {func(d *Destruction) { d.Device.ID = hash("a") }, "destruction_refused"},
		"empty photo":     {func(d *Destruction) { d.Photos = []Photo{{0, "x", hash("a")}} }, "destruction_refused"},
	} {
		t.Run(name, func(t *testing.T) {
			d := testDestruction("S")
			c.change(&d)
			_, err := is.Destruction(d)
			refusedAs(t, err, c.code)
		})
	}
	d := testDestruction("S")
	d.Technique = Degauss
	data, err := is.Destruction(d)
	if r := Verify(data, trustIn(t, is.Key)); err != nil || r.Destruction == nil || r.Destruction.Method != "purge" || !strings.HasPrefix(r.Destruction.Words(), "PURGED") {
		t.Errorf("%v %+v", err, r)
	}
	if a, err := Audit(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: fstest.MapFS{"a.json": {Data: data}}, Trust: trustIn(t, is.Key)}); err != nil || foundIn(a) != "" || a.Destructions != 1 {
		t.Errorf("what was refused was logged: %v %s %d", err, foundIn(a), a.Destructions)
	}
}

func testManifest(job string, drives ...ManifestDrive) Manifest {
	for i, d := range drives {
		drives[i].Model, drives[i].ID = "virtio disk", Name("virtio disk", d.Serial, "").ID
		drives[i].Nodes = []string{}
		if drives[i].Reasons == nil {
			drives[i].Reasons = []string{}
		}
	}
	return Manifest{Job: job, Drives: drives, NotReached: []ManifestUnknown{}, PlanSHA256: hash("a"), Policy: Policy{"nist-800-88r2", hash("b"), ""}}
}

func TestManifest(t *testing.T) {
	is := testIssuer(t, testKey(1, RoleHost))
	trust := trustIn(t, is.Key)
	good := mustIssue(t, is, "A", "j")
	bad, err := issue(t, is, "B", "j", failed)
	if err != nil {
		t.Fatal(err)
	}
	certificates := fstest.MapFS{"A.json": {Data: good}, "B.json": {Data: bad}}
	look := func(more fstest.MapFS) string {
		files := fstest.MapFS{}
		for _, m := range []fstest.MapFS{certificates, more} {
			for name, f := range m {
				files[name] = f
			}
		}
		a, err := Audit(AuditInput{Log: filesOf(t, is.Log.dir), Certificates: files, Trust: trust})
		if err != nil {
			t.Fatal(err)
		}
		return foundIn(a)
	}
	if got := look(nil); got != "manifest_missing:1" {
		t.Errorf("%s", got)
	}
	if _, err := is.Manifest(testManifest("j", ManifestDrive{Serial: "A", Became: "sanitized"}, ManifestDrive{Serial: "C", Became: "sanitized"})); err == nil {
		t.Error("a drive without a result is sanitized")
	}
	if _, err := is.Manifest(testManifest("j", ManifestDrive{Serial: "A", Became: "sanitized"}, ManifestDrive{Serial: "B", Became: "sanitized"})); err == nil {
		t.Error("a drive that failed is sanitized")
	}
	m := testManifest("j", ManifestDrive{Serial: "A", Became: "sanitized"}, ManifestDrive{Serial: "B", Became: "failed"}, ManifestDrive{Serial: "C", Became: NotSelected}, ManifestDrive{Serial: "D", Became: "refused", Reasons: []string{"mounted"}})
	record, err := is.Manifest(m)
	if err != nil {
		t.Fatal(err)
	}
	if r := Verify(record, trust); r.Code != CodeOutcome || codesOf(r) != "manifest_failed manifest_refused" || r.Manifest.Drives[0].Result == nil {
		t.Errorf("%d %s", r.Code, codesOf(r))
	}
	if again, err := is.Manifest(testManifest("j", ManifestDrive{Serial: "A", Became: "sanitized"})); err != nil || !bytes.Equal(again, record) {
		t.Errorf("a second manifest of the job: %v", err)
	}
	if got := look(fstest.MapFS{"manifest.json": {Data: record}}); got != "" {
		t.Errorf("%s", got)
	}
	if got := look(nil); got != "record_missing:5" {
		t.Errorf("without its file: %s", got)
	}
	good = mustIssue(t, is, "A", "k")
	certificates["k.json"] = &fstest.MapFile{Data: good}
	whole, err := is.Manifest(testManifest("k", ManifestDrive{Serial: "A", Became: "sanitized"}, ManifestDrive{Serial: "C", Became: NotSelected}))
	if r := Verify(whole, trust); err != nil || r.Code != CodeOK {
		t.Errorf("%v: %d %s", err, r.Code, codesOf(r))
	}
	// A plan that is refused twice within a second has one manifest, whoever of two processes made it.
	none := testManifest("", ManifestDrive{Serial: "A", Became: "refused", Reasons: []string{"mounted"}})
	first, err := is.Manifest(none)
	if err != nil {
		t.Fatal(err)
	}
	other := is
	other.Run = testRun(is.Key.Role)
	if again, err := other.Manifest(none); err != nil || Verify(again, trust).RecordSHA256() != Verify(first, trust).RecordSHA256() || Verify(again, trust).LogIndex != Verify(first, trust).LogIndex {
		t.Errorf("%v: %s", err, again)
	}
	blind := testManifest("", ManifestDrive{Serial: "A", Became: "refused", Reasons: []string{"mounted"}})
	blind.NotListed = "the bus cannot be read"
	if data, err := is.Manifest(blind); err != nil || !strings.Contains(codesOf(Verify(data, trust)), "manifest_not_listed") {
		t.Errorf("%v: a host that was not looked at: %s", err, codesOf(Verify(data, trust)))
	}
}

// goldenRecords are records of this version: a certificate with all that can be said of it, a destruction and a manifest.
var goldenRecords = []string{"judged.v1.json", "destruction.v1.json", "manifest.v1.json"}

// Records of this version must verify for ever.
func TestGoldenRecords(t *testing.T) {
	is := testIssuer(t, testKey(7, RoleHost))
	validator := testKey(8, RoleValidator)
	if *update {
		id := testDevice("GOLDEN-2").DriveID()
		mustIssue(t, is, "GOLDEN-2", "j-golden-2")
		_, err := is.Validate("j-golden-2", id, judge(Accept), validator)
		var made [3][]byte
		if err == nil {
			made[0], err = is.Supersede("j-golden-2", id, Correction{By: &Person{Name: "S. Ite"}, Given: &Given{AssetTag: "A-17", Operator: &Person{Name: "O. Perator"}}, Reason: "the tag was wrong"})
		}
		if err == nil {
			made[1], err = is.Destruction(testDestruction("GOLDEN-3"))
		}
		if err == nil {
			made[2], err = is.Manifest(testManifest("j-golden-2", ManifestDrive{Serial: "GOLDEN-2", Became: "sanitized"}, ManifestDrive{Serial: "GOLDEN-4", Became: NotSelected, Reasons: []string{"mounted"}}))
		}
		for i, name := range goldenRecords {
			err = errors.Join(err, os.WriteFile(filepath.Join("testdata", name), made[i], 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range goldenRecords {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		r := Verify(data, validatorTrust(t, is.Key, validator))
		if r.Code != CodeOK || len(r.Reasons) > 0 || r.IsRecord() != (i > 0) {
			t.Errorf("%s: %d %v", name, r.Code, r.Reasons)
		}
	}
}
