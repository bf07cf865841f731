package sanitize

import (
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// toldStory is the journal of an overwrite with zeros that was read back in full, with what the drive says of its
// zones after the pass and before reading.
func toldStory(t *testing.T, verify VerifyMode, written, reading []entry) []entry {
	t.Helper()
	dp, err := chooseFor(zonedDrive(), Request{Technique: HostOverwrite, Pattern: "zero", Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	all := []overwrite.Extent{{Offset: 0, Length: zonedSize}}
	list := slices.Concat([]entry{
		{kindOpened, openedRecord{Job: "j", PlanDigest: "p", Drive: dp}}, {kindIntent, intentRecord{0, strings.Repeat("1", 64)}}, {kindAttempt, attemptRecord{1, "v"}},
		{kindPassBegun, passBegunRecord{Pass: 1, Pattern: "hex:00"}}, {kindZonesReset, zonesResetRecord{1, all}}, {kindExtents, extentsRecord{Pass: 1, Done: all}},
	}, written, []entry{{kindPassDone, passDoneRecord{1}}})
	if verify != VerifyStatus {
		list = slices.Concat(list, reading, []entry{{kindVerifyBegun, verifyBegunRecord{Mode: VerifyFull}}, {kindVerified, verifiedRecord{Done: all}}, {kindVerifyDone, verifyDoneRecord{Complete: true}}})
	}
	return append(list, entry{kindFinished, finishedRecord{Status: statusCompleted}})
}

// What was written is on the drive as far as its zones are full, and was read as far as they were when it was
// read back: both are judged from the journal, and a journal that does not tell says nothing.
func TestZonesToldOfAnOverwrite(t *testing.T) {
	zone := overwrite.Extent{Offset: 160 << 10, Length: 160 << 10}
	told := func(r zonesToldRecord) entry { r.Pass = 1; return entry{kindZonesTold, r} }
	full := []entry{told(zonesToldRecord{Begin: true, End: true})}
	empty := []entry{told(zonesToldRecord{Begin: true, Unwritten: []overwrite.Extent{zone}, End: true})}
	lost := []entry{told(zonesToldRecord{Begin: true}), told(zonesToldRecord{Lost: []overwrite.Extent{zone}, End: true})}
	for _, x := range []struct {
		name             string
		verify           VerifyMode
		written, reading []entry
		want             Outcome
		bytes            int64 // read
	}{
		{"full", VerifyFull, full, full, Sanitized, zonedSize}, {"full, not read back", VerifyStatus, full, nil, Sanitized, 0},
		{"not told after the pass", VerifyFull, nil, full, Unknown, zonedSize}, {"not told before reading", VerifyFull, full, nil, Unknown, zonedSize},
		{"not told at all", VerifyStatus, nil, nil, Unknown, 0}, {"told in part", VerifyFull, full, lost[:1], Unknown, zonedSize},
		{"empty after it was written", VerifyFull, empty, full, Exceptions, zonedSize - zone.Length}, {"and nothing read back", VerifyStatus, empty, nil, Exceptions, 0},
		{"empty when it was read", VerifyFull, full, empty, Exceptions, zonedSize - zone.Length}, {"lost when it was read", VerifyFull, full, lost, Exceptions, zonedSize - zone.Length},
		{"empty in one of two reports", VerifyFull, full, slices.Concat(empty, full), Exceptions, zonedSize - zone.Length},
		{"a part without a beginning", VerifyFull, full, lost[1:], "error", 0},
	} {
		e := fold(t, toldStory(t, x.verify, x.written, x.reading))
		if x.want == "error" && strings.HasPrefix(string(e.Outcome), "error") {
			continue
		}
		if e.Outcome != x.want || e.Verification.Bytes != x.bytes || x.want == Exceptions && (e.ExceptionBytes != zone.Length || len(e.Exceptions) != 1 || e.Exceptions[0].Extent != zone) {
			t.Errorf("%s: %s %s, %d bytes read, %v", x.name, e.Outcome, e.Reason, e.Verification.Bytes, e.Exceptions)
		}
	}
	plain := story(t, Request{Pattern: "zero", Verify: VerifyFull})
	if e := fold(t, slices.Insert(plain, 6, full...)); !strings.HasPrefix(string(e.Outcome), "error") {
		t.Errorf("zones of a drive that has none: %s", e.Outcome)
	}
}
