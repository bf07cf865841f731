package sanitize

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize/overwrite"
)

// ataSense is what a translation returns of SANITIZE STATUS EXT: descriptor format with the registers.
func ataSense(count uint16, lba, status, failure byte) []byte {
	s := []byte{0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 1, failure, byte(count >> 8), byte(count), 0, lba, 0, 0xff, 0, 0, 0x40, status}
	if status&1 != 0 {
		s[1], s[3] = 0x0b, 0
	}
	return s
}

// The statuses that an ATA drive answers (ACS-4 7.36).
var (
	ataIdle      = ataSense(0, 0xff, 0x50, 0)
	ataRunning   = ataSense(1<<14, 0x80, 0x50, 0)
	ataCompleted = ataSense(1<<15, 0xff, 0x50, 0)
	ataFailed    = ataSense(0, 1, 0x51, 4)
)

func fixedSense(key, asc, ascq byte) []byte {
	s := make([]byte, 18)
	s[0], s[2], s[7], s[12], s[13] = 0x70, key, 10, asc, ascq
	if asc == 0x04 {
		s[15], s[16] = 0x80, 0x40
	}
	return s
}

func descriptorSense(key, asc, ascq byte) []byte {
	s := []byte{0x72, key, asc, ascq, 0, 0, 0, 0}
	if asc == 0x04 {
		s[7] = 8
		s = append(s, 2, 6, 0, 0, 0x80, 0x40, 0, 0)
	}
	return s
}

// identifyPage is IDENTIFY DEVICE of a drive with this word 128.
func identifyPage(security uint16) []byte {
	b := make([]byte, 512)
	put := func(word int, v uint16) { binary.LittleEndian.PutUint16(b[2*word:], v) }
	for i := 20; i < 94; i++ {
		b[i] = 'A'
	}
	put(60, 2048)
	put(82, 1<<1)
	put(83, 1<<14)
	put(85, 1<<1)
	put(87, 1<<14)
	put(89, 30)
	put(128, security)
	b[510] = 0xa5
	sum := byte(0)
	for _, c := range b {
		sum += c
	}
	b[511] = -sum
	return b
}

