package sanitize

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/journal"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

func nvmeDrive() devices.Drive {
	d := drive()
	d.Protocol, d.Identity, d.Media = devices.ProtocolNVMe, devices.IdentityDrive, devices.MediaFlash
	d.Namespaces = []devices.Namespace{{NSID: 1, Node: "/dev/nvme0n1", Attached: true, SizeBytes: 1 << 20, LogicalBlock: 512}}
	d.Sanitize = &devices.SanitizeSupport{Crypto: true, Block: true, NoDeallocate: true, State: devices.SanitizeIdle, AfterBlock: devices.ReadsConstant, AfterCrypto: devices.ReadsAnything}
	return d
}

func chooseFor(d devices.Drive, r Request) (DrivePlan, error) {
	r, err := r.Normal()
	if err != nil {
		return DrivePlan{}, err
	}
	p, err := PolicyByName("")
	if err != nil {
		return DrivePlan{}, err
	}
	return Choose(d, strings.Repeat("0", 64), r, p, Rulings{})
}

// page is log page 81h.
func page(sos uint16, erased bool, cdw10 uint32) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint16(b[0:], 0xffff)
	if erased {
		sos |= 1 << 8
	}
	binary.LittleEndian.PutUint16(b[2:], sos)
	binary.LittleEndian.PutUint32(b[4:], cdw10)
	binary.LittleEndian.PutUint32(b[12:], 100)
	binary.LittleEndian.PutUint32(b[16:], 50)
	return b
}

const (
	cryptoCDW10 = 0x204
	blockCDW10  = 0x2
)

var markerSeed = strings.Repeat("5", 64)

// driveStory is the journal of a cryptographic erase and a block erase that went well.
func driveStory(t testing.TB, verify VerifyMode) []entry {
	t.Helper()
	dp, err := chooseFor(nvmeDrive(), Request{Method: Purge, Verify: verify})
	if err != nil {
		t.Fatal(err)
	}
	return []entry{
		{kindOpened, openedRecord{Job: "j", PlanDigest: "p", Drive: dp}},
		{kindIntent, intentRecord{0, strings.Repeat("1", 64)}},
		{kindAttempt, attemptRecord{1, "v"}},
		{kindHealth, healthRecord{When: "before"}},
		{kindMarkersBegun, markersBegunRecord{markerSeed, overwrite.SamplePRNG}},
		{kindMarkersSet, markersSetRecord{}},
		{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenBefore, Page: page(1, false, blockCDW10)}},
		{kindBegun, begunRecord{1, "x", cryptoCDW10}},
		{kindSent, sentRecord{Operation: 1}},
		{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenAfter, Page: page(1, true, cryptoCDW10)}},
		{kindEnded, endedRecord{1, "x"}},
		{kindDriveStatus, driveStatusRecord{Operation: 2, When: whenBefore, Page: page(1, true, cryptoCDW10)}},
		{kindBegun, begunRecord{2, "x", blockCDW10}},
		{kindSent, sentRecord{Operation: 2}},
		{kindDriveStatus, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(1, true, blockCDW10)}},
		{kindEnded, endedRecord{2, "x"}},
		{kindMarkersRead, markersReadRecord{After: 2, Begin: true}},
		{kindMarkersRead, markersReadRecord{After: 2, Read: all}},
		{kindMarkersRead, markersReadRecord{After: 2, End: true}},
		{kindVerifyBegun, verifyBegunRecord{Mode: VerifyFull}},
		{kindVerified, verifiedRecord{Done: all, Zeros: 2048}},
		{kindVerifyDone, verifyDoneRecord{Complete: true}},
		{kindFinished, finishedRecord{Status: statusCompleted}},
	}
}

