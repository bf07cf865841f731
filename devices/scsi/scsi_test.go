package scsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncode(t *testing.T) {
	for _, x := range []struct {
		name, clause, cdb string
		c                 *Command
		data              int
	}{
		{"INQUIRY", "SPC-5 6.6", "12000000fc00", Inquiry{}.Command(), 252},
		{"INQUIRY, unit serial number", "SPC-5 6.6", "12018000fc00", Inquiry{EVPD: true, PageCode: PageUnitSerial}.Command(), 252},
		{"INQUIRY, ATA information", "SAT-4 12.4.2", "120189023c00", Inquiry{EVPD: true, PageCode: PageATAInformation, Allocation: 572}.Command(), 572},
		{"READ CAPACITY(16)", "SBC-4 5.20", "9e100000000000000000000000200000", ReadCapacity16{}.Command(), 32},
	} {
		if !bytes.Equal(x.c.CDB, unhex(t, x.cdb)) || x.c.Direction != DataIn || len(x.c.Data) != x.data || x.c.Timeout <= 0 {
			t.Errorf("%s (%s): %x, %d bytes", x.name, x.clause, x.c.CDB, len(x.c.Data))
		}
	}
}

func TestParseInquiry(t *testing.T) {
	b := append([]byte{0, 0x80, 6, 2, 31, 0, 0, 0}, []byte("ATA     WDC WD40EFRX-68N0A82")...)
	d, err := ParseInquiry(b)
	if err != nil || d.Vendor != "ATA" || d.Product != "WDC WD40EFRX-68N" || d.Revision != "0A82" || !d.Removable {
		t.Errorf("%+v %v", d, err)
	}
	for name, b := range map[string][]byte{"short": b[:35], "zeros": make([]byte, 36)} {
		if d, err := ParseInquiry(b); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestParsePages(t *testing.T) {
	if s, err := ParseUnitSerial(append([]byte{0, 0x80, 0, 8}, "  AB12  more"...)); err != nil || s != "AB12" {
		t.Errorf("%q %v", s, err)
	}
	for name, b := range map[string][]byte{
		"other page": {0, 0x83, 0, 1, 'A'}, "longer than it is": {0, 0x80, 0, 9, 'A'}, "blank": {0, 0x80, 0, 2, ' ', ' '}, "short": {0, 0x80},
	} {
		if s, err := ParseUnitSerial(b); err == nil {
			t.Errorf("%s: %q", name, s)
		}
	}
	// A T10 name, a target port's NAA, then the unit's.
	p := unhex(t, "00830028"+"02010008"+"4154412020202020"+"61930008"+"5000000000000001"+"01030008"+"5000c500a1b2c3d4"+"0000")
	p[3] = byte(len(p) - 4)
	if s, err := ParseNAA(p); err != nil || s != "5000c500a1b2c3d4" {
		t.Errorf("%q %v", s, err)
	}
	if s, err := ParseNAA(unhex(t, "0083000401030009")); err == nil {
		t.Errorf("a designator behind the end: %q", s)
	}
	if r, err := ParseRotation(unhex(t, "00b1000400010000")); err != nil || r != 1 {
		t.Errorf("%d %v", r, err)
	}
	ata := append([]byte{0, 0x89, 2, 56}, make([]byte, 568)...)
	ata[60] = 0x40
	if b, err := ParseATAInformation(ata); err != nil || len(b) != 512 || b[0] != 0x40 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestParseCapacity(t *testing.T) {
	b := make([]byte, 32)
	copy(b, unhex(t, "00000001d1c0beaf00000200"))
	b[13], b[12], b[14] = 3, 3, 0x40
	c, err := ParseCapacity(b)
	if err != nil || c.SizeBytes() != 0x1d1c0beb0*512 || c.PhysicalPerExp != 3 || c.ProtectionType != 2 || !c.ReadsZeroesUnmap {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := ParseCapacity(make([]byte, 32)); err == nil {
		t.Errorf("blocks of nothing: %+v", c)
	}
	if c, err := ParseCapacity(append(bytes.Repeat([]byte{0xff}, 8), make([]byte, 24)...)); err == nil {
		t.Errorf("%+v", c)
	}
}

func TestParseSense(t *testing.T) {
	for _, x := range []struct {
		name, sense string
		key         uint8
		asc, ascq   uint8
		progress    int // -1 none
		ata, err    bool
	}{
		{"fixed, invalid opcode", "70000500000000 0a 00000000 2000 0000 0000", 5, 0x20, 0, -1, false, false},
		{"fixed, sanitize in progress", "70000200000000 0a 00000000 041b 00 80 4000", 2, 0x04, 0x1b, 0x4000, false, false},
		{"fixed, sanitize failed", "70000300000000 0a 00000000 3103 0000 0000", 3, 0x31, 0x03, -1, false, false},
		{"fixed, valid bit", "f0000300001234 0a 00000000 1100 0000 0000", 3, 0x11, 0, -1, false, false},
		{"descriptor, sanitize in progress", "7202041b00000008 0206 0000 80 8000 00", 2, 0x04, 0x1b, 0x8000, false, false},
		{"descriptor, progress descriptor", "7200041b00000008 0a06 02041b00 2000", 0, 0x04, 0x1b, 0x2000, false, false},
		{"descriptor, ATA registers", "7201001d0000000e 090c 00 00 00 80 00 ff 00 ff 00 00 40 50", 1, 0, 0x1d, -1, true, false},
		{"none", "", 0, 0, 0, -1, false, true},
		{"zeros", "000000000000000000000000000000000000", 0, 0, 0, -1, false, true},
		{"short fixed", "70000500", 0, 0, 0, -1, false, true},
		{"descriptor behind the end", "7201001d0000000e 090c 00", 0, 0, 0, -1, false, true},
		{"reserved format", "7f000500000000000000000020000000", 0, 0, 0, -1, false, true},
	} {
		s, err := ParseSense(unhex(t, string(bytes.ReplaceAll([]byte(x.sense), []byte(" "), nil))))
		if (err != nil) != x.err {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if err != nil {
			continue
		}
		progress := -1
		if s.ProgressValid {
			progress = int(s.Progress)
		}
		if s.Key != x.key || s.ASC != x.asc || s.ASCQ != x.ascq || progress != x.progress || (s.ATA != nil) != x.ata {
			t.Errorf("%s: %+v", x.name, s)
		}
	}
}

// Whatever is not plainly good is an error, and the transport's word counts as much as the drive's.
func TestResult(t *testing.T) {
	if err := (Result{}).Err(); err != nil {
		t.Error(err)
	}
	for name, r := range map[string]Result{
		"check condition without sense": {Status: 2}, "busy": {Status: 8}, "timed out": {HostStatus: 3}, "driver error": {DriverStatus: 6},
		"check condition": {Status: 2, DriverStatus: 8, Sense: unhex(t, "7205200000000000")},
	} {
		var e *CommandError
		if err := r.Err(); !errors.As(err, &e) || err.Error() == "" {
			t.Errorf("%s: %v", name, err)
		} else if e.FateUnknown() != (name == "timed out") {
			t.Errorf("%s: fate unknown %v", name, e.FateUnknown())
		}
	}
	c := Inquiry{}.Command()
	if n := len((Result{Transferred: 999}).In(c)); n != 252 {
		t.Errorf("%d bytes of 252", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, "7201001d0000000e090c000000800000ff00ff00004050"))
	f.Add(unhex(f, "70000200000000 0a 00000000 041b 00 80 4000"[:14]))
	f.Add(unhex(f, "0083000c010300085000c500a1b2c3d4"))
	f.Add(make([]byte, 600))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSense(b); err == nil && s.ATA != nil && len(s.ATA) != 14 {
			t.Errorf("%d bytes of registers", len(s.ATA))
		}
		if c, err := ParseCapacity(b); err == nil && c.SizeBytes() <= 0 {
			t.Errorf("%d bytes", c.SizeBytes())
		}
		if s, err := ParseUnitSerial(b); err == nil && s == "" {
			t.Error("an empty serial number")
		}
		_, _ = ParseInquiry(b)
		_, _ = ParseNAA(b)
		_, _ = ParseRotation(b)
		_, _ = ParsePages(b)
		if p, err := ParseATAInformation(b); err == nil && len(p) != 512 {
			t.Errorf("%d bytes of IDENTIFY", len(p))
		}
	})
}