// What a drive says of its erase is judged by what its standard gives it to say, and nothing else is.
func TestAccounts(t *testing.T) {
	const none = phase(0) // the account is unknown
	for _, c := range []struct {
		name     string
		kind     Kind
		page     []byte
		phase    phase
		mine     bool
		explicit bool
	}{
		{"ATA never", ATASanitize, ataIdle, atRest, true, false},
		{"ATA running", ATASanitize, ataRunning, running, true, false},
		{"ATA completed", ATASanitize, ataCompleted, atRest, true, true},
		{"ATA failed", ATASanitize, ataFailed, failed, true, false},
		{"ATA completed and running at once", ATASanitize, ataSense(3<<14, 0, 0x50, 0), none, false, false},
		{"ATA device fault", ATASanitize, ataSense(1<<15, 0, 0x70, 0), none, false, false},
		{"ATA busy", ATASanitize, ataSense(1<<15, 0, 0xd0, 0), none, false, false},
		{"ATA zeros", ATASanitize, make([]byte, 22), none, false, false},
		{"ATA registers of zeros", ATASanitize, ataSense(0, 0, 0, 0), none, false, false},
		{"ATA fixed format loses half", ATASanitize, []byte{0x70, 0, 1, 0, 0x50, 0x40, 0, 10, 0xc0, 0, 0, 0, 0, 0x1d, 0, 0, 0, 0}, none, false, false},
		{"ATA no sense", ATASanitize, nil, none, false, false},
		{"security off", ATASecurityErase, identifyPage(0x0001), atRest, true, true},
		{"security on", ATASecurityErase, identifyPage(0x0003), atRest, true, false},
		{"security locked", ATASecurityErase, identifyPage(0x0007), atRest, true, false},
		{"security not reported", ATASecurityErase, identifyPage(0x0000), none, false, false},
		{"security of zeros", ATASecurityErase, make([]byte, 512), none, false, false},
		{"SCSI at rest, fixed", SCSISanitize, fixedSense(0, 0, 0), atRest, true, true},
		{"SCSI at rest, descriptor", SCSISanitize, descriptorSense(0, 0, 0), atRest, true, true},
		{"SCSI running, fixed", SCSISanitize, fixedSense(2, 4, 0x1b), running, true, false},
		{"SCSI running, descriptor", SCSISanitize, descriptorSense(2, 4, 0x1b), running, true, false},
		{"SCSI failed", SCSISanitize, fixedSense(3, 0x31, 3), failed, true, false},
		{"SCSI formats instead", SCSISanitize, fixedSense(2, 4, 4), running, false, false},
		{"SCSI deferred error", SCSISanitize, append([]byte{0x71}, fixedSense(3, 0x31, 3)[1:]...), none, false, false},
		{"SCSI medium error", SCSISanitize, fixedSense(3, 0x11, 0), none, false, false},
		{"SCSI recovered error", SCSISanitize, fixedSense(1, 0x17, 1), none, false, false},
		{"SCSI zeros", SCSISanitize, make([]byte, 18), none, false, false},
		{"SCSI not ready for another reason", SCSISanitize, fixedSense(2, 4, 1), none, false, false},
		{"format running", SCSIFormat, descriptorSense(2, 4, 4), running, true, false},
		{"format failed", SCSIFormat, fixedSense(3, 0x31, 1), failed, true, false},
		{"format cut off", SCSIFormat, fixedSense(3, 0x31, 0), atRest, true, false},
		{"format: a sanitize runs", SCSIFormat, fixedSense(2, 4, 0x1b), running, false, false},
	} {
		a, err := commandSets[c.kind].parse(c.page, Operation{Kind: c.kind})
		if (err != nil) != (c.phase == none) || a.phase != c.phase || a.mine != c.mine || a.explicit != c.explicit {
			t.Errorf("%s: %+v, %v", c.name, a, err)
		}
	}
}

// storyOf is the journal of an operation of some kind that went well: before, running, after are the
// drive's pages.
func storyOf(t testing.TB, d devices.Drive, r Request, before, running, after []byte) []entry {
	t.Helper()
	dp, err := chooseFor(d, r)
	if err != nil {
		t.Fatal(err)
	}
	o := dp.Operations[0]
	list := []entry{
		{kindOpened, openedRecord{Job: "j", PlanDigest: "p", Drive: dp}},
		{kindIntent, intentRecord{0, strings.Repeat("1", 64)}},
		{kindAttempt, attemptRecord{1, "v"}},
		{kindMarkersBegun, markersBegunRecord{markerSeed, overwrite.SamplePRNG}},
		{kindMarkersSet, markersSetRecord{}},
		{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenBefore, Page: before}},
	}
	if o.Kind == ATASecurityErase {
		list = append(list, entry{kindArmed, armedRecord{1, strings.Repeat("2", 64)}},
			entry{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenBefore, Page: running}})
	}
	list = append(list, entry{kindBegun, begunRecord{1, "x", o.Code}}, entry{kindSent, sentRecord{Operation: 1}})
	if o.Kind != ATASecurityErase {
		list = append(list, entry{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenAfter, Page: running}})
	}
	return append(list,
		entry{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenAfter, Page: after}},
		entry{kindEnded, endedRecord{1, "x"}},
		entry{kindMarkersRead, markersReadRecord{After: 1, Begin: true}},
		entry{kindMarkersRead, markersReadRecord{After: 1, Read: all}},
		entry{kindMarkersRead, markersReadRecord{After: 1, End: true}},
		entry{kindVerifyBegun, verifyBegunRecord{Mode: VerifyFull}},
		entry{kindVerified, verifiedRecord{Done: all, Zeros: 2048}},
		entry{kindVerifyDone, verifyDoneRecord{Complete: true}},
		entry{kindFinished, finishedRecord{Status: statusCompleted}},
	)
}

