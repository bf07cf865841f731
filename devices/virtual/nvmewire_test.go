package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// nvmeSend sends a command in dwords, and gives back its status without the bit of no retry.
func (g *rig) nvmeSend(c nvme.Command) uint16 {
	g.t.Helper()
	c.Timeout = time.Second
	done, err := g.tr.NVMe(g.t.Context(), &c)
	if err != nil {
		g.t.Fatalf("opcode %02x: %v", c.Opcode, err)
	}
	return done.Status & 0x7ff
}

func (g *rig) nvmeWant(what string, status uint16, c nvme.Command) {
	g.t.Helper()
	if got := g.nvmeSend(c); got != status {
		g.t.Errorf("%s: status %03x, want %03x", what, got, status)
	}
}

// page is an Identify or a log page.
func (g *rig) identify(cns, nsid, cdw11 uint32) []byte {
	g.t.Helper()
	b := make([]byte, 4096)
	g.nvmeWant("identify", 0, nvme.Command{Opcode: 0x06, NSID: nsid, CDW10: cns, CDW11: cdw11, Data: b})
	return b
}

func (g *rig) log(id uint32) []byte {
	g.t.Helper()
	b := make([]byte, 512)
	g.nvmeWant("log page", 0, nvme.Command{Opcode: 0x02, NSID: 0xffffffff, CDW10: id | 127<<16, Data: b})
	return b
}

// status81 is SPROG, SSTAT and SANS of the Sanitize Status log.
func (g *rig) status81(what string, sprog, sstat uint16, ssi byte) {
	g.t.Helper()
	b := g.log(0x81)
	if p, s := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]); p != sprog || s != sstat || b[36] != ssi {
		g.t.Errorf("%s: SPROG %04x, SSTAT %04x, SSI %02x; want %04x, %04x, %02x", what, p, s, b[36], sprog, sstat, ssi)
	}
}

func (g *rig) wantBegun(want ...string) {
	g.t.Helper()
	if got := g.medium().Begun(); !slices.Equal(got, want) {
		g.t.Errorf("begun %q, want %q", got, want)
	}
}

// canaryIn says whether customer data is left in a range of the medium.
func (g *rig) canaryIn(off, size int64) bool {
	g.t.Helper()
	p := make([]byte, size)
	if _, err := g.medium().ReadAt(p, off); err != nil {
		g.t.Fatal(err)
	}
	return bytes.Contains(p, canary)
}

func TestSanitizeOverwrite(t *testing.T) {
	for _, x := range []struct {
		name, profile string
		cdw10, cdw11  uint32
		passes        int
		first         []byte
	}{
		{"one pass", "nvme-hdd", 0x13, 0x04030201, 1, []byte{1, 2, 3, 4, 1}},
		{"three, inverted", "nvme-overwrite", 0x133, 0xaabbccdd, 3, []byte{0xdd, 0xcc, 0xbb, 0xaa, 0xdd}},
		{"sixteen", "nvme-hdd", 0x03, 0, 16, []byte{0, 0, 0}},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newRig(t, Spec{Profile: x.profile})
			if b := g.identify(1, 0, 0); binary.LittleEndian.Uint32(b[328:]) != 1<<2|1<<30 {
				t.Errorf("SANICAP % x", b[328:332])
			}
			if b := g.log(0x81); binary.LittleEndian.Uint32(b[8:]) != 1600 {
				t.Errorf("ETO % x", b[8:12])
			}
			g.nvmeWant("block erase", 0x02, nvme.Command{Opcode: 0x84, CDW10: 2})
			g.nvmeWant("overwrite", 0, nvme.Command{Opcode: 0x84, CDW10: x.cdw10, CDW11: x.cdw11})
			g.wait(100*x.passes - 1)
			if b := g.log(0x81); binary.LittleEndian.Uint16(b[2:]) != 2|uint16(x.passes-1)<<3 {
				t.Errorf("in the last pass: SSTAT % x", b[2:4])
			}
			g.holds("in the last pass", true, true)
			g.wait(2)
			g.status81("in the end", 0xffff, 1|uint16(x.passes)<<3|1<<8, 0)
			g.holds("in the end", false, false)
			p := make([]byte, 512)
			if _, err := backend(t, g.tr).ReadAt(p, 512); err != nil || !bytes.HasPrefix(p, x.first) {
				t.Errorf("reads % x, %v", p[:8], err)
			}
		})
	}
	g := newRig(t, Spec{Profile: "nvme-hdd"})
	g.nvmeWant("overwrite", 0, nvme.Command{Opcode: 0x84, CDW10: 0x13})
	g.wantBegun("84:00000013")
}