// Take any one record away, and the journal no longer says sanitized. Only what is noted for
// people may be missing: the drive's condition, and that a command was completed, which proves nothing.
func TestEveryRecordOfADriveIsNeeded(t *testing.T) {
	good := driveStory(t, VerifyFull)
	e := fold(t, good)
	if e.Outcome != Sanitized || len(e.Operations) != 2 || e.Markers == nil || e.Markers.Changed != e.Markers.Set || e.Verification.Zeros != 2048 {
		t.Fatalf("%s %s %+v", e.Outcome, e.Reason, e.Markers)
	}
	for i := range good {
		e := fold(t, slices.Delete(slices.Clone(good), i, i+1))
		if e.Outcome == Sanitized && good[i].kind != kindHealth && good[i].kind != kindSent {
			t.Errorf("without record %d (%s) the drive is called sanitized", i+1, good[i].kind)
		}
	}
	for i := range good {
		if e := fold(t, good[:i]); i > 0 && e.Outcome != Interrupted {
			t.Errorf("cut after %d records: %s", i, e.Outcome)
		}
	}
}

func TestFoldJudgesTheDrive(t *testing.T) {
	block := []overwrite.Extent{{Offset: 0, Length: 512}} // the first block is always marked
	half := []overwrite.Extent{{Offset: 0, Length: 1<<19 - 512}}
	for _, c := range []struct {
		name   string
		at     int // record, from 1
		data   any
		want   Outcome
		reason string
	}{
		{"a failure", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(3, true, blockCDW10)}, "error", ""},
		{"a success of another command", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(1, true, 3)}, "error", ""},
		{"without global data erased", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(1, false, blockCDW10)}, "error", ""},
		{"a page of zeros", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: make([]byte, 512)}, "error", ""},
		{"half a page", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(1, true, blockCDW10)[:256]}, "error", ""},
		{"no page", 15, driveStatusRecord{Operation: 2, When: whenAfter, Error: "EIO"}, "error", ""},
		{"still running", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(2, false, blockCDW10)}, "error", ""},
		{"the status before", 15, driveStatusRecord{Operation: 2, When: whenBefore, Page: page(1, true, blockCDW10)}, "error", ""},
		{"the same success before", 12, driveStatusRecord{Operation: 2, When: whenBefore, Page: page(1, true, blockCDW10)}, "error", ""},
		{"begun while one ran", 12, driveStatusRecord{Operation: 2, When: whenBefore, Page: page(2, false, cryptoCDW10)}, "error", ""},
		{"another command than planned", 13, begunRecord{2, "x", 3}, "error", ""},
		{"deallocated unexpectedly", 15, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(4, true, blockCDW10)}, Sanitized, ""},
		{"a marker is left", 18, markersReadRecord{After: 2, Read: all, Unchanged: block}, Unproven, "still hold"},
		{"half of the markers were not read", 18, markersReadRecord{After: 2, Read: half}, Unproven, "too few"},
		{"half of the markers cannot be read", 18, markersReadRecord{After: 2, Read: half, Failed: []overwrite.Extent{{Offset: 1<<19 - 512, Length: 1<<19 + 512}}}, Unproven, "too few"},
		{"markers read after another operation", 17, markersReadRecord{After: 3, Begin: true}, "error", ""},
		{"markers of the second read after the first", 11, markersReadRecord{After: 2, Begin: true}, "error", ""},
		{"markers without a seed", 5, markersBegunRecord{"", "x"}, "error", ""},
		{"all markers lost", 6, markersSetRecord{Lost: all}, Unproven, "too few"},
		{"a block does not look erased", 21, verifiedRecord{Done: all, Mismatch: block}, Unproven, "do not look erased"},
		{"a quarter cannot be read", 21, verifiedRecord{Done: []overwrite.Extent{{Offset: 0, Length: 3 << 18}}, Failed: []overwrite.Extent{{Offset: 3 << 18, Length: 1 << 18}}}, Sanitized, ""},
		{"most cannot be read", 21, verifiedRecord{Done: half, Failed: []overwrite.Extent{{Offset: 1<<19 - 512, Length: 1<<19 + 512}}}, Unproven, "not enough"},
		{"sampled where full was planned", 20, verifyBegunRecord{VerifySampled, markerSeed, "x"}, Unknown, ""},
		{"failed", 23, finishedRecord{statusFailed, "x"}, Failed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			entries := driveStory(t, VerifyFull)
			if _, ok := c.data.(markersReadRecord); ok && entries[c.at-1].kind != kindMarkersRead {
				entries = slices.Insert(entries, c.at, entry{kindMarkersRead, c.data})
			} else {
				entries[c.at-1].data = c.data
			}
			if e := fold(t, entries); !strings.HasPrefix(string(e.Outcome), string(c.want)) || !strings.Contains(e.Reason, c.reason) {
				t.Fatalf("%s (%s), want %s", e.Outcome, e.Reason, c.want)
			}
		})
	}
}