func ataDrive() devices.Drive {
	d := drive()
	d.Protocol, d.Identity, d.Media = devices.ProtocolATA, devices.IdentityDrive, devices.MediaMagnetic
	d.Sanitize = &devices.SanitizeSupport{Crypto: true, Block: true, Overwrite: true, State: devices.SanitizeIdle, AfterBlock: devices.ReadsZeros, AfterCrypto: devices.ReadsAnything}
	d.Security = &devices.SecurityState{Supported: true, Enhanced: true}
	return d
}

func scsiDrive() devices.Drive {
	d := ataDrive()
	d.Protocol, d.Security, d.Format = devices.ProtocolSCSI, nil, true
	return d
}

type kindStory struct {
	name                   string
	drive                  devices.Drive
	request                Request
	before, running, after []byte
}

var kindStories = []kindStory{
	{"ATA SANITIZE DEVICE", ataDrive(), Request{Method: Purge, Technique: "block", Verify: VerifyFull}, ataIdle, ataRunning, ataCompleted},
	{"ATA SANITIZE DEVICE after another", ataDrive(), Request{Method: Purge, Technique: "drive-overwrite", Verify: VerifyFull}, ataCompleted, ataRunning, ataCompleted},
	{"SECURITY ERASE UNIT", ataDrive(), Request{Method: Purge, Technique: "enhanced", Verify: VerifyFull}, identifyPage(1), identifyPage(3), identifyPage(1)},
	{"SCSI SANITIZE", scsiDrive(), Request{Method: Purge, Technique: "block", Verify: VerifyFull}, fixedSense(0, 0, 0), fixedSense(2, 4, 0x1b), fixedSense(0, 0, 0)},
	{"FORMAT UNIT", scsiDrive(), Request{Method: Clear, Technique: "format", Verify: VerifyFull}, descriptorSense(0, 0, 0), descriptorSense(2, 4, 4), descriptorSense(0, 0, 0)},
}

// Take any one record away, and the journal no longer says sanitized, whatever the command set.
func TestEveryRecordOfEveryKindIsNeeded(t *testing.T) {
	for _, k := range kindStories {
		good := storyOf(t, k.drive, k.request, k.before, k.running, k.after)
		if e := fold(t, good); e.Outcome != Sanitized || len(e.Operations) != 1 || !bytes.Equal(e.Operations[0].StatusPage, k.after) {
			t.Fatalf("%s: %s %s", k.name, e.Outcome, e.Reason)
		}
		for i := range good {
			e := fold(t, slices.Delete(slices.Clone(good), i, i+1))
			// That it was seen running is one of several ties where the account was otherwise before.
			spare := good[i].kind == kindSent || k.name == "ATA SANITIZE DEVICE" && good[i].kind == kindDriveStatus && i == 8
			if e.Outcome == Sanitized && !spare {
				t.Errorf("%s: without record %d (%s) the drive is called sanitized", k.name, i+1, good[i].kind)
			}
		}
		for i := 1; i < len(good); i++ {
			if e := fold(t, good[:i]); e.Outcome != Interrupted {
				t.Errorf("%s: cut after %d records: %s", k.name, i, e.Outcome)
			}
		}
	}
}

