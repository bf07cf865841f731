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
	must := func(c *Command, err error) *Command {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, x := range []struct {
		name, clause, cdb string
		c                 *Command
		in                int
		out               string
	}{
		{"INQUIRY", "SPC-5 6.6", "12000000fc00", Inquiry{}.Command(), 252, ""},
		{"INQUIRY, unit serial number", "SPC-5 6.6", "12018000fc00", Inquiry{EVPD: true, PageCode: PageUnitSerial}.Command(), 252, ""},
		{"INQUIRY, ATA information", "SAT-4 12.4.2", "120189023c00", Inquiry{EVPD: true, PageCode: PageATAInformation, Allocation: 572}.Command(), 572, ""},
		{"READ CAPACITY(16)", "SBC-4 5.20", "9e100000000000000000000000200000", ReadCapacity16{}.Command(), 32, ""},
		{"TEST UNIT READY", "SPC-5", "000000000000", TestUnitReady(), 0, ""},
		{"REQUEST SENSE", "SPC-5", "03000000fc00", RequestSense(false), 252, ""},
		{"REQUEST SENSE, descriptor format", "SPC-5", "03010000fc00", RequestSense(true), 252, ""},
		{"SANITIZE, overwrite", "SBC-5 5.30", "48810000000000000800", must(Sanitize{Action: SanitizeOverwrite, Count: 1, Pattern: unhex(t, "00000000"), BlockLength: 512}.Command()), 0, "0100000400000000"},
		{"SANITIZE, overwrite, inverted, unrestricted", "SBC-5 5.30", "48a10000000000000500", must(Sanitize{Action: SanitizeOverwrite, AUSE: true, Count: 31, Invert: true, Pattern: unhex(t, "a5"), BlockLength: 4096}.Command()), 0, "9f000001a5"},
		{"SANITIZE, block erase", "SBC-5 5.30", "48820000000000000000", must(Sanitize{Action: SanitizeBlockErase}.Command()), 0, ""},
		{"SANITIZE, crypto erase, unrestricted", "SBC-5 5.30", "48a30000000000000000", must(Sanitize{Action: SanitizeCryptoErase, AUSE: true}.Command()), 0, ""},
		{"SANITIZE, exit failure mode", "SBC-5 5.30", "489f0000000000000000", must(Sanitize{Action: SanitizeExitFailure}.Command()), 0, ""},
		{"FORMAT UNIT", "SBC-5 5.4", "041000000000", must(FormatUnit{}.Command()), 0, "00020000"},
		{"FORMAT UNIT, type 1, pattern", "SBC-5 5.4", "049000000000", must(FormatUnit{ProtectionInformation: 2, Pattern: unhex(t, "5aa5")}.Command()), 0, "008a0000000100025aa5"},
		{"MODE SENSE(10)", "SPC-5", "5a100a00000000" + "00fc00", ModeSense10(0x0a), 252, ""},
		{"MODE SELECT(10), block length", "SPC-5", "55100000000000001000", ModeSelectBlockLength(512), 0, "00000000000000080000000000000200"},
		{"READ(16)", "SBC-5", "88000102030405060708000000100000", Read16(0x0102030405060708, 16, make([]byte, 8192)), 8192, ""},
		{"WRITE(16)", "SBC-5", "8a000102030405060708000000010000", Write16(0x0102030405060708, 1, unhex(t, "abcd")), 0, "abcd"},
		{"SYNCHRONIZE CACHE(16)", "SBC-5", "91000000000000000000000000000000", SynchronizeCache16(), 0, ""},
		{"REPORT SUPPORTED OPERATION CODES", "SPC-5", "a30c03480003000000fc0000", ReportOpcode{Opcode: 0x48, ServiceAction: 3, HasServiceAction: true}.Command(), 252, ""},
		{"REPORT SUPPORTED OPERATION CODES, no service action", "SPC-5", "a30c01040000000000fc0000", ReportOpcode{Opcode: 0x04}.Command(), 252, ""},
		{"READ DEFECT DATA(12), grown", "SBC-5 5.23", "b70800000000000000080000", ReadDefectData12(false, true), 8, ""},
		{"READ DEFECT DATA(12), both", "SBC-5 5.23", "b71800000000000000080000", ReadDefectData12(true, true), 8, ""},
		{"PERSISTENT RESERVE IN, read keys", "SPC-5", "5e000000000000100000", ReadKeys(), 4096, ""},
		{"REPORT LUNS", "SPC-5", "a00000000000000008080000", ReportLUNs(), 2056, ""},
		{"GET PHYSICAL ELEMENT STATUS", "SBC-5 5.8", "9e170000000000000000" + "00000fe00100", GetPhysicalElementStatus(), 4064, ""},
		{"LOG SENSE, temperature", "SPC-5", "4d004d00000000040000", LogSense(LogTemperature), 1024, ""},
	} {
		want, data := NoData, x.in
		switch {
		case x.in > 0:
			want = DataIn
		case x.out != "":
			want, data = DataOut, len(x.out)/2
		}
		if !bytes.Equal(x.c.CDB, unhex(t, x.cdb)) || x.c.Direction != want || len(x.c.Data) != data || x.c.Timeout <= 0 || want == DataOut && !bytes.Equal(x.c.Data, unhex(t, x.out)) {
			t.Errorf("%s (%s): %x, %v %d bytes, %x", x.name, x.clause, x.c.CDB, x.c.Direction, len(x.c.Data), x.c.Data[:min(16, len(x.c.Data))])
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
	// A T10 name, a target port's NAA, the unit's, then the target's.
	p := unhex(t, "00830034"+"02010008"+"4154412020202020"+"61930008"+"5000000000000001"+"01030008"+"5000c500a1b2c3d4"+"61a30008"+"5000c500a1b2c3d0"+"0000")
	p[3] = byte(len(p) - 4)
	if s, err := ParseNAA(p); err != nil || s != "5000c500a1b2c3d4" {
		t.Errorf("%q %v", s, err)
	}
	if s, err := ParseNAA(unhex(t, "0083000401030009")); err == nil {
		t.Errorf("a designator behind the end: %q", s)
	}
	if s, err := ParseNAA(unhex(t, "0083000c611300085000c500a1b2c3d4")); err != nil || s != "" {
		t.Errorf("a port's name for a unit's: %q %v", s, err)
	}
	if c, err := ParseCharacteristics(unhex(t, "00b1000a1c2000b30a0000000000")); err != nil || c != (Characteristics{RotationRate: 7200, WABEREQ: 2, WACEREQ: 3, FormFactor: 3}) {
		t.Errorf("%+v %v", c, err)
	}
	if c, err := ParseCharacteristics(unhex(t, "00b1000500010043"+"14")); err != nil || c != (Characteristics{RotationRate: 1, WABEREQ: 1, FormFactor: 3, Zoned: 1}) {
		t.Errorf("%+v %v", c, err)
	}
	if kind, err := ParseProvisioning(unhex(t, "00b2000400e40200")); err != nil || kind != 2 {
		t.Errorf("provisioning %d %v", kind, err)
	}
	for _, b := range []string{"00b10003000100", "00b20002" + "00e4", "00b1000400e40200", "00000000"} {
		_, characteristics := ParseCharacteristics(unhex(t, b))
		_, provisioning := ParseProvisioning(unhex(t, b))
		if b[:4] != "00b1" && characteristics == nil || provisioning == nil || len(b) < 16 && characteristics == nil {
			t.Errorf("%s: %v, %v", b, characteristics, provisioning)
		}
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
	for _, x := range []struct {
		name    string
		r       Result
		refused bool
	}{
		{"illegal request", Result{Status: 2, DriverStatus: 8, Sense: unhex(t, "7205200000000000")}, true},
		{"write protected", Result{Status: 2, Sense: unhex(t, "7207270000000000")}, true},
		{"not ready", Result{Status: 2, Sense: unhex(t, "7202041b00000000")}, false},
		{"of an earlier command", Result{Status: 2, Sense: unhex(t, "7305200000000000")}, false},
		{"timed out meanwhile", Result{Status: 2, HostStatus: 3, Sense: unhex(t, "7205200000000000")}, false},
		{"no sense", Result{Status: 2}, false},
		{"busy", Result{Status: 8, Sense: unhex(t, "7205200000000000")}, false},
	} {
		var e *CommandError
		if err := x.r.Err(); !errors.As(err, &e) || e.Refused() != x.refused {
			t.Errorf("%s: %v, refused %v", x.name, err, !x.refused)
		}
	}
	c := Inquiry{}.Command()
	if n := len((Result{Transferred: 999}).In(c)); n != 252 {
		t.Errorf("%d bytes of 252", n)
	}
}

func FuzzSense(f *testing.F) {
	f.Add(unhex(f, "7201001d0000000e090c000000800000ff00ff00004050"))
	f.Add(unhex(f, "700002000000000a00000000041b00804000"))
	f.Add(unhex(f, "7200041b000000080a0602041b002000"))
	f.Add(make([]byte, 252))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSense(b)
		if err == nil && (s.ATA != nil && len(s.ATA) != 14 || !s.Is(s.Key, s.ASC, s.ASCQ)) {
			t.Errorf("%+v", s)
		}
		r, rerr := ParseRequestSense(b)
		if rerr == nil && (err != nil || len(r.Raw) > len(b)) {
			t.Errorf("%+v, as sense data %v", r, err)
		}
		if e := (Result{Status: 2, Sense: b}).Err(); e == nil || e.Error() == "" {
			t.Error("check condition is success")
		}
	})
}

func FuzzPages(f *testing.F) {
	f.Add(unhex(f, "0083000c010300085000c500a1b2c3d4"))
	f.Add(unhex(f, "00b1000a1c2000b30a0000000000"))
	f.Add(make([]byte, 600))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCapacity(b); err == nil && c.SizeBytes() <= 0 {
			t.Errorf("%d bytes", c.SizeBytes())
		}
		if s, err := ParseUnitSerial(b); err == nil && s == "" {
			t.Error("an empty serial number")
		}
		if s, err := ParseNAA(b); err == nil && len(s) != 0 && len(s) != 16 && len(s) != 32 {
			t.Errorf("NAA %q", s)
		}
		if c, err := ParseCharacteristics(b); err == nil && (c.WABEREQ > 3 || c.WACEREQ > 3 || c.Zoned > 3 || c.FormFactor > 15) {
			t.Errorf("%+v", c)
		}
		if kind, err := ParseProvisioning(b); err == nil && kind > 7 {
			t.Errorf("provisioning %d", kind)
		}
		_, _ = ParseInquiry(b)
		_, _ = ParsePages(b)
		if p, err := ParseATAInformation(b); err == nil && len(p) != 512 {
			t.Errorf("%d bytes of IDENTIFY", len(p))
		}
	})
}

