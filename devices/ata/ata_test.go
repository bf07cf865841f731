package ata

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/scsi"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncode(t *testing.T) {
	must := func(c Command, err error) Command {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	password := [32]byte{1, 2, 3}
	for _, x := range []struct {
		name, clause, cdb string
		c                 Command
		direction         scsi.Direction
	}{
		{"SANITIZE STATUS EXT", "ACS-5 7.36", "85 07 20 00 00 00 00 00 00 00 00 00 00 40 b4 00", must(Sanitize{Feature: SanitizeStatusExt}.Command()), scsi.NoData},
		{"SANITIZE STATUS EXT, clear failed", "ACS-5 7.36", "85 07 20 00 00 00 01 00 00 00 00 00 00 40 b4 00", must(Sanitize{Feature: SanitizeStatusExt, ClearFailed: true}.Command()), scsi.NoData},
		{"CRYPTO SCRAMBLE EXT", "ACS-5 7.36", "85 07 20 00 11 00 00 43 70 00 79 00 72 40 b4 00", must(Sanitize{Feature: CryptoScrambleExt}.Command()), scsi.NoData},
		{"BLOCK ERASE EXT, unrestricted", "ACS-5 7.36", "85 07 20 00 12 00 10 42 72 00 45 00 6b 40 b4 00", must(Sanitize{Feature: BlockEraseExt, FailureMode: true}.Command()), scsi.NoData},
		{"OVERWRITE EXT, two passes", "ACS-5 7.36", "85 07 20 00 14 00 d2 12 78 57 56 4f 34 40 b4 00",
			must(Sanitize{Feature: OverwriteExt, FailureMode: true, Passes: 2, Pattern: 0x12345678, Invert: true, Definitive: true}.Command()), scsi.NoData},
		{"SANITIZE FREEZE LOCK EXT", "ACS-5 7.36", "85 07 20 00 20 00 00 46 6b 00 4c 00 72 40 b4 00", must(Sanitize{Feature: SanitizeFreezeLockExt}.Command()), scsi.NoData},
		{"SANITIZE ANTIFREEZE LOCK EXT", "ACS-5 7.36", "85 07 20 00 40 00 00 41 69 00 74 00 6e 40 b4 00", must(Sanitize{Feature: SanitizeAntifreezeLockExt}.Command()), scsi.NoData},
		{"SECURITY SET PASSWORD", "ACS-4", "85 0a 26 00 00 00 01 00 00 00 00 00 00 00 f1 00", SetPassword(password, false), scsi.DataOut},
		{"SECURITY UNLOCK", "ACS-4", "85 0a 26 00 00 00 01 00 00 00 00 00 00 00 f2 00", Unlock(password, false), scsi.DataOut},
		{"SECURITY ERASE PREPARE", "ACS-4", "85 06 20 00 00 00 00 00 00 00 00 00 00 00 f3 00", ErasePrepare(), scsi.NoData},
		{"SECURITY ERASE UNIT", "ACS-4", "85 0a 26 00 00 00 01 00 00 00 00 00 00 00 f4 00", EraseUnit{Password: password}.Command(Security{}), scsi.DataOut},
		{"SECURITY DISABLE PASSWORD", "ACS-4", "85 0a 26 00 00 00 01 00 00 00 00 00 00 00 f6 00", DisablePassword(password, false), scsi.DataOut},
		{"READ NATIVE MAX ADDRESS", "ACS-2", "85 06 20 00 00 00 00 00 00 00 00 00 00 40 f8 00", ReadNativeMax(false), scsi.NoData},
		{"READ NATIVE MAX ADDRESS EXT", "ACS-2", "85 07 20 00 00 00 00 00 00 00 00 00 00 40 27 00", ReadNativeMax(true), scsi.NoData},
		{"SET MAX ADDRESS", "ACS-2", "85 06 20 00 00 00 00 00 78 00 56 00 34 42 f9 00", SetMax(0x2345678, false, false), scsi.NoData},
		{"SET MAX ADDRESS EXT, permanent", "ACS-2", "85 07 20 00 00 00 01 33 66 22 55 11 44 40 37 00", SetMax(0x112233445566, true, true), scsi.NoData},
		{"GET NATIVE MAX ADDRESS EXT", "ACS-4", "85 07 20 00 00 00 00 00 00 00 00 00 00 40 78 00", AccessibleMax(), scsi.NoData},
		{"SET ACCESSIBLE MAX ADDRESS EXT", "ACS-4", "85 07 20 00 01 00 00 33 66 22 55 11 44 40 78 00", SetAccessibleMax(0x112233445566), scsi.NoData},
		{"DEVICE CONFIGURATION IDENTIFY", "ACS-2", "85 08 0e 00 c2 00 01 00 00 00 00 00 00 00 b1 00", DCOIdentify(), scsi.DataIn},
		{"DEVICE CONFIGURATION RESTORE", "ACS-2", "85 06 20 00 c0 00 00 00 00 00 00 00 00 00 b1 00", DCORestore(), scsi.NoData},
		{"READ VERIFY SECTORS EXT", "ACS-4", "85 07 20 00 00 01 00 33 66 22 55 11 44 40 42 00", ReadVerify(0x112233445566, 256), scsi.NoData},
		{"IDENTIFY DEVICE", "ACS-4 7.13", "85 08 0e 00 00 00 01 00 00 00 00 00 00 00 ec 00", IdentifyDevice(), scsi.DataIn},
		{"SMART READ DATA", "ACS-3 7.48.6", "85 08 0e 00 d0 00 01 00 00 00 4f 00 c2 00 b0 00", SMARTReadData(), scsi.DataIn},
		{"SMART RETURN STATUS", "ACS-3 7.48.8", "85 06 20 00 da 00 00 00 00 00 4f 00 c2 00 b0 00", SMARTReturnStatus(), scsi.NoData},
		{"FLUSH CACHE EXT", "ACS-4 7.11", "85 07 20 00 00 00 00 00 00 00 00 00 00 00 ea 00", FlushCache(), scsi.NoData},
		{"every 48-bit register", "SAT-4 12.2.2", "85 07 20 12 34 56 78 44 11 55 22 66 33 40 b4 00",
			Command{Protocol: NonData, Extend: true, Feature: 0x1234, Count: 0x5678, LBA: 0x665544332211, Device: 0x40, Opcode: 0xb4, CheckCondition: true, Timeout: 1}, scsi.NoData},
		{"data out", "SAT-4 12.2.2", "85 0a 06 00 00 00 01 00 00 00 00 00 00 00 f1 00",
			Command{Protocol: PIOOut, Count: 1, Opcode: 0xf1, Data: make([]byte, 512), Timeout: 1}, scsi.DataOut},
	} {
		c, err := x.c.SCSI()
		if err != nil || !bytes.Equal(c.CDB, unhex(t, x.cdb)) || c.Direction != x.direction || c.Timeout <= 0 {
			t.Errorf("%s (%s): %x %v", x.name, x.clause, c.CDB, err)
		}
	}
	for name, c := range map[string]Command{
		"no timeout": {Protocol: NonData}, "count does not fit": {Protocol: NonData, Count: 256, Timeout: 1}, "LBA does not fit": {Protocol: NonData, Extend: true, LBA: 1 << 48, Timeout: 1},
		"28 bits in the device register": {Protocol: NonData, LBA: 1 << 24, Timeout: 1}, "data in a non-data command": {Protocol: NonData, Data: make([]byte, 512), Timeout: 1},
		"data and no count": {Protocol: PIOIn, Data: make([]byte, 512), Timeout: 1}, "part of a block": {Protocol: PIOIn, Count: 1, Data: make([]byte, 500), Timeout: 1},
		"no such protocol": {Protocol: 7, Timeout: 1},
	} {
		if c, err := c.SCSI(); err == nil {
			t.Errorf("%s: %x", name, c.CDB)
		}
	}
}