// A drive that is told to leave blocks allocated, and shows zeros where the markers were, has unmapped
// them: what became of the key is not shown. If it says so itself, it is believed.
func TestUnmappedIsNotErased(t *testing.T) {
	dp, err := chooseFor(nvmeDrive(), Request{Method: Purge, Technique: "crypto", Verify: VerifyFull})
	if err != nil {
		t.Fatal(err)
	}
	for sos, want := range map[uint16]Outcome{1: Unproven, 4: Sanitized} {
		entries := slices.Delete(driveStory(t, VerifyFull), 11, 16)
		entries[0].data = openedRecord{Job: "j", PlanDigest: "p", Drive: dp}
		entries[9].data = driveStatusRecord{Operation: 1, When: whenAfter, Page: page(sos, true, cryptoCDW10)}
		for i, read := range []markersReadRecord{{After: 1, Begin: true}, {After: 1, Read: all, Constant: 1 << 20}, {After: 1, End: true}} {
			entries[11+i].data = read
		}
		if e := fold(t, entries); e.Outcome != want || len(e.Warnings) == 0 {
			t.Errorf("status %d: %s %s %v", sos, e.Outcome, e.Reason, e.Warnings)
		}
		entries[12].data = markersReadRecord{After: 1, Read: all}
		if e := fold(t, entries); e.Outcome != Sanitized {
			t.Errorf("noise: %s %s", e.Outcome, e.Reason)
		}
	}
}

// The same success before and after counts when the operation was seen running, or when the
// markers are gone, and not otherwise.
func TestWhoseSuccess(t *testing.T) {
	same := driveStatusRecord{Operation: 2, When: whenBefore, Page: page(1, true, blockCDW10)}
	running := entry{kindDriveStatus, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(2, false, blockCDW10)}}
	other := entry{kindDriveStatus, driveStatusRecord{Operation: 2, When: whenAfter, Page: page(2, false, 3)}}
	markers := func(read markersReadRecord) []entry {
		return []entry{{kindMarkersRead, markersReadRecord{After: 2, Begin: true}}, {kindMarkersRead, read}, {kindMarkersRead, markersReadRecord{After: 2, End: true}}}
	}
	for _, c := range []struct {
		name    string
		between []entry // the command was sent; its success is seen
		want    string
	}{
		{"nothing else", nil, "error"},
		{"seen running", []entry{running}, "sanitized"},
		{"another seen running", []entry{other}, "error"},
		{"markers gone, by the operation before", markers(markersReadRecord{After: 2, Read: all}), "error"},
		{"one marker left", markers(markersReadRecord{After: 2, Read: all, Unchanged: all[:1]}), "error"},
		{"markers not read", markers(markersReadRecord{After: 2}), "error"},
	} {
		entries := driveStory(t, VerifyFull)
		entries[11].data = same
		at := 14
		if len(c.between) == 3 {
			at = 15 // markers are read when the success is there
		}
		entries = slices.Insert(entries, at, c.between...)
		if e := fold(t, entries); !strings.HasPrefix(string(e.Outcome), c.want) {
			t.Errorf("%s: %s %s", c.name, e.Outcome, e.Reason)
		}
	}
	// A success that was seen running does not make another command's: a new one begins anew.
	entries := driveStory(t, VerifyFull)
	entries = slices.Insert(entries, 14, running,
		entry{kindDriveStatus, same}, entry{kindBegun, begunRecord{2, "x", blockCDW10}})
	if e := fold(t, entries); !strings.HasPrefix(string(e.Outcome), "error") {
		t.Errorf("an older attempt's running: %s", e.Outcome)
	}
}

