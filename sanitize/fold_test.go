package sanitize

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

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

// With nothing to read back, the passes are all that speaks: one that was not begun, or not ended,
// must keep the drive from being called sanitized.
func TestStatusOnlyNeedsEveryPass(t *testing.T) {
	begin := story(t, Request{Pattern: "zero"})[1:4]
	opened := entry{kindOpened, openedRecord{Job: "j", PlanDigest: "p", Drive: choose(t, Request{Scheme: "bmb21-2019", Verify: VerifyStatus})}}
	work := []entry{
		{kindPassBegun, passBegunRecord{Pass: 1, Pattern: "hex:ff"}}, {kindExtents, extentsRecord{Pass: 1, Done: all}}, {kindPassDone, passDoneRecord{1}},
		{kindPassBegun, passBegunRecord{Pass: 2, Pattern: "hex:00"}}, {kindExtents, extentsRecord{Pass: 2, Done: all}}, {kindPassDone, passDoneRecord{2}},
	}
	for n := range len(work) + 1 {
		entries := append(append([]entry{opened}, begin...), work[:n]...)
		if e := fold(t, append(entries, entry{kindFinished, finishedRecord{Status: statusCompleted}})); e.Outcome != Unknown {
			t.Errorf("after %d records of six passes: %s %s", n, e.Outcome, e.Reason)
		}
	}
}

// A mismatch is not forgotten by verifying again.
func TestVerifyingAgainForgetsNothing(t *testing.T) {
	good := story(t, Request{Pattern: "zero", Verify: VerifyFull})
	block := []overwrite.Extent{{Offset: 512, Length: 512}}
	entries := append(append([]entry{}, good[:9]...),
		entry{kindVerified, verifiedRecord{Done: all, Mismatch: block}}, entry{kindStopped, stoppedRecord{Reason: "x"}}, entry{kindAttempt, attemptRecord{2, "v"}})
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
	stories := [][]entry{driveStory(f, VerifyFull), driveStory(f, VerifyStatus)}
	for _, r := range []Request{{Pattern: "zero", Verify: VerifyFull}, {}, {Scheme: "dod"}} {
		stories = append(stories, story(f, r))
	}
	for _, k := range kindStories {
		stories = append(stories, storyOf(f, k.drive, k.request, k.before, k.running, k.after))
	}
	for _, entries := range stories {
		p := write(f, entries)
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