func TestEncode12(t *testing.T) {
	for _, x := range []struct {
		name, cdb string
		c         Command
	}{
		{"IDENTIFY DEVICE", "a1 08 0e 00 01 00 00 00 00 ec 00 00", IdentifyDevice()},
		{"SMART RETURN STATUS", "a1 06 20 da 00 00 4f c2 00 b0 00 00", SMARTReturnStatus()},
		{"every register", "a1 06 20 12 34 56 78 9a 4b f9 00 00",
			Command{Protocol: NonData, Feature: 0x12, Count: 0x34, LBA: 0x9a7856, Device: 0x4b, Opcode: 0xf9, CheckCondition: true, Timeout: 1}},
	} {
		if c, err := x.c.SCSI12(); err != nil || !bytes.Equal(c.CDB, unhex(t, x.cdb)) || c.Timeout <= 0 || (c.Direction == scsi.DataIn) != (len(c.Data) == 512) {
			t.Errorf("%s (SAT-4): %x %v", x.name, c.CDB, err)
		}
	}
	for name, c := range map[string]Command{"48 bits": FlushCache(), "no timeout": {Protocol: NonData}} {
		if c, err := c.SCSI12(); err == nil {
			t.Errorf("%s: %x", name, c.CDB)
		}
	}
}

func TestRefusedByTranslation(t *testing.T) {
	for sense, want := range map[string]bool{
		"72 05 20 00 00 00 00 00": true, "72 05 24 00 00 00 00 00": true, "72 05 26 00 00 00 00 00": true, "70 00 05 00 00 00 00 0a 00 00 00 00 20 00 00 00 00 00": true,
		"72 05 21 00 00 00 00 00": false, "72 07 27 00 00 00 00 00": false, "72 0b 00 00 00 00 00 00": false, "73 05 20 00 00 00 00 00": false,
		"72 05 20 00 00 00 00 0e 09 0c 00 00 00 00 00 00 00 00 00 00 40 50": false, // the drive has had it
		"72 05 20 00 00 00 00 0e 09 0c 00 04 00 00 00 00 00 00 00 00 40 51": false, "": false,
	} {
		_, err := ParseRegisters(scsi.Result{Status: 2, Sense: unhex(t, sense)})
		if RefusedByTranslation(err) != want {
			t.Errorf("%s: %v: %v", sense, err, !want)
		}
	}
	if RefusedByTranslation(nil) || RefusedByTranslation(ErrNoRegisters) || RefusedByTranslation((scsi.Result{HostStatus: 3, Status: 2, Sense: unhex(t, "72 05 20 00 00 00 00 00")}).Err()) {
		t.Error("a command of unknown fate is taken for refused")
	}
}