// Security that may be off by our own hand is no erase, whatever else speaks for one. When the drive answered that it keeps the password, it
// was not our hand.
func TestPasswordTakenOffIsNoErase(t *testing.T) {
	s := state{markers: &markerState{isSet: true}, operations: []operationState{{sends: 1, armed: true, seen: true, last: &account{explicit: true}}}}
	s.opened = &openedRecord{}
	s.opened.Drive.Operations = []Operation{{Kind: ATASecurityErase}}
	note := func(kind string) bool {
		t.Helper()
		data, err := json.Marshal(releasedRecord{1})
		if err == nil {
			err = s.applyOperation(journal.Record{Kind: kind, Data: data})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.operations[0].last = &account{explicit: true} // and then it is seen that security is off
		_, ours := s.ours(0)
		return ours
	}
	if _, ours := s.ours(0); !ours {
		t.Error("it was seen running, and is not ours")
	}
	if note(kindReleasing) {
		t.Error("ours, while the password comes off")
	}
	if !note(kindRetained) {
		t.Error("not ours, though the drive kept the password until it was done")
	}
	if note(kindReleased) {
		t.Error("ours, when the password was taken off")
	}
}

// What is sent is what was planned, bit for bit, and nothing else can be.
func TestCommandOf(t *testing.T) {
	for cdw10, ok := range map[uint32]bool{cryptoCDW10: true, blockCDW10: true, 0xa: true, 0xc: true, 0x804: true, 0x1: false, 0x3: false, 0x5: false, 0x12: false, 0x402: true, 0x404: true, 0x604: false, 0x405: false, 0: false, 0x80000002: false} {
		c, err := nvmeCommand(Operation{Command: "x", Code: cdw10})
		if (err == nil) != ok || ok && (c.CDW10 != cdw10 || c.Opcode != 0x84 || c.NSID != 0) {
			t.Errorf("%#x: %+v, %v", cdw10, c, err)
		}
	}
}

func TestErasedBlocks(t *testing.T) {
	const size = 512
	zeros, ones, data := make([]byte, size), bytes.Repeat([]byte{0xff}, size), bytes.Repeat([]byte{0x5a}, size)
	almost := bytes.Clone(zeros)
	almost[size-1] = 1
	gpt := append([]byte("EFI PART"), bytes.Repeat([]byte{7}, size-8)...)
	buf := slices.Concat(zeros, ones, data, almost, gpt)
	for _, c := range []struct {
		leaves devices.ReadBack
		wrong  []int64 // blocks
	}{
		{devices.ReadsConstant, []int64{2, 3, 4}}, {devices.ReadsZeros, []int64{1, 2, 3, 4}}, {devices.ReadsAnything, []int64{4}},
		{devices.ReadsNothing, []int64{0, 1, 2, 3, 4}}, {"", []int64{0, 1, 2, 3, 4}}, {"something new", []int64{0, 1, 2, 3, 4}},
	} {
		var got []int64
		e := erasedBlocks{block: size, leaves: c.leaves}
		for _, x := range e.judge(buf, 4096) {
			got = append(got, (x.Offset-4096)/size)
		}
		if !slices.Equal(got, c.wrong) {
			t.Errorf("%q: blocks %v are wrong, want %v", c.leaves, got, c.wrong)
		}
	}
	e := erasedBlocks{block: size, leaves: devices.ReadsConstant}
	if e.judge(buf, 0); e.zeros != 1 || e.ones != 1 {
		t.Errorf("%d zeros, %d ones", e.zeros, e.ones)
	}
}

// A part of a marker is as telling as all of it.
func TestMarkersUnchanged(t *testing.T) {
	p, err := newMarkerPattern(bytes.Repeat([]byte{9}, 32), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, 4*512)
	p.Fill(whole, 512)
	got := bytes.Clone(whole)
	clear(got[512:1024])
	clear(got[1024+16 : 1536]) // sixteen bytes are left
	for i := 1536; i < 2048; i += 16 {
		got[i] ^= 1 // no sixteen bytes are left
	}
	left := p.unchanged(got, 512, 512)
	if len(left) != 2 || left[0].Offset != 512 || left[1].Offset != 1536 {
		t.Errorf("%v", left)
	}
}

// Blocks of 520 bytes are looked at to their end.
func TestMarkersInOddBlocks(t *testing.T) {
	p, err := newMarkerPattern(bytes.Repeat([]byte{9}, 32), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 3*520)
	p.Fill(got[1040-16:1040], 1040-16) // the last bytes of the second block are left
	if left := p.unchanged(got, 0, 520); len(left) != 1 || left[0].Offset != 520 {
		t.Errorf("%v", left)
	}
}

func TestTiming(t *testing.T) {
	for _, c := range []struct {
		elapsed, estimate int64
		known             bool
		want              string
	}{
		{5, 100, true, timingFast}, {10, 100, true, timingPlausible}, {200, 100, true, timingPlausible}, {201, 100, true, timingSlow},
		{0, 29, true, timingPlausible}, {1000, 29, true, timingPlausible}, {5, 0, true, timingUnknown}, {5, 100, false, timingUnknown},
	} {
		if got := timing(c.elapsed, c.estimate, c.known); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestTechniquesOfDrives(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*devices.Drive)
		r      Request
		want   Technique // or the code of the refusal
	}{
		{"both", func(*devices.Drive) {}, Request{Method: Purge}, CryptoThenBlock},
		{"both, for clear", func(*devices.Drive) {}, Request{}, CryptoThenBlock},
		{"asked for one", func(*devices.Drive) {}, Request{Method: Purge, Technique: "crypto"}, CryptographicErase},
		{"block only", func(d *devices.Drive) { d.Sanitize.Crypto = false }, Request{Method: Purge}, BlockErase},
		{"crypto only", func(d *devices.Drive) { d.Sanitize.Block = false }, Request{Method: Purge}, CryptographicErase},
		{"asked for what it cannot", func(d *devices.Drive) { d.Sanitize.Block = false }, Request{Method: Purge, Technique: BlockErase}, "method_not_reached"},
		{"none, purge", func(d *devices.Drive) { d.Sanitize = nil }, Request{Method: Purge}, "method_not_reached"},
		{"none, clear", func(d *devices.Drive) { d.Sanitize = nil }, Request{}, HostOverwrite},
		{"a pattern", func(*devices.Drive) {}, Request{Pattern: "zero"}, HostOverwrite},
		{"a host's word", func(d *devices.Drive) { d.Identity = devices.IdentityHost }, Request{Method: Purge}, "method_not_reached"},
		{"two namespaces", func(d *devices.Drive) {
			d.Sanitize, d.Namespaces = nil, append(d.Namespaces, devices.Namespace{NSID: 2, SizeBytes: 1 << 20, LogicalBlock: 512})
		}, Request{}, "method_not_reached"},
		{"failed", func(d *devices.Drive) { d.Sanitize.State = devices.SanitizeFailed }, Request{Method: Purge}, CryptoThenBlock},
		{"failed, crypto alone", func(d *devices.Drive) { d.Sanitize.State = devices.SanitizeFailed }, Request{Method: Purge, Technique: "crypto"}, "not_provable"},
		{"failed, crypto and overwrite", func(d *devices.Drive) {
			d.Sanitize.State, d.Sanitize.Block, d.Sanitize.Overwrite, d.Sanitize.NoDeallocate = devices.SanitizeFailed, false, true, true
		}, Request{Method: Purge}, DriveOverwrite},
		{"failed, crypto is all it has", func(d *devices.Drive) { d.Sanitize.State, d.Sanitize.Block = devices.SanitizeFailed, false }, Request{Method: Purge}, "not_provable"},
		{"failed, crypto is all it has, on its word", func(d *devices.Drive) { d.Sanitize.State, d.Sanitize.Block = devices.SanitizeFailed, false }, Request{Method: Purge, Verify: VerifyStatus}, CryptographicErase},
		{"failed, unrestricted", func(d *devices.Drive) { d.Sanitize.State = devices.SanitizeFailed }, Request{Method: Purge, FailureMode: Unrestricted}, "method_not_reached"},
		{"SATA", func(d *devices.Drive) { d.Protocol, d.Sanitize, d.Namespaces = devices.ProtocolATA, nil, nil }, Request{Method: Purge}, "method_not_reached"},
	} {
		d := nvmeDrive()
		c.change(&d)
		p, err := chooseFor(d, c.r)
		got := p.Technique
		var refusal *Refusal
		if err != nil {
			got = Technique(err.Error())
		}
		if errors.As(err, &refusal) {
			got = Technique(refusal.Reasons[0].Code)
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if err == nil && p.Technique != HostOverwrite && (len(p.RestsOn) == 0 || p.RestsOn[0].Message != Reliance || len(p.Operations) == 0) {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
	// A refusal for want of proof says what to ask for that is not refused, and no whole command: it would lead out of the policy.
	for _, c := range []struct {
		block bool
		least VerifyMode
		want  string
	}{
		{true, "", "ask for --technique crypto+block"},
		{true, VerifySampled, "ask for --technique crypto+block"},
		{false, "", "ask for --verify status"},
		{false, VerifyStatus, "ask for --verify status"},
		{false, VerifySampled, "nothing that is asked for can be proven of this drive, and policy site does not take its word"},
	} {
		d := nvmeDrive()
		d.Sanitize.State, d.Sanitize.Block = devices.SanitizeFailed, c.block
		p, err := PolicyByName("")
		if err != nil {
			t.Fatal(err)
		}
		p.Name, p.AtLeast = "site", map[Method]VerifyMode{Purge: c.least}
		if c.least == "" {
			p.AtLeast = nil
		}
		r, err := (Request{Method: Purge, Technique: CryptographicErase}).Normal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Choose(d, strings.Repeat("0", 64), r, p, Rulings{})
		if refusal := (*Refusal)(nil); !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Reasons[0].Hint, c.want) || strings.Contains(refusal.Reasons[0].Hint, "expunge plan") ||
			strings.Contains(c.want, "nothing") && !strings.Contains(refusal.Reasons[0].Hint, "destroy record "+d.Serial) {
			t.Errorf("%v, %+v, want %q", err, refusal, c.want)
		}
	}
	// A drive that may not deallocate afterwards is not told so, and one that can demand purge is.
	d := nvmeDrive()
	d.Sanitize.NoDeallocate, d.Sanitize.PurgeRequired = false, true
	p, err := chooseFor(d, Request{Method: Purge})
	if err != nil || p.Operations[0].Code != 0x804 || p.Operations[1].Code != 0x802 {
		t.Errorf("%+v, %v", p.Operations, err)
	}
	for _, sstat := range []uint16{1, 1 | 1<<11} {
		a, err := nvmeSanitize{}.parse(page(sstat, true, 0x804), p.Operations[0])
		if confirmed := sstat>>11 != 0; err != nil || a.explicit != confirmed {
			t.Errorf("purge was demanded, confirmed %v: counts %v, %v", confirmed, a.explicit, err)
		}
	}
}