func TestMediaVerification(t *testing.T) {
	for _, x := range []struct {
		name      string
		cdw10     uint32
		cancelled bool
		zeros     bool // of reads in the state
		hidden    bool // customer data is there under the old key
	}{
		{name: "block erase", cdw10: 0x402, zeros: true}, {name: "crypto erase", cdw10: 0x404}, {name: "cancelled by a power cycle", cdw10: 0x404, cancelled: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newRig(t, Spec{Profile: "nvme-verify"})
			if b := g.identify(1, 0, 0); binary.LittleEndian.Uint32(b[328:])&(1<<3) == 0 {
				t.Error("no VERS")
			}
			g.nvmeWant("exit before", 0x02, nvme.Command{Opcode: 0x84, CDW10: 5})
			g.nvmeWant("NDAS with EMVS", 0x02, nvme.Command{Opcode: 0x84, CDW10: 0x604})
			g.nvmeWant("sanitize", 0, nvme.Command{Opcode: 0x84, CDW10: x.cdw10})
			if b := g.log(0x81); b[36] != 1 {
				t.Errorf("SSI %02x", b[36])
			}
			g.wait(1000)
			g.status81("verification", 0xffff, 2, 5)
			p := make([]byte, 512)
			if _, err := backend(t, g.tr).ReadAt(p, 0); err != nil || bytes.Contains(p, canary) || zero(p) != x.zeros {
				t.Errorf("reads % x, %v", p[:8], err)
			}
			if _, err := backend(t, g.tr).WriteAt(p, 0); err == nil {
				t.Error("written in media verification")
			}
			g.nvmeWant("another", 0x1d, nvme.Command{Opcode: 0x84, CDW10: 2})
			cancelled := uint16(0)
			if x.cancelled {
				g.cycle()
				cancelled = 1 << 9
			} else {
				g.nvmeWant("exit", 0, nvme.Command{Opcode: 0x84, CDW10: 5})
			}
			g.status81("deallocation", 0xffff, 2|cancelled, 6)
			if _, err := backend(t, g.tr).ReadAt(p, 0); err == nil {
				t.Error("read during deallocation")
			}
			g.wait(1000)
			g.status81("in the end", 0xffff, 1|1<<8|cancelled, 0)
			if _, err := backend(t, g.tr).ReadAt(p, 0); err != nil || !zero(p) {
				t.Errorf("reads % x, %v", p[:8], err)
			}
			g.holds("in the end", false, false)
		})
	}
	g := newRig(t, Spec{Profile: "nvme-ssd"})
	g.nvmeWant("EMVS without VERS", 0x02, nvme.Command{Opcode: 0x84, CDW10: 0x404})
}

func TestPurgeRequired(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-purge-required"})
	for _, x := range []struct {
		cdw10 uint32
		want  uint16
	}{{0x804, 1 | 1<<8 | 1<<11}, {0x004, 1 | 1<<8}} {
		g.nvmeWant("sanitize", 0, nvme.Command{Opcode: 0x84, CDW10: x.cdw10})
		g.wait(1000)
		g.status81("in the end", 0xffff, x.want, 0)
	}
	g = newRig(t, Spec{Profile: "nvme-ssd"})
	g.nvmeWant("PREQ without SPRRS", 0x02, nvme.Command{Opcode: 0x84, CDW10: 0x804})
}