// Registers that did not come back are unknown, and zeros are none. This is where tools have
// called failures success.
func TestParseRegisters(t *testing.T) {
	const whole = "72 01 00 1d 00 00 00 0e 09 0c 01 00 80 10 44 11 55 22 66 33 40 50"
	g, err := ParseRegisters(scsi.Result{Status: 2, DriverStatus: 8, Sense: unhex(t, whole)})
	if want := (Registers{Whole: true, Extend: true, Status: 0x50, Count: 0x8010, LBA: 0x665544332211, Device: 0x40}); err != nil || g != want {
		t.Errorf("%+v %v", g, err)
	}
	for _, x := range []struct {
		name string
		r    scsi.Result
		want error
	}{
		{"no sense", scsi.Result{}, ErrNoRegisters},
		{"zeros", scsi.Result{Status: 2, Sense: make([]byte, 22)}, ErrNoRegisters},
		{"registers of zeros", scsi.Result{Status: 2, Sense: unhex(t, "72 01 00 1d 00 00 00 0e 09 0c 00 00 00 00 00 00 00 00 00 00 00 00")}, ErrNoRegisters},
		{"busy", scsi.Result{Status: 2, Sense: unhex(t, "72 01 00 1d 00 00 00 0e 09 0c 00 00 00 00 00 00 00 00 00 00 00 d0")}, ErrNoRegisters},
		{"registers of an earlier command", scsi.Result{Status: 2, Sense: unhex(t, "73 01 00 1d 00 00 00 0e 09 0c 01 00 80 10 44 11 55 22 66 33 40 50")}, ErrNoRegisters},
		{"fixed format of zeros", scsi.Result{Status: 2, Sense: unhex(t, "70 00 01 00 00 00 00 0a 00 00 00 00 00 1d 00 00 00 00")}, ErrNoRegisters},
		{"fixed format, busy", scsi.Result{Status: 2, Sense: unhex(t, "70 00 01 00 d0 40 10 0a 00 00 00 00 00 1d 00 00 00 00")}, ErrNoRegisters},
		{"fixed format, data wanted", scsi.Result{Status: 2, Sense: unhex(t, "70 00 01 00 58 40 10 0a 00 00 00 00 00 1d 00 00 00 00")}, ErrNoRegisters},
		{"fixed format, deferred", scsi.Result{Status: 2, Sense: unhex(t, "71 00 01 00 50 40 10 0a 00 00 00 00 00 1d 00 00 00 00")}, ErrNoRegisters},
		{"descriptor format without registers", scsi.Result{Status: 2, Sense: unhex(t, "72 01 00 1d 00 00 00 00")}, ErrNoRegisters},
	} {
		if g, err := ParseRegisters(x.r); !errors.Is(err, x.want) {
			t.Errorf("%s: %+v, %v", x.name, g, err)
		}
	}
	// Fixed format has half of them: the status can be judged, and nothing that needs the rest.
	for _, code := range []string{"70", "f0"} {
		g, err = ParseRegisters(scsi.Result{Status: 2, Sense: unhex(t, code+" 00 01 00 50 40 10 0a 80 00 00 00 00 1d 00 00 00 00")})
		if want := (Registers{Status: 0x50, Count: 0x10, Device: 0x40}); err != nil || g != want {
			t.Errorf("fixed format: %+v %v", g, err)
		}
	}
	var failed *Error
	if g, err := ParseRegisters(scsi.Result{Status: 2, Sense: unhex(t, "70 00 01 04 51 40 10 0a 80 00 00 00 00 1d 00 00 00 00")}); !errors.As(err, &failed) || failed.Registers.Error != 4 {
		t.Errorf("fixed format, aborted: %+v %v", g, err)
	}
	if _, err := ParseRegisters(scsi.Result{Status: 2, Sense: unhex(t, "72 0b 00 00 00 00 00 0e 09 0c 00 04 00 00 00 01 00 00 00 00 40 51")}); !errors.As(err, &failed) || failed.Registers.LBA != 1 {
		t.Errorf("aborted: %v", err)
	}
	var command *scsi.CommandError
	for name, r := range map[string]scsi.Result{
		"refused by the translation": {Status: 2, Sense: unhex(t, "72 05 20 00 00 00 00 00")}, "timed out": {HostStatus: 3}, "busy": {Status: 8},
		"fixed format, a hardware error": {Status: 2, Sense: unhex(t, "70 00 04 00 50 40 10 0a 00 00 00 00 00 1d 00 00 00 00")},
		"another failure with registers": {Status: 2, Sense: unhex(t, "72 04 44 00 00 00 00 0e 09 0c 00 00 00 00 00 00 00 00 00 00 40 50")},
	} {
		if g, err := ParseRegisters(r); !errors.As(err, &command) {
			t.Errorf("%s: %+v, %v", name, g, err)
		}
	}
}