// A drive that keeps no account may have lost a sanitize with its power: that it was seen running
// before a reset, or in an earlier attempt, counts no more. Only the markers tell then.
func TestResetsTakeBackWhatWasSeen(t *testing.T) {
	k := kindStories[3]
	attempt := entry{kindAttempt, attemptRecord{2, "v"}}
	reset := entry{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenAfter, Page: k.after, Reset: true}}
	seen := entry{kindDriveStatus, driveStatusRecord{Operation: 1, When: whenAfter, Page: k.running}}
	markers := []entry{{kindMarkersRead, markersReadRecord{After: 1, Begin: true}}, {kindMarkersRead, markersReadRecord{After: 1, Read: all}}, {kindMarkersRead, markersReadRecord{After: 1, End: true}}}
	for _, c := range []struct {
		name    string
		between []entry // after it was seen running, before the status of its end
		late    []entry // after that
		want    string
	}{
		{"nothing", nil, nil, "sanitized"},
		{"another attempt", []entry{attempt}, nil, "error"},
		{"a reset", []entry{reset}, nil, "error"},
		{"another attempt, and seen again", []entry{attempt, seen}, nil, "sanitized"},
		{"a reset, and markers gone", []entry{reset}, markers, "sanitized"},
		{"a reset, and a marker left", []entry{reset}, []entry{markers[0], {kindMarkersRead, markersReadRecord{After: 1, Read: all, Unchanged: all[:1]}}, markers[2]}, "error"},
	} {
		entries := storyOf(t, k.drive, k.request, k.before, k.running, k.after)
		entries = slices.Insert(entries, 10, c.late...)
		entries = slices.Insert(entries, 9, c.between...)
		if e := fold(t, entries); !strings.HasPrefix(string(e.Outcome), c.want) {
			t.Errorf("%s: %s %s", c.name, e.Outcome, e.Reason)
		}
	}
	// An ATA drive keeps its account: what was seen of it stays seen.
	k = kindStories[1]
	entries := slices.Insert(storyOf(t, k.drive, k.request, k.before, k.running, k.after), 9, attempt)
	if e := fold(t, entries); e.Outcome != Sanitized {
		t.Errorf("ATA: %s %s", e.Outcome, e.Reason)
	}
}

// A password that the job takes off by itself is no erase.
func TestReleasedIsNotErased(t *testing.T) {
	k := kindStories[2]
	entries := storyOf(t, k.drive, k.request, k.before, k.running, k.after)
	at := slices.IndexFunc(entries, func(e entry) bool { return e.kind == kindSent }) + 1
	entries = slices.Insert(entries, at, entry{kindReleased, releasedRecord{1}})
	if e := fold(t, entries); e.Outcome == Sanitized {
		t.Error("a drive whose password was taken off is called sanitized")
	}
}

// Nothing is written or erased before hidden areas are accessible, and the drive must have become as
// large as was planned.
func TestHiddenAreasComeFirst(t *testing.T) {
	d := ataDrive()
	d.Hidden = []devices.HiddenArea{{Kind: devices.HostProtectedArea, FromBytes: 1 << 20, NativeBytes: 2 << 20}}
	k := kindStories[0]
	twice := []overwrite.Extent{{Offset: 0, Length: 2 << 20}}
	for _, c := range []struct {
		name     string
		reshaped []entry
		want     string
	}{
		{"restored", []entry{{kindRestoreBegun, restoreRecord{"host protected area", 2 << 20}}, {kindReshaped, reshapedRecord{"host protected area", 2 << 20, 512, 4096}}}, "sanitized"},
		{"not restored", nil, "error"},
		{"begun and not seen", []entry{{kindRestoreBegun, restoreRecord{"host protected area", 2 << 20}}}, "error"},
		{"too small", []entry{{kindReshaped, reshapedRecord{"host protected area", 1<<20 + 512, 512, 4096}}}, "error"},
		{"another area", []entry{{kindReshaped, reshapedRecord{"device configuration overlay", 2 << 20, 512, 4096}}}, "error"},
		{"other blocks", []entry{{kindReshaped, reshapedRecord{"host protected area", 2 << 20, 4096, 4096}}}, "error"},
	} {
		entries := storyOf(t, d, k.request, k.before, k.running, k.after)
		for i := range entries {
			switch v := entries[i].data.(type) {
			case markersReadRecord:
				if v.Read != nil {
					v.Read = twice
				}
				entries[i].data = v
			case verifiedRecord:
				v.Done = twice
				entries[i].data = v
			}
		}
		e := fold(t, slices.Insert(entries, 3, c.reshaped...))
		if !strings.HasPrefix(string(e.Outcome), c.want) {
			t.Errorf("%s: %s %s", c.name, e.Outcome, e.Reason)
		}
		if c.want == "sanitized" && (e.Drive.SizeBytes != 2<<20 || len(e.Reshaped) != 1 || e.Reshaped[0].From != 1<<20) {
			t.Errorf("%s: %d bytes, %+v", c.name, e.Drive.SizeBytes, e.Reshaped)
		}
	}
}