// What a format reaches depends on FNA, SES and NSID (NVMe base 2.0, 5.14).
func TestFormatScope(t *testing.T) {
	for _, x := range []struct {
		name          string
		scope         []string
		attach        bool
		nsid, ses     uint32
		status        uint16
		first, second bool // customer data is left where the host addresses it
	}{
		{name: "erase of one", nsid: 1, ses: 1, second: true},
		{name: "erase of the other, which is detached", nsid: 2, ses: 1, first: true},
		{name: "erase of all: the detached one keeps its data", nsid: everyNamespace, ses: 1, second: true},
		{name: "erase of all that are attached", attach: true, nsid: everyNamespace, ses: 1},
		{name: "erase of one reaches all", scope: []string{"sens"}, nsid: 1, ses: 1},
		{name: "FNS is not about erases", scope: []string{"fns"}, nsid: 1, ses: 1, second: true},
		{name: "crypto erase of one", nsid: 1, ses: 2, second: true},
		{name: "crypto erase of all", scope: []string{"sens"}, nsid: everyNamespace, ses: 2},
		{name: "no erase, of one", nsid: 1, second: true},
		{name: "no erase, of all", scope: []string{"fns"}, nsid: 2},
		{name: "SENS is not about formats", scope: []string{"sens"}, nsid: 1, second: true},
		{name: "no broadcast", scope: []string{"fnvmbs"}, nsid: everyNamespace, ses: 1, status: 0x02, first: true, second: true},
		{name: "no such namespace", nsid: 3, ses: 1, status: 0x0b, first: true, second: true},
		{name: "no namespace", nsid: 0, ses: 1, status: 0x0b, first: true, second: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newRig(t, Spec{Profile: "nvme-format", FormatScope: x.scope, SecondNamespace: true, AttachAll: x.attach})
			before := g.medium()
			g.nvmeWant("format", x.status, nvme.Command{Opcode: 0x80, NSID: x.nsid, CDW10: x.ses << 9})
			if got := g.canaryIn(0, 1<<20); got != x.first {
				t.Errorf("namespace 1 has customer data: %v", got)
			}
			if got := g.canaryIn(1<<20, 512<<10); got != x.second {
				t.Errorf("namespace 2 has customer data: %v", got)
			}
			a, h, err := g.medium().CountCanary(canary)
			if whole := !x.first && !x.second && x.ses > 0; err != nil || (h == 0) != whole || a > 0 != (x.first || x.second) {
				t.Errorf("%d canaries, %d hidden, %v", a, h, err)
			}
			if x.ses == 2 {
				if a, h, err := g.medium().CountUnder(before.Key(), canary); err != nil || a+h == 0 {
					t.Errorf("nothing is left under the old key: %d, %d, %v", a, h, err)
				}
			}
		})
	}
}