func TestParseData(t *testing.T) {
	c, err := IdentifyDevice().SCSI()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := ParseData(c, scsi.Result{Transferred: 512}); err != nil || len(b) != 512 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for name, r := range map[string]scsi.Result{"short": {Transferred: 511}, "none": {}, "check condition": {Status: 2, Transferred: 512}} {
		if _, err := ParseData(c, r); err == nil {
			t.Errorf("%s: taken for an answer", name)
		}
	}
}

func swap(b []byte, s string) {
	for i := range b {
		b[i] = ' '
	}
	copy(b, s)
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
}

func identityPage() []byte {
	b := make([]byte, 512)
	put := func(word int, v uint16) { binary.LittleEndian.PutUint16(b[2*word:], v) }
	swap(b[20:40], "SERIAL-1")
	swap(b[46:54], "FW01")
	swap(b[54:94], "MODEL ONE")
	put(0, 0x0040)
	put(49, 1<<9|1<<8)
	put(59, 1<<10|1<<12|1<<13|1<<15)
	put(69, 1<<14|1<<5|1<<4)
	put(82, 1)
	put(83, 1<<14|1<<10)
	put(85, 1)
	put(87, 1<<14|1<<8)
	put(100, 0x5678)
	put(101, 0x0012)
	put(106, 1<<14|1<<13|3)
	for i, v := range []uint16{0x5000, 0xc500, 0xa1b2, 0xc3d4} {
		put(108+i, v)
	}
	put(128, 0x21)
	put(169, 1)
	put(217, 1)
	put(255, 0xa5)
	sum := byte(0)
	for _, c := range b {
		sum += c
	}
	b[511] = -sum
	return b
}

