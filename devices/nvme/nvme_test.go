package nvme

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func must(t *testing.T) func(c *Command, err error) *Command {
	return func(c *Command, err error) *Command {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
}

// The submission queue entry as the standard lays it out: opcode, NSID, CDW10 to CDW15.
func TestEncode(t *testing.T) {
	block := make([]byte, 8*512)
	for _, x := range []struct {
		name, clause string
		c            *Command
		queue        Queue
		opcode       uint8
		nsid         uint32
		dwords       [6]uint32
		data         int
	}{
		{"identify controller", "base 2.0 5.17.2.1", IdentifyController{}.Command(), Admin, 0x06, 0, [6]uint32{0x01}, 4096},
		{"identify namespace", "base 2.0 5.17.2.2", IdentifyNamespace{NSID: 7}.Command(), Admin, 0x06, 7, [6]uint32{0x00}, 4096},
		{"identify allocated namespace", "base 2.0 5.17.2.14", IdentifyNamespace{NSID: 7, Allocated: true}.Command(), Admin, 0x06, 7, [6]uint32{0x11}, 4096},
		{"identify namespace, any command set", "base 2.0 5.17.2.8", IdentifyIndependent{NSID: 7}.Command(), Admin, 0x06, 7, [6]uint32{0x08}, 4096},
		{"active namespaces", "base 2.0 5.17.2.3", NamespaceList{After: 3}.Command(), Admin, 0x06, 3, [6]uint32{0x02}, 4096},
		{"allocated namespaces", "base 2.0 5.17.2.13", NamespaceList{Allocated: true}.Command(), Admin, 0x06, 0, [6]uint32{0x10}, 4096},
		{"controllers", "base 2.0 5.17.2.16", ControllerList{From: 0x102}.Command(), Admin, 0x06, 0, [6]uint32{0x01020013}, 4096},
		{"SMART log", "base 2.0 5.16.1.3", GetLogPage{LID: LogSMART}.Command(), Admin, 0x02, 0xffffffff, [6]uint32{0x007f0002}, 512},
		{"firmware slot log", "base 2.0 5.16.1.4", GetLogPage{LID: LogFirmware, Retain: true}.Command(), Admin, 0x02, 0xffffffff, [6]uint32{0x007f8003}, 512},
		{"boot partition log", "base 2.0 5.16.1.22", GetLogPage{LID: LogBoot}.Command(), Admin, 0x02, 0, [6]uint32{0x007f0015}, 512},
		{"reservation report", "base 2.1 7.8", ReservationReport{NSID: 3}.Command(), IO, 0x0e, 3, [6]uint32{0x3ff}, 4096},
		{"reservation report, extended", "base 2.1 7.8", ReservationReport{NSID: 3, Extended: true}.Command(), IO, 0x0e, 3, [6]uint32{0x3ff, 1}, 4096},
		{"sanitize status log", "base 2.0 5.16.1.25", GetLogPage{LID: LogSanitize, Retain: true}.Command(), Admin, 0x02, 0, [6]uint32{0x007f8081}, 512},
		{"sanitize, block erase", "base 2.0 5.24", must(t)(Sanitize{SANACT: BlockErase}.Command()), Admin, 0x84, 0, [6]uint32{0x2}, 0},
		{"sanitize, crypto, no deallocate", "base 2.0 5.24", must(t)(Sanitize{SANACT: CryptoErase, NDAS: true}.Command()), Admin, 0x84, 0, [6]uint32{0x204}, 0},
		{"sanitize, crypto, unrestricted, purge required", "base 2.0 5.24", must(t)(Sanitize{SANACT: CryptoErase, AUSE: true, PREQ: true}.Command()), Admin, 0x84, 0, [6]uint32{0x80c}, 0},
		{"sanitize, overwrite", "base 2.0 5.24", must(t)(Sanitize{SANACT: Overwrite, OWPASS: 3, OIPBP: true, OVRPAT: 0xdeadbeef}.Command()), Admin, 0x84, 0, [6]uint32{0x133, 0xdeadbeef}, 0},
		{"sanitize, exit failure mode", "base 2.0 5.24", must(t)(Sanitize{SANACT: ExitFailureMode}.Command()), Admin, 0x84, 0, [6]uint32{0x1}, 0},
		{"sanitize, block, media verification", "base 2.3 5.1.22", must(t)(Sanitize{SANACT: BlockErase, EMVS: true}.Command()), Admin, 0x84, 0, [6]uint32{0x402}, 0},
		{"sanitize, exit media verification", "base 2.3 5.1.22", must(t)(Sanitize{SANACT: ExitMediaVerification}.Command()), Admin, 0x84, 0, [6]uint32{0x5}, 0},
		{"format, user data erase", "base 2.0 5.14", must(t)(Format{NSID: EveryNamespace, SES: UserDataErase}.Command()), Admin, 0x80, 0xffffffff, [6]uint32{0x200}, 0},
		{"format, cryptographic erase, extended metadata, protection", "base 2.0 5.14", must(t)(Format{NSID: 2, SES: CryptographicErase, Namespace: Namespace{FLBAS: 0x13, DPS: 0x9}}.Command()), Admin, 0x80, 2, [6]uint32{0x533}, 0},
		{"read", "NVM 1.0 3.2.4", must(t)(Read{NSID: 1, SLBA: 0x1_2345_6789, Blocks: 8, Data: block}.Command()), IO, 0x02, 1, [6]uint32{0x23456789, 1, 7}, 4096},
		{"write through", "NVM 1.0 3.2.6", must(t)(Write{NSID: 2, SLBA: 16, Blocks: 1, Data: block[:512], FUA: true}.Command()), IO, 0x01, 2, [6]uint32{16, 0, 1 << 30}, 512},
		{"flush", "base 2.0 7.1", Flush{NSID: 2}.Command(), IO, 0x00, 2, [6]uint32{}, 0},
	} {
		got := [6]uint32{x.c.CDW10, x.c.CDW11, x.c.CDW12, x.c.CDW13, x.c.CDW14, x.c.CDW15}
		if x.c.Queue != x.queue || x.c.Opcode != x.opcode || x.c.NSID != x.nsid || got != x.dwords || x.c.CDW2 != 0 || x.c.CDW3 != 0 {
			t.Errorf("%s (%s): queue %d opcode %#x NSID %#x dwords %#x", x.name, x.clause, x.c.Queue, x.c.Opcode, x.c.NSID, got)
		}
		if len(x.c.Data) != x.data || x.c.Timeout <= 0 {
			t.Errorf("%s: %d bytes of data, timeout %v", x.name, len(x.c.Data), x.c.Timeout)
		}
	}
}

// Pass count 0 means sixteen passes to a drive; a command like that must not be made by mistake.
func TestEncodeRefuses(t *testing.T) {
	for name, s := range map[string]Sanitize{
		"no action": {}, "reserved action": {SANACT: 6}, "media verification of an overwrite": {SANACT: Overwrite, OWPASS: 1, EMVS: true},
		"media verification without deallocation": {SANACT: CryptoErase, NDAS: true, EMVS: true}, "exit of media verification that enters it": {SANACT: ExitMediaVerification, EMVS: true}, "no passes": {SANACT: Overwrite}, "passes without overwrite": {SANACT: BlockErase, OWPASS: 1},
		"exit with AUSE": {SANACT: ExitFailureMode, AUSE: true}, "pattern without overwrite": {SANACT: CryptoErase, OVRPAT: 1},
	} {
		if c, err := s.Command(); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for name, f := range map[string]Format{
		"no namespace": {SES: UserDataErase}, "no erase": {NSID: 1}, "reserved erase": {NSID: 1, SES: 3},
		"a format that the command cannot name": {NSID: 1, SES: UserDataErase, Namespace: Namespace{FLBAS: 0x20}},
	} {
		if c, err := f.Command(); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	for name, r := range map[string]Read{
		"all namespaces": {NSID: 0xffffffff, Blocks: 1, Data: make([]byte, 512)}, "no namespace": {Blocks: 1, Data: make([]byte, 512)},
		"no blocks": {NSID: 1, Data: make([]byte, 512)}, "no data": {NSID: 1, Blocks: 1}, "uneven": {NSID: 1, Blocks: 3, Data: make([]byte, 512)},
	} {
		if c, err := r.Command(); err == nil {
			t.Errorf("read, %s: %+v", name, c)
		}
	}
}

func controllerPage() []byte {
	b := make([]byte, 4096)
	copy(b[4:24], "SN-1                ")
	copy(b[24:64], "MODEL X                                 ")
	copy(b[64:72], "1.0     ")
	b[76], b[77] = 0x02, 5
	binary.LittleEndian.PutUint16(b[78:], 9)
	binary.LittleEndian.PutUint32(b[80:], 0x20000)
	binary.LittleEndian.PutUint16(b[256:], 1<<3)
	binary.LittleEndian.PutUint32(b[328:], 1<<0|1<<1|1<<29|2<<30)
	binary.LittleEndian.PutUint32(b[516:], 32)
	copy(b[768:], "nqn.2014.08.org.nvmexpress:x")
	return b
}

func TestParseController(t *testing.T) {
	c, err := ParseController(controllerPage())
	if err != nil {
		t.Fatal(err)
	}
	if c.SN != "SN-1" || c.MN != "MODEL X" || c.FR != "1.0" || c.CMIC != 2 || c.MDTS != 5 || c.CNTLID != 9 || c.VER != 0x20000 ||
		c.NN != 32 || c.SUBNQN != "nqn.2014.08.org.nvmexpress:x" || !c.NamespaceManagement() {
		t.Errorf("%+v", c)
	}
	if !c.CryptoErase() || !c.BlockErase() || c.Overwrite() || !c.NoDeallocateInhibited() || c.NoDeallocateModifies() != 2 || c.PurgeRequiredSupported() {
		t.Errorf("SANICAP %#x", c.SANICAP)
	}
	if units, each := c.RPMB(); c.Reservations() || c.BPCAP != 0 || c.FirmwareSlots() != 0 || units != 0 || each != 128<<10 {
		t.Errorf("%+v", c)
	}
	b := controllerPage()
	b[102], b[260], b[520] = 0x06, 1|3<<1|1<<4, 1<<5
	copy(b[312:], []byte{4 | 1<<3, 0, 31, 3}) // 4 units of 32 × 128 KiB
	if c, err := ParseController(b); err != nil || !c.Reservations() || c.BPCAP != 6 || c.FirmwareSlots() != 3 {
		t.Errorf("%+v, %v", c, err)
	} else if units, each := c.RPMB(); units != 4 || each != 4<<20 {
		t.Errorf("%d units of %d bytes", units, each)
	}
	for name, b := range map[string][]byte{"short": controllerPage()[:4095], "zeros": make([]byte, 4096), "empty": nil} {
		if c, err := ParseController(b); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestParseNamespace(t *testing.T) {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint64(b, 1000)
	b[25], b[26], b[31], b[33], b[99] = 20, 1|1<<5, 0x3e, 9, 1
	copy(b[128+4*17:], []byte{8, 0, 12, 0}) // format 11h: the two high bits of FLBAS are bits 6:5
	n, err := ParseNamespace(b)
	if left, running := n.Formatting(); left != 0 || running {
		t.Errorf("no format runs: %d %v", left, running)
	}
	b[32] = 0x80 | 40
	if n, err := ParseNamespace(b); err != nil {
		t.Error(err)
	} else if left, running := n.Formatting(); left != 40 || !running {
		t.Errorf("a format runs: %d %v", left, running)
	}
	if err != nil || n.LBADS != 12 || n.MS != 8 || n.SizeBytes() != 4096000 || !n.WriteProtected() || n.ReadsOfDeallocated() != 1 || n.RESCAP != 0x3e {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := ParseNamespace(make([]byte, 4096)); err == nil {
		t.Error("an inactive namespace was taken for one")
	}
	b[128+4*17+2] = 0
	if _, err := ParseNamespace(b); err == nil {
		t.Error("blocks of one byte")
	}
}

func TestParseLists(t *testing.T) {
	b := make([]byte, 4096)
	for i, id := range []uint32{2, 5, 9} {
		binary.LittleEndian.PutUint32(b[4*i:], id)
	}
	if list, more, err := ParseNamespaceList(b, 0); err != nil || more || len(list) != 3 || list[2] != 9 {
		t.Errorf("%v %v %v", list, more, err)
	}
	if list, _, err := ParseNamespaceList(b, 2); err == nil {
		t.Errorf("a list that does not go on after what was asked: %v", list)
	}
	c := make([]byte, 4096)
	copy(c, []byte{2, 0, 1, 0, 3, 0})
	if list, err := ParseControllerList(c); err != nil || len(list) != 2 || list[1] != 3 {
		t.Errorf("%v %v", list, err)
	}
	copy(c, []byte{0xff, 0xff})
	if list, err := ParseControllerList(c); err == nil {
		t.Errorf("%d controllers", len(list))
	}
}

func statusPage(sstat uint16, scdw10 uint32) []byte {
	b := make([]byte, 512)
	binary.LittleEndian.PutUint16(b[0:], 0xffff)
	binary.LittleEndian.PutUint16(b[2:], sstat)
	binary.LittleEndian.PutUint32(b[4:], scdw10)
	for i := 8; i < 32; i += 4 {
		binary.LittleEndian.PutUint32(b[i:], uint32(i))
	}
	return b
}

// Which answers are success decides everything. SPROG is FFFFh in all of them.
func TestParseSanitizeStatus(t *testing.T) {
	for _, x := range []struct {
		name             string
		page             []byte
		sos              SOS
		success, erased  bool
		err, inFailState bool
	}{
		{name: "never", page: statusPage(0, 0), sos: NeverSanitized},
		{name: "success", page: statusPage(0x101, 2), sos: SanitizeSucceeded, success: true, erased: true},
		{name: "success, written since", page: statusPage(0x001, 2), sos: SanitizeSucceeded, success: true},
		{name: "failed", page: statusPage(0x003, 2), sos: SanitizeFailed},
		{name: "failed, GDE of an earlier one", page: statusPage(0x103, 2), sos: SanitizeFailed, erased: true},
		{name: "in progress", page: statusPage(0x002, 4), sos: SanitizeInProgress},
		{name: "deallocated unexpectedly", page: statusPage(0x104, 0x204), sos: SucceededDeallocating, success: true, erased: true},
		{name: "passes do not disturb", page: statusPage(0x1f9, 3), sos: SanitizeSucceeded, success: true, erased: true},
		{name: "zeros", page: make([]byte, 512), err: true},
		{name: "short", page: make([]byte, 511), err: true},
		{name: "reserved status", page: statusPage(0x005, 2), err: true},
		{name: "success of no command", page: statusPage(0x101, 0), err: true},
	} {
		s, err := ParseSanitizeStatus(x.page)
		if (err != nil) != x.err {
			t.Errorf("%s: %v", x.name, err)
			continue
		}
		if err == nil && (s.Status() != x.sos || s.Succeeded() != x.success || s.GlobalDataErased() != x.erased) {
			t.Errorf("%s: %v success %v erased %v", x.name, s.Status(), s.Succeeded(), s.GlobalDataErased())
		}
	}
	s, err := ParseSanitizeStatus(statusPage(0x101, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		a    Action
		nd   bool
		want uint32
	}{{Overwrite, false, 1}, {BlockErase, false, 12}, {CryptoErase, false, 16}, {Overwrite, true, 2}, {BlockErase, true, 24}, {CryptoErase, true, 28}} {
		if got, ok := s.Estimate(x.a, x.nd); !ok || got != x.want {
			t.Errorf("estimate of %v, no deallocate %v: %d", x.a, x.nd, got)
		}
	}
	page := statusPage(0x101, 2)
	copy(page[12:], []byte{0xff, 0xff, 0xff, 0xff})
	if s, err := ParseSanitizeStatus(page); err != nil {
		t.Error(err)
	} else if _, ok := s.Estimate(BlockErase, false); ok {
		t.Error("an estimate that the drive does not report was reported")
	}
}

func TestParseSMART(t *testing.T) {
	b := make([]byte, 512)
	copy(b, []byte{0x08, 0x36, 0x01, 99, 10, 4})
	binary.LittleEndian.PutUint64(b[128:], 1234)
	binary.LittleEndian.PutUint64(b[160:], 3)
	binary.LittleEndian.PutUint64(b[56:], 1) // more than 64 bits of data written
	s, err := ParseSMART(b)
	if err != nil || s.CriticalWarning != 8 || s.Temperature != 310 || s.AvailableSpare != 99 || s.SpareThreshold != 10 || s.PercentageUsed != 4 ||
		s.PowerOnHours != 1234 || s.MediaErrors != 3 || s.DataWritten != ^uint64(0) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := ParseSMART(make([]byte, 512)); err == nil {
		t.Errorf("a page of zeros: %+v", s)
	}
}

func TestStatus(t *testing.T) {
	if err := (Completion{}).Err(); err != nil {
		t.Error(err)
	}
	for raw, want := range map[uint16]string{
		0x4002: "NVMe status 002h: invalid field in command", // do not retry is set
		0x001d: "NVMe status 01dh: sanitize in progress", 0x0123: "NVMe status 123h: sanitize prohibited while a persistent memory region is enabled",
		0x07ff: "NVMe status 7ffh",
	} {
		if err := (Completion{Status: raw}).Err(); err == nil || err.Error() != want {
			t.Errorf("%#x: %v", raw, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(controllerPage())
	f.Add(statusPage(0x101, 2))
	f.Add(bytes.Repeat([]byte{0xff}, 4096))
	f.Add(make([]byte, 4096))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseController(b); err == nil && (c.SN == "" || c.MN == "") {
			t.Error("a controller without identity")
		}
		if n, err := ParseNamespace(b); err == nil && n.SizeBytes() <= 0 {
			t.Errorf("a namespace of %d bytes", n.SizeBytes())
		}
		if list, _, err := ParseNamespaceList(b, 0); err == nil {
			for i, id := range list {
				if id == 0 || i > 0 && id <= list[i-1] {
					t.Errorf("%v", list)
				}
			}
		}
		_, _ = ParseControllerList(b)
		if s, err := ParseSanitizeStatus(b); err == nil && s.Succeeded() && (s.SCDW10&7 == 0 || s.Status() == SanitizeFailed) {
			t.Errorf("success of nothing: %+v", s)
		}
		_, _ = ParseSMART(b)
	})
}