func TestFormatNVM(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-format", UnallocatedBytes: 32 << 10})
	b := g.identify(1, 0, 0)
	if b[256]&2 == 0 || b[524] != 1<<2 || binary.LittleEndian.Uint32(b[328:]) != 0 || binary.LittleEndian.Uint64(b[296:]) != 32<<10 {
		t.Errorf("OACS %02x, FNA %02x, SANICAP % x, UNVMCAP % x", b[256], b[524], b[328:332], b[296:304])
	}
	g.nvmeWant("sanitize", 0x02, nvme.Command{Opcode: 0x84, CDW10: 2})
	g.nvmeWant("log 81h", 0x109, nvme.Command{Opcode: 0x02, CDW10: 0x81 | 127<<16, Data: make([]byte, 512)})
	for name, x := range map[string]struct {
		cdw10  uint32
		status uint16
	}{"SES 3": {3 << 9, 0x02}, "no such format": {2, 0x10a}, "PI": {1<<9 | 1<<5, 0x10a}} {
		g.nvmeWant(name, x.status, nvme.Command{Opcode: 0x80, NSID: 1, CDW10: x.cdw10})
	}
	g.wantBegun()
	if b := g.identify(0, 1, 0); b[25] != 1 || b[26] != 0 || b[130] != 9 || b[134] != 12 || b[32] != 0x80 || binary.LittleEndian.Uint64(b) != 2048 {
		t.Errorf("% x", b[:140])
	}
	g.nvmeWant("to 4096", 0, nvme.Command{Opcode: 0x80, NSID: 1, CDW10: 1<<9 | 1<<4 | 1})
	if b := g.identify(0, 1, 0); b[26] != 0x11 || binary.LittleEndian.Uint64(b) != 256 {
		t.Errorf("% x", b[:140])
	}
	if geometry, err := g.tr.Geometry(t.Context()); err != nil || geometry.LogicalBlock != 4096 || geometry.SizeBytes != 1<<20 {
		t.Errorf("%+v, %v", geometry, err)
	}
	p := make([]byte, 4096)
	g.nvmeWant("read", 0, nvme.Command{Queue: nvme.IO, Opcode: 0x02, NSID: 1, CDW10: 255, Data: p})
	if !zero(p) {
		t.Errorf("reads % x", p[:8])
	}
	if _, h, err := g.medium().CountCanary(canary); err != nil || h == 0 || g.canaryIn(0, 1<<20+32<<10) {
		t.Errorf("%d canaries are left where nothing is allocated, %v", h, err)
	}
	g.nvmeWant("of all", 0, nvme.Command{Opcode: 0x80, NSID: everyNamespace, CDW10: 2 << 9})
	g.wantBegun("80:00000211@1", "80:00000400")
}

func TestFormatIsRefused(t *testing.T) {
	for _, x := range []struct {
		name, fault string
		spec        Spec
		status      uint16
	}{
		{name: "write protection", spec: Spec{ReadOnly: true}, status: 0x20},
		{name: "firmware", spec: Spec{FirmwarePending: 0x111}, status: 0x111},
		{name: "reservation", spec: Spec{ReservedBy: "1"}, status: 0x83},
		{name: "command sequence", fault: "sanitize-refused:12", status: 0x0c},
	} {
		var list []string
		if x.fault != "" {
			list = append(list, x.fault)
		}
		x.spec.Profile = "nvme-format"
		g := newRig(t, x.spec, list...)
		g.nvmeWant(x.name, x.status, nvme.Command{Opcode: 0x80, NSID: 1, CDW10: 1 << 9})
		g.wantBegun()
		g.holds(x.name, true, true)
	}
}