func TestParseIdentity(t *testing.T) {
	i, err := ParseIdentity(identityPage())
	if err != nil {
		t.Fatal(err)
	}
	if i.Serial != "SERIAL-1" || i.Firmware != "FW01" || i.Model != "MODEL ONE" || i.WWN != "5000c500a1b2c3d4" || i.Sectors != 0x125678 ||
		i.LogicalBytes != 512 || i.PhysicalBytes != 4096 || !i.Sanitize || !i.CryptoScramble || !i.BlockErase || i.Overwrite || !i.EncryptsAll || !i.SMARTSupported || i.Security != 0x21 ||
		!i.ReadsDeterministic || !i.ReadsZeroes || !i.AntifreezeSupported || i.SanitizeAllowsACS3 || !i.Extended() {
		t.Errorf("%+v", i)
	}
	if solid, known := i.SolidState(); !solid || !known {
		t.Error("an SSD that says so is not taken for one")
	}
	change := func(at int, v byte) []byte {
		b := identityPage()
		b[at] = v
		return b
	}
	zeroed := identityPage()
	for i := range 4 {
		binary.LittleEndian.PutUint16(zeroed[200+2*i:], 0)
	}
	binary.LittleEndian.PutUint16(zeroed[510:], 0)
	for name, b := range map[string][]byte{
		"zeros": make([]byte, 512), "ones": bytes.Repeat([]byte{0xff}, 512), "short": identityPage()[:511], "one byte changed": change(60, 'x'), "no sectors": zeroed,
	} {
		if i, err := ParseIdentity(b); err == nil {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

func smartPage() []byte {
	b := make([]byte, 512)
	b[0] = 16
	for n, a := range []struct {
		id  uint8
		raw uint64
	}{{5, 8}, {9, 1234 | 7<<32}, {194, 31 | 20<<16 | 45<<32}, {197, 2}} {
		at := b[2+12*n:]
		at[0], at[3], at[4] = a.id, 100, 99
		binary.LittleEndian.PutUint32(at[5:], uint32(a.raw))
		binary.LittleEndian.PutUint16(at[9:], uint16(a.raw>>32))
	}
	sum := byte(0)
	for _, c := range b {
		sum += c
	}
	b[511] = -sum
	return b
}

func TestParseSMART(t *testing.T) {
	s, err := ParseSMART(smartPage())
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := s.Temperature(); c != 31 || !ok {
		t.Errorf("%d °C", c)
	}
	if h, ok := s.PowerOnHours(); h != 1234 || !ok {
		t.Errorf("%d hours", h)
	}
	if a, ok := s.Get(AttributePending); !ok || a.Raw != 2 {
		t.Errorf("pending: %+v", a)
	}
	bad := smartPage()
	bad[100]++
	for name, b := range map[string][]byte{"zeros": make([]byte, 512), "checksum": bad, "short": bad[:100]} {
		if s, err := ParseSMART(b); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for lba, want := range map[uint64]string{0xc24f00: "good", 0x2cf400: "exceeded", 0: "error", 0xffffff: "error"} {
		exceeded, err := ParseSMARTStatus(Registers{Whole: true, LBA: lba})
		if got := map[bool]string{true: "exceeded", false: "good"}[exceeded]; err != nil && want != "error" || err == nil && got != want {
			t.Errorf("%06x: %s %v", lba, got, err)
		}
	}
	if _, err := ParseSMARTStatus(Registers{LBA: 0xc24f00, Status: 0x50}); !errors.Is(err, ErrNoRegisters) {
		t.Errorf("registers that did not come: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(identityPage())
	f.Add(smartPage())
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, err := ParseIdentity(b); err == nil {
			if i.Serial == "" || i.Model == "" || i.Sectors == 0 || i.LogicalBytes < 512 {
				t.Errorf("%+v", i)
			}
			s := i.SecurityState()
			for _, minutes := range []int{s.EraseMinutes, s.EnhancedMinutes} {
				if minutes < 0 || minutes > 65532 {
					t.Errorf("an erase of %d minutes", minutes)
				}
			}
			if w := i.words[128]; (w == 0 || w == 0xffff) && s != (Security{}) {
				t.Errorf("word 128 is %04x: %+v", w, s)
			}
			for _, enhanced := range []bool{false, true} {
				if c := (EraseUnit{Enhanced: enhanced}).Command(s); c.Timeout < time.Hour || c.Timeout.Milliseconds() >= 1<<32 {
					t.Errorf("%+v: a timeout of %v", s, c.Timeout)
				}
			}
			_, _, _, _ = i.HPA(), i.AMA(), i.DCO(), i.HPAPassword()
		}
		if s, err := ParseSMART(b); err == nil {
			_, _ = s.Temperature()
			_, _ = s.PowerOnHours()
		}
	})
}

// What comes back of a pass-through, judged in each way.
func FuzzReturn(f *testing.F) {
	f.Add(unhex(f, "72 01 00 1d 00 00 00 0e 09 0c 01 00 80 10 44 11 55 22 66 33 40 50"))
	f.Add(unhex(f, "72 0b 00 00 00 00 00 0e 09 0c 01 04 00 00 00 01 00 00 00 00 40 51"))
	f.Add(unhex(f, "70 00 01 00 50 40 10 0a 80 00 00 00 00 1d 00 00 00 00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseRegisters(scsi.Result{Status: 2, Sense: b})
		if err == nil && (g.Status&(StatusERR|StatusDF|StatusBSY) != 0 || g.Status == 0) {
			t.Errorf("success with status %02x", g.Status)
		}
		if !g.Whole && (g.LBA != 0 || g.Count > 0xff || g.Extend) {
			t.Errorf("registers that did not come: %+v", g)
		}
		s, err := ParseSanitizeStatus(b)
		switch {
		case err != nil && s != (SanitizeStatus{}):
			t.Errorf("%+v beside %v", s, err)
		case err == nil && !(g.Whole && (g.Extend || s.Failed)):
			t.Errorf("%+v of %+v", s, g)
		case s.Completed && (s.InProgress || s.Failed || g.Count>>15 == 0 || g.Status&StatusERR != 0):
			t.Errorf("%+v of %+v", s, g)
		}
		for _, extend := range []bool{false, true} {
			if lba, err := ParseMaxLBA(g, extend); err == nil && (lba == 0 || lba >= 1<<48 || !g.Whole) {
				t.Errorf("last address %x of %+v", lba, g)
			}
		}
		_ = RefusedByTranslation(err)
	})
}

func FuzzPages(f *testing.F) {
	f.Add(overlayPage())
	f.Add(unhex(f, "00 0e 00 10 00 01 ff fe 00 21 00 00 00 00 00 00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if lba, err := ParseDCOMax(b); err == nil && (lba == 0 || lba >= 1<<48) {
			t.Errorf("last address %x", lba)
		}
		if s, err := ParseSATSecurity(b); err == nil && !s.Supported && (s.Enabled || s.Locked || s.Frozen) {
			t.Errorf("%+v", s)
		}
	})
}
