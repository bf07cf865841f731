package sanitize

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

func drive() devices.Drive {
	return devices.Drive{ID: devices.NewID("M", "S", ""), Nodes: []string{"/dev/vda"}, Model: "M", Serial: "S", Protocol: devices.ProtocolVirtio,
		Media: devices.MediaUnknown, Identity: devices.IdentityHost, State: devices.StateReady, Reasons: []devices.Reason{},
		Geometry: devices.Geometry{SizeBytes: 1 << 20, LogicalBlock: 512, PhysicalBlock: 4096}}
}

func choose(t testing.TB, r Request) DrivePlan {
	t.Helper()
	r, err := r.Normal()
	if err != nil {
		t.Fatal(err)
	}
	p, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := Choose(drive(), strings.Repeat("0", 64), r, p)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// entry is one record to be.
type entry struct {
	kind string
	data any
}

// write makes a journal of entries and reads it as Fold does.
func write(t testing.TB, entries []entry) journal.Parsed {
	t.Helper()
	name := filepath.Join(t.TempDir(), "journal")
	j, err := journal.Create(name, func() time.Time { return time.Unix(1e9, 0) })
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := j.Append(e.kind, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := journal.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var all = []overwrite.Extent{{Offset: 0, Length: 1 << 20}}

// story is the journal of a job that went well.
func story(t testing.TB, r Request) []entry {
	return []entry{
		{kindOpened, openedRecord{Job: "j", PlanDigest: "p", Drive: choose(t, r)}},
		{kindIntent, intentRecord{0, strings.Repeat("1", 64)}},
		{kindAttempt, attemptRecord{1, "v"}},
		{kindReidentified, reidentifiedRecord{drive().ID, "/dev/vda", 1 << 20, "pass 1"}},
		{kindPassBegun, passBegunRecord{Pass: 1, Pattern: "hex:00"}},
		{kindExtents, extentsRecord{Pass: 1, Done: all}},
		{kindPassDone, passDoneRecord{1}},
		{kindReidentified, reidentifiedRecord{drive().ID, "/dev/vda", 1 << 20, "verification"}},
		{kindVerifyBegun, verifyBegunRecord{Mode: VerifyFull}},
		{kindVerified, verifiedRecord{Done: all}},
		{kindVerifyDone, verifyDoneRecord{Complete: true}},
		{kindFinished, finishedRecord{Status: statusCompleted}},
	}
}

func fold(t testing.TB, entries []entry) Evidence {
	t.Helper()
	e, err := Fold(write(t, entries))
	if err != nil {
		return Evidence{Outcome: "error: " + Outcome(err.Error())}
	}
	return e
}

func TestFoldOfAGoodJournal(t *testing.T) {
	e := fold(t, story(t, Request{Pattern: "zero", Verify: VerifyFull}))
	if e.Outcome != Sanitized || e.Reason != "" || e.BytesWritten != 1<<20 || e.Verification.Coverage != 1e6 || e.Verification.Samples != 1 || e.Interruptions != 0 {
		t.Fatalf("%+v", e)
	}
}

// Take any one record away, and the journal no longer says sanitized. Only notes of identity may
// be missing: they are checks that ended the work when they failed.
func TestEveryRecordIsNeeded(t *testing.T) {
	good := story(t, Request{Pattern: "zero", Verify: VerifyFull})
	for i := range good {
		e := fold(t, append(append([]entry{}, good[:i]...), good[i+1:]...))
		if e.Outcome == Sanitized && good[i].kind != kindReidentified {
			t.Errorf("without record %d (%s) the drive is called sanitized", i+1, good[i].kind)
		}
	}
	for i := range good {
		if e := fold(t, good[:i]); i > 0 && i < len(good) && e.Outcome != Interrupted {
			t.Errorf("cut after %d records: %s", i, e.Outcome)
		}
	}
}

func TestFoldJudges(t *testing.T) {
	half := []overwrite.Extent{{Offset: 0, Length: 1 << 19}}
	rest := []overwrite.Extent{{Offset: 1 << 19, Length: 1 << 19}}
	block := []overwrite.Extent{{Offset: 512, Length: 512}}
	but := []overwrite.Extent{{Offset: 0, Length: 512}, {Offset: 1024, Length: 1<<20 - 1024}}
	seed := strings.Repeat("7", 64)
	cases := []struct {
		name   string
		change map[string]any // data of records, by kind
		want   Outcome
	}{
		{"half written", map[string]any{kindExtents: extentsRecord{Pass: 1, Done: half}}, "error"},
		{"a block failed", map[string]any{kindExtents: extentsRecord{Pass: 1, Done: but, Failed: block, Error: "EIO"}, kindVerified: verifiedRecord{Done: but}}, Exceptions},
		{"all blocks failed", map[string]any{kindExtents: extentsRecord{Pass: 1, Failed: all, Error: "EIO"}, kindVerified: verifiedRecord{}}, Failed},
		{"half verified", map[string]any{kindVerified: verifiedRecord{Done: rest}}, Unproven},
		{"nothing verified", map[string]any{kindVerified: verifiedRecord{}}, Unproven},
		{"verification stopped early", map[string]any{kindVerifyDone: verifyDoneRecord{false, "too many bad blocks"}}, Unproven},
		{"a mismatch", map[string]any{kindVerified: verifiedRecord{Done: all, Mismatch: block}}, Unproven},
		{"a mismatch in a failed job", map[string]any{kindVerified: verifiedRecord{Done: all, Mismatch: block}, kindFinished: finishedRecord{statusFailed, "x"}}, Unproven},
		{"a block unread, full", map[string]any{kindVerified: verifiedRecord{Done: but, Failed: block, Error: "EIO"}}, Exceptions},
		{"sampled where full was planned", map[string]any{kindVerifyBegun: verifyBegunRecord{VerifySampled, seed, "x"}}, Unknown},
		{"another pattern than planned", map[string]any{kindPassBegun: passBegunRecord{Pass: 1, Pattern: "hex:ff"}}, "error"},
		{"a keystream that was not planned", map[string]any{kindPassBegun: passBegunRecord{Pass: 1, Pattern: "random", KeySHA256: seed}}, "error"},
		{"sampled with a bad seed", map[string]any{kindVerifyBegun: verifyBegunRecord{VerifySampled, "", "x"}}, "error"},
		{"failed", map[string]any{kindFinished: finishedRecord{statusFailed, "flush: EIO"}}, Failed},
		{"abandoned", map[string]any{kindFinished: finishedRecord{statusAbandoned, "no time"}}, Failed},
		{"refused after writing", map[string]any{kindFinished: finishedRecord{statusRefused, "x"}}, Unknown},
		{"a status of the future", map[string]any{kindFinished: finishedRecord{"great", ""}}, Unknown},
		{"no status", map[string]any{kindFinished: finishedRecord{}}, Unknown},
		{"extents of another pass", map[string]any{kindExtents: extentsRecord{Pass: 2, Done: all}}, "error"},
		{"a second attempt first", map[string]any{kindAttempt: attemptRecord{2, "v"}}, "error"},
		{"an unknown member", map[string]any{kindPassDone: map[string]any{"pass": 1, "ok": true}}, "error"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			entries := story(t, Request{Pattern: "zero", Verify: VerifyFull})
			for i, e := range entries {
				if data, ok := c.change[e.kind]; ok {
					entries[i].data = data
				}
			}
			if e := fold(t, entries); e.Outcome != c.want && !(c.want == "error" && strings.HasPrefix(string(e.Outcome), "error")) {
				t.Fatalf("%s (%s), want %s", e.Outcome, e.Reason, c.want)
			}
		})
	}
}

// Samples that were drawn and not read prove nothing, however many others were.
func TestSamplesThatWereNotRead(t *testing.T) {
	entries := story(t, Request{Pattern: "zero"})
	for i, e := range entries {
		switch e.kind {
		case kindVerifyBegun:
			entries[i].data = verifyBegunRecord{VerifySampled, strings.Repeat("7", 64), overwrite.SamplePRNG}
		case kindVerified:
			entries[i].data = verifiedRecord{Done: []overwrite.Extent{{Offset: 0, Length: 1<<20 - 512}}}
		}
	}
	if e := fold(t, entries); e.Outcome != Unproven || e.Verification.Result != "incomplete" {
		t.Fatalf("%s, %+v", e.Outcome, e.Verification)
	}
}

// A mismatch is not forgotten by verifying again.
func TestVerifyingAgainForgetsNothing(t *testing.T) {
	good := story(t, Request{Pattern: "zero", Verify: VerifyFull})
	block := []overwrite.Extent{{Offset: 512, Length: 512}}
	entries := append(append([]entry{}, good[:9]...),
		entry{kindVerified, verifiedRecord{Done: all, Mismatch: block}}, entry{kindStopped, stoppedRecord{"x"}}, entry{kindAttempt, attemptRecord{2, "v"}})
	entries = append(entries, good[8:]...)
	if e := fold(t, entries); e.Outcome != Unproven || e.Interruptions != 1 {
		t.Fatalf("%s %s, %d interruptions", e.Outcome, e.Reason, e.Interruptions)
	}
}

func TestNothingFollowsTheEnd(t *testing.T) {
	for _, extra := range []entry{{kindFinished, finishedRecord{Status: statusCompleted}}, {kindAttempt, attemptRecord{2, "v"}}, {kindOpened, openedRecord{}}, {"surprise", 1}} {
		if e := fold(t, append(story(t, Request{Pattern: "zero", Verify: VerifyFull}), extra)); !strings.HasPrefix(string(e.Outcome), "error") {
			t.Errorf("%s after the end: %s", extra.kind, e.Outcome)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, r := range []Request{{Pattern: "zero", Verify: VerifyFull}, {}, {Scheme: "dod"}} {
		p := write(f, story(f, r))
		var lines [][]byte
		for _, rec := range p.Records {
			line, err := json.Marshal(rec)
			if err != nil {
				f.Fatal(err)
			}
			lines = append(lines, line)
		}
		f.Add(bytes.Join(lines, []byte("\n")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p journal.Parsed
		for line := range bytes.SplitSeq(data, []byte("\n")) {
			var r journal.Record
			if json.Unmarshal(line, &r) != nil {
				return
			}
			p.Records = append(p.Records, r)
		}
		e, err := Fold(p)
		if err != nil {
			return
		}
		if e.Outcome == Sanitized && (e.ExceptionBytes != 0 || e.Verification.Mismatches != 0 || len(e.Passes) != len(e.Drive.Passes)) {
			t.Fatalf("%+v", e)
		}
	})
}

func TestMethodsByPolicy(t *testing.T) {
	p, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{}, "clear"}, {Request{Method: Purge}, "purge"}, {Request{Category: Low, Disposition: Reuse}, "clear"},
		{Request{Category: Low, Disposition: Decommission}, "purge"}, {Request{Category: Moderate, Disposition: Decommission}, "purge"},
		{Request{Category: High, Disposition: Reuse}, "purge"}, {Request{Category: High, Disposition: Decommission}, "refused"},
		{Request{Method: Purge, Category: High, Disposition: Decommission}, "refused"}, {Request{Method: Clear, Category: High, Disposition: Reuse}, "refused"},
		{Request{Method: Purge, Category: Low, Disposition: Reuse}, "purge"}, {Request{Category: High}, "usage"}, {Request{Disposition: Reuse}, "usage"},
	} {
		got, err := p.method(c.r)
		var refusal *Refusal
		var usage *RequestError
		switch {
		case errors.As(err, &refusal):
			got = "refused"
		case errors.As(err, &usage):
			got = "usage"
		}
		if string(got) != c.want {
			t.Errorf("%+v: %s, want %s", c.r, got, c.want)
		}
	}
	if a, b := Policies()[0].Digest(), Policies()[1].Digest(); a == b || len(a) != 64 {
		t.Errorf("policy digests %s and %s", a, b)
	}
}

// The passes of the old standards, as their sources have them.
func TestSchemes(t *testing.T) {
	want := map[string]string{
		"dod-5220.22-m":       "char:a not:a random",
		"dod-ece":             "char:a not:a random char:b char:c not:c random",
		"bsi-vsitr":           "hex:00 hex:ff hex:00 hex:ff hex:00 hex:ff hex:aa",
		"hmg-is5-baseline":    "hex:00",
		"hmg-is5-enhanced":    "hex:00 hex:ff random",
		"ops-ii":              "hex:00 hex:ff hex:00 hex:ff hex:00 hex:ff random",
		"csec-itsg-06":        "hex:ff hex:00 random",
		"ar-380-19":           "random char:a not:a",
		"afssi-5020":          "hex:00 hex:ff random",
		"schneier":            "hex:ff hex:00 random random random random random",
		"gost":                "hex:00 random",
		"nzsit-402":           "random",
		"ism-magnetic":        "random",
		"ism-flash":           "random random",
		"bmb21-2019":          "hex:ff hex:00 random random random hex:ff",
		"nist-800-88r1-flash": "char:a not:a",
	}
	for name, passes := range want {
		s, err := SchemeByName(strings.ToUpper(name))
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, p := range s.Passes {
			got = append(got, p.Pattern)
		}
		if strings.Join(got, " ") != passes {
			t.Errorf("%s: %v", name, got)
		}
		if plan := choose(t, Request{Scheme: name}); plan.Method != Clear {
			t.Errorf("%s reaches %s", name, plan.Method)
		}
	}
	g, err := SchemeByName("gutmann")
	if err != nil || len(g.Passes) != 35 || len(gutmannPatterns) != 27 {
		t.Errorf("Gutmann has %d passes, %d patterns, %v", len(g.Passes), len(gutmannPatterns), err)
	}
}

func TestChooseRefuses(t *testing.T) {
	policy, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*devices.Drive)
		r      Request
		cannot bool
	}{
		"purge":              {func(*devices.Drive) {}, Request{Method: Purge}, true},
		"another technique":  {func(*devices.Drive) {}, Request{Technique: BlockErase}, true},
		"in use":             {func(d *devices.Drive) { d.State, d.Reasons = devices.StateInUse, []devices.Reason{{Code: "mounted"}} }, Request{}, false},
		"blocked, no reason": {func(d *devices.Drive) { d.State = devices.StateBlocked }, Request{}, false},
		"no state":           {func(d *devices.Drive) { d.State = "" }, Request{}, false},
		"read-only":          {func(d *devices.Drive) { d.ReadOnly = true }, Request{}, false},
		"no size":            {func(d *devices.Drive) { d.SizeBytes = 0 }, Request{}, false},
		"odd size":           {func(d *devices.Drive) { d.SizeBytes = 1000 }, Request{}, false},
		"odd blocks":         {func(d *devices.Drive) { d.LogicalBlock = 520 }, Request{}, false},
		"fabric": {func(d *devices.Drive) {
			d.State, d.Fabric, d.Reasons = devices.StateBlocked, "tcp", []devices.Reason{{Code: "fabric"}}
		}, Request{}, false},
		"fabric allowed, and mounted": {func(d *devices.Drive) {
			d.State, d.Fabric, d.Reasons = devices.StateInUse, "tcp", []devices.Reason{{Code: "fabric"}, {Code: "mounted"}}
		}, Request{AllowFabric: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := drive()
			c.change(&d)
			plan, err := Choose(d, "", c.r, policy)
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Cannot != c.cannot || len(refusal.Reasons) == 0 {
				t.Fatalf("%+v, %v", plan, err)
			}
		})
	}
	d := drive()
	d.State, d.Fabric, d.Reasons = devices.StateBlocked, "tcp", []devices.Reason{{Code: "fabric"}}
	if plan, err := Choose(d, "", Request{AllowFabric: true}, policy); err != nil || plan.Fabric != "tcp" {
		t.Fatalf("fabric, allowed: %+v, %v", plan, err)
	}
}

func plan(t testing.TB) Plan {
	p, err := PolicyByName("")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return Plan{Schema: PlanSchema, ID: "x", Created: now, Expires: now.Add(PlanLifetime), Agent: "v", Host: "h",
		Policy: PolicyRef{p.Name, p.Digest()}, Drives: []DrivePlan{choose(t, Request{})}, Refused: []Refused{}}
}

// A plan survives its file; an edit of any byte of it does not.
func TestPlanFile(t *testing.T) {
	p := plan(t)
	data, err := MarshalPlan(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParsePlan(data)
	if err != nil || got.Digest() != p.Digest() {
		t.Fatalf("%v", err)
	}
	for i := range data {
		edited := bytes.Clone(data)
		edited[i] ^= 1
		if got, err := ParsePlan(edited); err == nil && got.Digest() != p.Digest() {
			t.Fatalf("byte %d edited and accepted", i)
		}
	}
	if !p.Confirms(p.Digest()) || !p.Confirms("sha256:"+strings.ToUpper(p.Digest()[:12])) {
		t.Error("the digest does not confirm")
	}
	for _, typed := range []string{"", " ", p.Digest()[:11], p.Digest() + "0", p.Digest()[1:], "yes"} {
		if p.Confirms(typed) {
			t.Errorf("%q confirms", typed)
		}
	}
}

// Ids name directories: a plan made by hand must not reach out of its job.
func TestPlanWithBadDrives(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"path":      func(p *Plan) { p.Drives[0].ID = "../../x" },
		"empty":     func(p *Plan) { p.Drives[0].ID = "" },
		"uppercase": func(p *Plan) { p.Drives[0].ID = devices.ID(strings.ToUpper(string(p.Drives[0].ID))) },
		"twice":     func(p *Plan) { p.Drives = append(p.Drives, p.Drives[0]) },
	} {
		p := plan(t)
		change(&p)
		data, err := MarshalPlan(p)
		if err != nil {
			t.Fatal(err)
		}
		var format *PlanFormatError
		if _, err := ParsePlan(data); !errors.As(err, &format) {
			t.Errorf("%s: read: %v", name, err)
		}
		if err := p.Usable("h", false, p.Created); !errors.As(err, &format) {
			t.Errorf("%s: used: %v", name, err)
		}
	}
}

func TestUsable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Plan)
		later  time.Duration
		want   error
	}{
		"fresh":                {func(*Plan) {}, time.Hour, nil},
		"old":                  {func(*Plan) {}, 25 * time.Hour, ErrPlanExpired},
		"of tomorrow":          {func(*Plan) {}, -2 * time.Hour, ErrPlanExpired},
		"immortal":             {func(p *Plan) { p.Expires = p.Expires.Add(1e6 * time.Hour) }, time.Hour, ErrPlanExpired},
		"another host":         {func(p *Plan) { p.Host = "other" }, 0, ErrPlanForeign},
		"simulated":            {func(p *Plan) { p.Simulated = true }, 0, ErrPlanForeign},
		"another policy":       {func(p *Plan) { p.Policy.SHA256 = "0" }, 0, ErrPlanChanged},
		"policy of the future": {func(p *Plan) { p.Policy.Name = "x" }, 0, ErrPlanChanged},
	} {
		t.Run(name, func(t *testing.T) {
			p := plan(t)
			created := p.Created
			c.change(&p)
			if err := p.Usable("h", false, created.Add(c.later)); !errors.Is(err, c.want) {
				t.Fatalf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzParsePlan(f *testing.F) {
	data, err := MarshalPlan(plan(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParsePlan(data)
		if err != nil {
			return
		}
		again, err := MarshalPlan(p)
		if err != nil {
			t.Fatal(err)
		}
		if q, err := ParsePlan(again); err != nil || q.Digest() != p.Digest() {
			t.Fatalf("%v", err)
		}
	})
}

// Keys are on disk before use, private, and never in an error.
func TestSecrets(t *testing.T) {
	name := filepath.Join(t.TempDir(), "secrets")
	s, err := openSecrets(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.newKey(1)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	again, err := openSecrets(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := again.key(1, keyDigest(key)); !ok || !bytes.Equal(got, key) {
		t.Fatal("the key is not the same after reading")
	}
	if _, ok := again.key(1, keyDigest(make([]byte, 32))); ok {
		t.Fatal("another key than the journal's was given out")
	}
	if _, ok := again.key(2, keyDigest(key)); ok {
		t.Fatal("the key of another pass was given out")
	}
	damaged := fmt.Appendf(nil, `{"keys":{"1":"%x`, key)
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSecrets(name); err == nil || strings.Contains(err.Error(), fmt.Sprintf("%x", key[:4])) {
		t.Fatalf("damaged secrets: %v", err)
	}
}