// Mode pages and log pages.
func FuzzParameters(f *testing.F) {
	f.Add(unhex(f, "001a000000000008"+"0000000000000208"+"0a0a0400000000000000"+"0000"))
	f.Add(unhex(f, "0d00000c"+"000003020026"+"00010302003c"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ParseBlockDescriptor(b); err == nil && d.Length == 0 {
			t.Errorf("%+v", d)
		}
		if c, known, err := ParseTemperature(b); known && (err != nil || c < 0 || c > 254) {
			t.Errorf("%d °C, %v", c, err)
		}
		if n, known, err := ParsePowerOnMinutes(b); known != (n != 0) || known && err != nil {
			t.Errorf("%d minutes, %v %v", n, known, err)
		}
	})
}

// What is counted or listed.
func FuzzLists(f *testing.F) {
	f.Add(unhex(f, "000b000a"+"48ff00000000000000ff"))
	f.Add(unhex(f, "0000000800000000"+"0000000000000000"))
	f.Add(unhex(f, "0008000000000010"))
	f.Add(elements(0x10, 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseOpcodeSupport(b); err != nil && s != SupportUnknown {
			t.Errorf("%v beside %v", s, err)
		}
		if l, err := ParseLUNs(b); err == nil && (len(l) == 0 || len(l)*8+8 > len(b)) {
			t.Errorf("%d units", len(l))
		}
		if n, known := Defects(b); !known && n != 0 {
			t.Errorf("%d defects", n)
		}
		if keys, err := ParseReservationKeys(b); err == nil && len(keys)*8+8 > len(b) {
			t.Errorf("%d keys", len(keys))
		}
		if e, err := ParseElements(b); err == nil && (e.Total == 0 || e.OutsideSpec+e.Depopulated > e.Total) {
			t.Errorf("%+v", e)
		}
	})
}