// Lies and failures of a format: what it says, and what is there.
func TestFormatFaults(t *testing.T) {
	for _, x := range []struct {
		name, fault         string
		ses                 uint32
		status              uint16
		addressable, hidden bool
	}{
		{name: "nothing", fault: "lie:nothing", ses: 1, addressable: true, hidden: true},
		{name: "ignored", fault: "lie:ignored", ses: 2, addressable: true, hidden: true},
		{name: "the key stays", fault: "lie:nothing", ses: 2, addressable: true, hidden: true},
		{name: "the key stays, and what is seen is overwritten", fault: "lie:hidden", ses: 2, hidden: true},
		{name: "the key stays, and what is seen is deallocated", fault: "lie:deallocate", ses: 2, hidden: true},
		{name: "hidden left", fault: "lie:hidden", ses: 1, hidden: true},
		{name: "only deallocated", fault: "lie:deallocate", ses: 1, hidden: true},
		{name: "skipped", fault: "skip-erase:100+50", ses: 1, addressable: true},
		{name: "progress, which a format does not show", fault: "progress-stuck:20000", ses: 1},
		{name: "fails", fault: "sanitize-fail:40", ses: 1, status: 0x06, addressable: true, hidden: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			g := newRig(t, Spec{Profile: "nvme-format"}, x.fault)
			g.nvmeWant("format", x.status, nvme.Command{Opcode: 0x80, NSID: everyNamespace, CDW10: x.ses << 9})
			g.holds("afterwards", x.addressable, x.hidden)
			if x.status != 0 && (g.canaryIn(0, 256<<10) || !g.canaryIn(512<<10, 512<<10)) {
				t.Error("it failed before or after its 40 percent")
			}
		})
	}
	for _, ses := range []uint32{1, 2} {
		g := newRig(t, Spec{Profile: "nvme-format"}, "format-reset:50")
		command := nvme.Command{Opcode: 0x80, NSID: 1, CDW10: ses << 9}
		if _, err := g.tr.NVMe(t.Context(), &command); !errors.Is(err, syscall.EINTR) {
			t.Errorf("SES %d, reset: %v", ses, err)
		}
		g.holds("half of it", true, true)
		if erased := !g.canaryIn(0, 256<<10); erased != (ses == 1) {
			t.Errorf("SES %d: the first quarter was erased: %v", ses, erased)
		}
		g.nvmeWant("again", 0, command)
		g.holds("all of it", false, false)
	}
	g := newRig(t, Spec{Profile: "nvme-format"}, "sanitize-power-cut:50")
	if _, err := g.tr.NVMe(t.Context(), &nvme.Command{Opcode: 0x80, NSID: 1, CDW10: 1 << 9}); !errors.Is(err, devices.ErrGone) {
		t.Errorf("without power: %v", err)
	}
	g.reopen()
	g.wait(1000)
	g.holds("half of it", true, true)
	if g.canaryIn(0, 256<<10) {
		t.Error("the first quarter was not erased")
	}
}

// An erase reaches what was deallocated before in the same namespace, and leaves that of another.
func TestFormatReachesDeallocatedBlocks(t *testing.T) {
	for _, ses := range []uint32{1, 2} {
		g := newRig(t, Spec{Profile: "nvme-format", SecondNamespace: true, AttachAll: true, HiddenBytes: 512})
		left := func() int64 {
			t.Helper()
			a, h, err := g.medium().CountCanary(canary)
			if err != nil || a != 0 {
				t.Fatalf("%d canaries, %v", a, err)
			}
			return h
		}
		g.nvmeWant("deallocate", 0, nvme.Command{Opcode: 0x80, NSID: everyNamespace})
		all := left()
		g.nvmeWant("erase one", 0, nvme.Command{Opcode: 0x80, NSID: 1, CDW10: ses << 9})
		if one := left(); one == 0 || one > all/2 {
			t.Errorf("SES %d of one: %d of %d canaries are left", ses, one, all)
		}
		g.nvmeWant("erase all", 0, nvme.Command{Opcode: 0x80, NSID: everyNamespace, CDW10: ses << 9})
		if n := left(); n != 0 {
			t.Errorf("SES %d of all: %d canaries are left", ses, n)
		}
	}
}

// A format takes its time; others find the drive at it.
func TestFormatInProgress(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-format"})
	g.rack.Clock = nil
	_, err := g.rack.remember("nvme0", nil, func(info Info, m *memory) error {
		m.Units[0].Operation = &operation{Kind: kindBlock, Format: &formatNVM{NSIDs: []uint32{1}}, Since: time.Now()}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	g.nvmeWant("format", 0x84, nvme.Command{Opcode: 0x80, NSID: 1, CDW10: 1 << 9})
	g.nvmeWant("read", 0x84, nvme.Command{Queue: nvme.IO, Opcode: 0x02, NSID: 1, Data: make([]byte, 512)})
	if b := g.identify(0, 1, 0); b[32] < 0x80+90 {
		t.Errorf("FPI %02x", b[32])
	}
	g.wantBegun()
}
