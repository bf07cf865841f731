package attest

import (
	"strings"
	"testing"
)

// What a drive is said to have done by itself must be a command by which drives of its protocol do
// that, and the drive's own page must say that it succeeded. A page of one command is none of another.
func TestOperationsAreJudgedByTheirOwnPages(t *testing.T) {
	identify := func(security byte) []byte {
		b := make([]byte, 512)
		b[256] = security
		return b
	}
	log := func(status, cdw10 byte) []byte {
		b := make([]byte, 512)
		b[2], b[3], b[4] = status, 1, cdw10
		return b
	}
	ata := func(extend, status, count, key byte) []byte {
		return []byte{0x72, key, 0, 0x1d, 0, 0, 0, 14, 9, 12, extend, 0, count, 0, 0, 0, 0, 0, 0, 0, 0x40, status}
	}
	namespace := func(blocks, progress byte) []byte {
		b := make([]byte, 4096)
		b[0], b[32] = blocks, progress
		return b
	}
	fixed := func(key, asc byte) []byte {
		b := make([]byte, 18)
		b[0], b[2], b[12] = 0x70, key, asc
		return b
	}
	for _, c := range []struct {
		name, protocol, technique, kind, code string
		before, page                          []byte
		command, success                      bool
	}{
		{"NVMe", "nvme", "block erase", "NVMe Sanitize", "0x00000002", log(0, 0), log(1, 2), true, true},
		{"NVMe, another command in the log", "nvme", "block erase", "NVMe Sanitize", "0x00000002", log(0, 0), log(1, 4), true, false},
		{"NVMe, crypto called block", "nvme", "block erase", "NVMe Sanitize", "0x00000004", log(0, 0), log(1, 4), false, true},
		{"NVMe on an ATA drive", "ata", "block erase", "NVMe Sanitize", "0x00000002", log(0, 0), log(1, 2), false, true},
		{"NVMe format", "nvme", "format", "NVMe Format", "0x00000200", namespace(8, 0x80), namespace(8, 0x80), true, true},
		{"NVMe format, in progress", "nvme", "format", "NVMe Format", "0x00000200", namespace(8, 0x80), namespace(8, 0x80|40), true, false},
		{"NVMe format, no namespace", "nvme", "format", "NVMe Format", "0x00000200", namespace(8, 0x80), namespace(0, 0x80), true, false},
		{"NVMe format, cryptographic", "nvme", "cryptographic format", "NVMe Format", "0x00000411", namespace(8, 0x80), namespace(8, 0x80), true, true},
		{"NVMe format, a user data erase called cryptographic", "nvme", "cryptographic format", "NVMe Format", "0x00000200", namespace(8, 0x80), namespace(8, 0x80), false, true},
		{"NVMe format, a cryptographic one called a user data erase", "nvme", "format", "NVMe Format", "0x00000400", namespace(8, 0x80), namespace(8, 0x80), false, true},
		{"NVMe format, a cryptographic one called a sanitize", "nvme", "cryptographic erase", "NVMe Format", "0x00000400", namespace(8, 0x80), namespace(8, 0x80), false, true},
		{"NVMe format, both at once", "nvme", "cryptographic format", "NVMe Format", "0x00000600", namespace(8, 0x80), namespace(8, 0x80), false, true},
		{"NVMe format of a SCSI drive", "scsi", "cryptographic format", "SCSI FORMAT UNIT", "0x00000400", fixed(0, 0), fixed(0, 0), false, true},
		{"NVMe format that erases nothing", "nvme", "format", "NVMe Format", "0x00000000", namespace(8, 0x80), namespace(8, 0x80), false, true},
		{"NVMe format with a bit that is no part of it", "nvme", "format", "NVMe Format", "0x80000200", namespace(8, 0x80), namespace(8, 0x80), false, true},
		{"ATA", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", ata(1, 0x50, 0, 1), ata(1, 0x50, 0x80, 1), true, true},
		{"ATA, no code", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00000000", nil, ata(1, 0x50, 0x80, 1), false, true},
		{"ATA, idle", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", nil, ata(1, 0x50, 0, 1), true, false},
		{"ATA, in progress", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", nil, ata(1, 0x50, 0xc0, 1), true, false},
		{"ATA, error", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", nil, ata(1, 0x51, 0x80, 1), true, false},
		{"ATA, half of the registers", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", nil, ata(0, 0x50, 0x80, 1), true, false},
		{"ATA, sense of a failure", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", nil, ata(1, 0x50, 0x80, 4), true, false},
		{"ATA, zeros", "ata", "block erase", "ATA SANITIZE DEVICE", "0x00120000", nil, make([]byte, 22), true, false},
		{"ATA by the page of a SCSI drive", "ata", "block erase", "SCSI SANITIZE", "0x00000082", fixed(0, 0), fixed(0, 0), false, true},
		{"security erase", "ata", "enhanced security erase", "ATA SECURITY ERASE UNIT", "0x00000001", identify(3), identify(1), true, true},
		{"security erase, normal called enhanced", "ata", "enhanced security erase", "ATA SECURITY ERASE UNIT", "0x00000000", identify(3), identify(1), false, true},
		{"security that was never on", "ata", "security erase", "ATA SECURITY ERASE UNIT", "0x00000000", identify(1), identify(1), true, false},
		{"security that is still on", "ata", "security erase", "ATA SECURITY ERASE UNIT", "0x00000000", identify(3), identify(3), true, false},
		{"block erase by a password", "ata", "block erase", "ATA SECURITY ERASE UNIT", "0x00000000", identify(3), identify(1), false, true},
		{"SCSI", "scsi", "cryptographic erase", "SCSI SANITIZE", "0x00000083", fixed(0, 0), fixed(0, 0), true, true},
		{"SCSI, in progress", "scsi", "cryptographic erase", "SCSI SANITIZE", "0x00000083", fixed(0, 0), fixed(2, 4), true, false},
		{"SCSI, failed", "scsi", "cryptographic erase", "SCSI SANITIZE", "0x00000083", fixed(0, 0), fixed(3, 0x31), true, false},
		{"format", "scsi", "format", "SCSI FORMAT UNIT", "0x00000200", fixed(0, 0), fixed(0, 0), true, true},
		{"a sanitize called format", "scsi", "format", "SCSI SANITIZE", "0x00000082", fixed(0, 0), fixed(0, 0), false, true},
		{"unknown", "scsi", "block erase", "SCSI UNMAP", "0x00000000", fixed(0, 0), fixed(0, 0), false, false},
	} {
		o := Operation{Technique: c.technique, Kind: c.kind, Code: c.code, StatusPage: PackPage(c.page), StatusPageBefore: PackPage(c.before)}
		if o.isCommand(c.protocol) != c.command || o.succeeded() != c.success {
			t.Errorf("%s: a command of it %v, success %v", c.name, o.isCommand(c.protocol), o.succeeded())
		}
	}
	// Nothing was marked only where the drive itself said before that it could not be written to.
	for name, c := range map[string]struct {
		kind string
		page []byte
		want bool
	}{
		"NVMe failed": {"NVMe Sanitize", log(3, 2), true}, "NVMe idle": {"NVMe Sanitize", log(1, 2), false}, "ATA failed": {"ATA SANITIZE DEVICE", ata(1, 0x51, 0, 0x0b), true},
		"ATA idle": {"ATA SANITIZE DEVICE", ata(1, 0x50, 0, 1), false}, "SCSI failed": {"SCSI SANITIZE", fixed(3, 0x31), true}, "SCSI at rest": {"SCSI SANITIZE", fixed(0, 0), false},
		"password": {"ATA SECURITY ERASE UNIT", identify(3), false}, "no page": {"NVMe Sanitize", nil, false},
	} {
		s := Sanitization{Operations: []Operation{{Kind: c.kind, StatusPageBefore: PackPage(c.page)}}}
		if s.barredBefore() != c.want {
			t.Errorf("%s: barred %v", name, s.barredBefore())
		}
	}
}

// A change of a drive's size is what the technique can bring about, and leads to the size that is stated.
func TestReshaped(t *testing.T) {
	grown := Reshape{"host protected area", 1 << 20, 2 << 20, 512, 512}
	formatted := Reshape{"format", 520 * 1000, 512 * 1000, 520, 512}
	for name, c := range map[string]struct {
		technique string
		size      int64
		list      []Reshape
		ok        bool
	}{
		"none": {"host overwrite", 2 << 20, nil, true}, "grown": {"host overwrite", 2 << 20, []Reshape{grown}, true}, "another size": {"host overwrite", 3 << 20, []Reshape{grown}, false},
		"shrunk":    {"host overwrite", 1 << 20, []Reshape{{"host protected area", 2 << 20, 1 << 20, 512, 512}}, false},
		"formatted": {"format", 512 * 1000, []Reshape{formatted}, true}, "formatted by an overwrite": {"host overwrite", 512 * 1000, []Reshape{formatted}, false},
		"unknown": {"host overwrite", 2 << 20, []Reshape{{"magic", 1 << 20, 2 << 20, 512, 512}}, false}, "twice": {"host overwrite", 4 << 20, []Reshape{grown, {"device configuration overlay", 2 << 20, 4 << 20, 512, 512}}, true},
		"not one after another": {"host overwrite", 4 << 20, []Reshape{grown, {"device configuration overlay", 3 << 20, 4 << 20, 512, 512}}, false},
	} {
		r := Result{Device: Device{SizeBytes: c.size, LogicalBlockBytes: 512}, Sanitization: Sanitization{Technique: c.technique, Reshaped: c.list}}
		if err := r.checkReshaped(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A format's technique and SES of its command agree, whoever says what; what it may reach depends on
// whose it is.
func TestFormatsAreWhatTheyAreCalled(t *testing.T) {
	page := make([]byte, 4096)
	page[0], page[32] = 8, 0x80
	at, err := testIssuer(t, testKey(1, RoleHost)).Intent(testIntent("S", "j"))
	if err != nil {
		t.Fatal(err)
	}
	const another, ofNVMe, atMost = "not those of the technique", "one of NVMe drives", "clear at most"
	for _, c := range []struct {
		name, protocol, method, technique, kind, code string
		wrong                                         string
	}{
		{"cryptographic", "nvme", "clear", "cryptographic format", "NVMe Format", "0x00000400", ""},
		{"cryptographic, purge", "nvme", "purge", "cryptographic format", "NVMe Format", "0x00000400", ""},
		{"user data erase", "nvme", "clear", "format", "NVMe Format", "0x00000200", ""},
		{"user data erase, purge", "nvme", "purge", "format", "NVMe Format", "0x00000200", ""},
		{"cryptographic, by SES 1", "nvme", "clear", "cryptographic format", "NVMe Format", "0x00000200", another},
		{"user data erase, by SES 2", "nvme", "clear", "format", "NVMe Format", "0x00000400", another},
		{"cryptographic, by no erase", "nvme", "clear", "cryptographic format", "NVMe Format", "0x00000000", another},
		{"cryptographic, of a SCSI drive", "scsi", "clear", "cryptographic format", "SCSI FORMAT UNIT", "0x00000000", ofNVMe},
		{"FORMAT UNIT, purge", "scsi", "purge", "format", "SCSI FORMAT UNIT", "0x00000000", atMost},
	} {
		r := testResult("S", "j", at)
		r.Device.Protocol, r.Sanitization.Method, r.Outcome.Method = c.protocol, c.method, c.method
		s := &r.Sanitization
		r.Time, r.Signers = Time{Claimed: s.Started, Source: "host clock"}, []string{}
		s.Technique, s.Passes, s.BytesWritten, s.RestsOn = c.technique, []Pass{}, 0, []string{"the drive's report"}
		encoded := PackPage(page)
		s.Operations = []Operation{{Technique: c.technique, Kind: c.kind, Command: "c", Code: c.code, Commands: 1, Started: s.Started, Finished: s.Finished,
			Complete: true, Because: "it was", StatusPage: encoded, StatusPageBefore: encoded}}
		r.Verification.Markers = &Markers{Set: 4, Changed: 4, Seed: hash("0"), PRNG: "p"}
		if err := r.check(); (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v, want %q", c.name, err, c.wrong)
		}
	}
}
