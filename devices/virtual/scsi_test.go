package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/devices"
)

// scsiRig is a rig whose first unit attention was taken.
func scsiRig(t *testing.T, spec Spec, faults ...string) *rig {
	t.Helper()
	g := newRig(t, spec, faults...)
	g.want("the power-on", 0x062900, tur, nil, 0)
	return g
}

var tur = []byte{0, 0, 0, 0, 0, 0}

// ofSanitize is SANITIZE with IMMED.
func ofSanitize(action byte, length int) []byte {
	return []byte{0x48, 0x80 | action, 0, 0, 0, 0, 0, byte(length >> 8), byte(length), 0}
}

// sense asks for sense data in fixed format, and returns it as key does, with the progress.
func (g *rig) sense() (code int, progress uint16) {
	g.t.Helper()
	b := g.want("REQUEST SENSE", 0, []byte{3, 0, 0, 0, 252, 0}, nil, 252)
	if len(b) != 18 || b[0] != 0x70 {
		g.t.Fatalf("% x", b)
	}
	if b[15]&0x80 != 0 {
		progress = binary.BigEndian.Uint16(b[16:])
	}
	return int(b[2])<<16 | int(b[12])<<8 | int(b[13]), progress
}

func TestSCSISanitizeOnTheMedium(t *testing.T) {
	pattern := []byte{0x81, 0, 0, 4, 1, 2, 3, 4} // one pass, INVERT
	for _, x := range []struct {
		name, profile, fault string
		cdb, list            []byte
		begun                string
		seconds              int
		addressable, hidden  bool
		first                []byte
	}{
		{name: "block", profile: "sas-ssd", cdb: ofSanitize(2, 0), begun: "48:02", seconds: 100, first: []byte{0, 0, 0, 0}},
		{name: "crypto", profile: "sas-ssd", cdb: ofSanitize(3, 0), begun: "48:03", seconds: 50},
		{name: "overwrite", profile: "sas-hdd", cdb: ofSanitize(1, 8), list: pattern, begun: "48:01", seconds: 100, first: []byte{1, 2, 3, 4, 1, 2, 3, 4}},
		{name: "lie", profile: "sas-ssd", fault: "lie:nothing", cdb: ofSanitize(2, 0), begun: "48:02", seconds: 100, addressable: true, hidden: true},
		{name: "hidden left", profile: "sas-hdd", fault: "lie:hidden", cdb: ofSanitize(1, 8), list: pattern, begun: "48:01", seconds: 100, hidden: true},
		{name: "deallocated", profile: "sas-ssd", fault: "lie:deallocate", cdb: ofSanitize(2, 0), begun: "48:02", seconds: 100, hidden: true},
		{name: "skipped", profile: "sas-ssd", fault: "skip-erase:9+3", cdb: ofSanitize(2, 0), begun: "48:02", seconds: 100, addressable: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var faults []string
			if x.fault != "" {
				faults = append(faults, x.fault)
			}
			g := scsiRig(t, Spec{Profile: x.profile}, faults...)
			g.want("start", 0, x.cdb, x.list, 0)
			g.wait(x.seconds / 2)
			if code, progress := g.sense(); code != 0x02041b || progress < 0x7f00 || progress > 0x8100 {
				t.Errorf("half way: %06x, progress %04x", code, progress)
			}
			// 72h, NOT READY, 04/1B; a sense key specific descriptor.
			b := g.want("REQUEST SENSE in descriptor format", 0, []byte{3, 1, 0, 0, 252, 0}, nil, 252)
			if len(b) != 16 || !bytes.Equal(b[:10], []byte{0x72, 2, 4, 0x1b, 0, 0, 0, 8, 2, 6}) || b[12] != 0x80 || b[13] != 0x80 && b[13] != 0x7f {
				t.Errorf("% x", b)
			}
			g.wait(x.seconds / 2)
			if code, _ := g.sense(); code != 0 {
				t.Errorf("at the end: %06x", code)
			}
			g.want("TEST UNIT READY at the end", 0, tur, nil, 0)
			g.holds("afterwards", x.addressable, x.hidden)
			p := make([]byte, 512)
			if _, err := backend(t, g.tr).ReadAt(p, 512*5); err != nil || !bytes.HasPrefix(p, x.first) {
				t.Errorf("reads %x…, %v", p[:8], err)
			}
			if got := g.medium().Begun(); !slices.Equal(got, []string{x.begun}) {
				t.Errorf("begun %q", got)
			}
		})
	}
}

func TestWhatRunsDuringASanitize(t *testing.T) {
	commands := []struct {
		name    string
		cdb     []byte
		in      int
		allowed bool
	}{
		{"INQUIRY", []byte{0x12, 0, 0, 0, 96, 0}, 96, true}, {"READ CAPACITY(10)", []byte{0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 8, true},
		{"READ CAPACITY(16)", []byte{0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0}, 32, true}, {"REPORT LUNS", []byte{0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, 64, true},
		{"LOG SENSE temperature", []byte{0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 64, 0}, 64, true}, {"MODE SENSE caching", []byte{0x5a, 0, 8, 0, 0, 0, 0, 0, 64, 0}, 64, true},
		{"RSOC", []byte{0xa3, 0x0c, 3, 0x48, 0, 2, 0, 0, 0, 64, 0, 0}, 64, true},
		{"TEST UNIT READY", tur, 0, false}, {"LOG SENSE background", []byte{0x4d, 0, 0x55, 0, 0, 0, 0, 0, 64, 0}, 64, false}, {"MODE SENSE all", []byte{0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0}, 255, false},
		{"READ(16)", []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}, 512, false}, {"SYNCHRONIZE CACHE", []byte{0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
		{"FORMAT UNIT", []byte{4, 0, 0, 0, 0, 0}, 0, false}, {"READ DEFECT DATA", []byte{0xb7, 0x0b, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0}, 64, false},
		{"PERSISTENT RESERVE IN", []byte{0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0}, 64, false},
	}
	g := scsiRig(t, Spec{Profile: "sas-ssd"}, "sanitize-fail:60")
	check := func(when string, sense int) {
		t.Helper()
		for _, c := range commands {
			want := sense
			if c.allowed {
				want = 0
			}
			g.want(c.name+" "+when, want, c.cdb, nil, c.in)
		}
		if ok, _ := g.readable(); ok {
			t.Errorf("the block queue reads %s", when)
		}
	}
	g.want("start", 0, ofSanitize(2, 0), nil, 0)
	check("while it runs", 0x02041b)
	g.want("another", 0x02041b, ofSanitize(2, 0), nil, 0)
	g.wait(60)
	check("after it failed", 0x033103)
	if code, _ := g.sense(); code != 0x033103 {
		t.Errorf("sense %06x", code)
	}
	g.want("exit of a restricted failure", 0x052400, ofSanitize(0x1f, 0), nil, 0)
	g.want("AUSE after a restricted failure", 0x052400, ofSanitize(0x22, 0), nil, 0)
	if err := g.rack.ClearFaults("S"); err != nil {
		t.Fatal(err)
	}
	g.want("another restricted one", 0, ofSanitize(2, 0), nil, 0)
	g.wait(100)
	g.want("ready", 0, tur, nil, 0)
	g.holds("afterwards", false, false)
}

func TestUnrestrictedSanitizeIsLeft(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-ssd"}, "sanitize-fail:60")
	g.want("exit without a failure", 0, ofSanitize(0x1f, 0), nil, 0)
	g.want("start with AUSE", 0, ofSanitize(0x22, 0), nil, 0)
	g.wait(60)
	g.want("failed", 0x033103, tur, nil, 0)
	g.want("exit", 0, ofSanitize(0x1f, 0), nil, 0)
	g.want("ready", 0, tur, nil, 0)
	g.holds("afterwards", true, true)
}

func TestSanitizeRefusals(t *testing.T) {
	for _, x := range []struct {
		name, profile, fault string
		cdb, list            []byte
		sense                int
	}{
		{name: "no such action", profile: "sas-ssd", cdb: ofSanitize(1, 8), list: []byte{1, 0, 0, 4, 0, 0, 0, 0}, sense: 0x052400},
		{name: "block erase with a list", profile: "sas-ssd", cdb: ofSanitize(2, 8), list: make([]byte, 8), sense: 0x052400},
		{name: "list of four bytes", profile: "sas-hdd", cdb: ofSanitize(1, 4), list: []byte{1, 0, 0, 1}, sense: 0x052400},
		{name: "list longer than a block", profile: "sas-hdd", cdb: ofSanitize(1, 517), list: make([]byte, 517), sense: 0x052400},
		{name: "no pass", profile: "sas-hdd", cdb: ofSanitize(1, 8), list: []byte{0, 0, 0, 4, 0, 0, 0, 0}, sense: 0x052600},
		{name: "TEST", profile: "sas-hdd", cdb: ofSanitize(1, 8), list: []byte{0x21, 0, 0, 4, 0, 0, 0, 0}, sense: 0x052600},
		{name: "no pattern", profile: "sas-hdd", cdb: ofSanitize(1, 8), list: []byte{1, 0, 0, 0, 0, 0, 0, 0}, sense: 0x052600},
		{name: "pattern longer than the list", profile: "sas-hdd", cdb: ofSanitize(1, 8), list: []byte{1, 0, 0, 5, 0, 0, 0, 0}, sense: 0x052600},
		{name: "fault", profile: "sas-ssd", fault: "sanitize-refused:2", cdb: ofSanitize(2, 0), sense: 0x052400},
		{name: "ignored", profile: "sas-ssd", fault: "lie:ignored", cdb: ofSanitize(2, 0)},
	} {
		t.Run(x.name, func(t *testing.T) {
			var faults []string
			if x.fault != "" {
				faults = append(faults, x.fault)
			}
			g := scsiRig(t, Spec{Profile: x.profile}, faults...)
			g.want("sanitize", x.sense, x.cdb, x.list, 0)
			if code, _ := g.sense(); code != 0 || len(g.medium().Begun()) != 0 {
				t.Errorf("sense %06x, begun %q", code, g.medium().Begun())
			}
		})
	}
	g := scsiRig(t, Spec{Profile: "sas-ssd", ReadOnly: true})
	g.want("write-protected", 0x072700, ofSanitize(2, 0), nil, 0)
	g = scsiRig(t, Spec{Profile: "sas-ssd", ReservedBy: "c0ffee"})
	if r, _ := g.send(ofSanitize(2, 0), nil, 0); r.Status != 0x18 {
		t.Errorf("reserved by another host: status %02x", r.Status)
	}
	for fault, want := range map[string]int{"log-missing:sanitize": 0x052000, "log-zero:sanitize": 0} {
		g = scsiRig(t, Spec{Profile: "sas-ssd"}, fault)
		g.want("start", 0, ofSanitize(2, 0), nil, 0)
		if b := g.want(fault, want, []byte{3, 0, 0, 0, 252, 0}, nil, 252); !zero(b) {
			t.Errorf("% x", b)
		}
	}
}

// A sanitize without IMMED takes as long as it takes, and the host's patience does not.
func TestSanitizeThatIsWaitedFor(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-ssd"})
	if r, _ := g.send([]byte{0x48, 2, 0, 0, 0, 0, 0, 0, 0, 0}, nil, 0); r.HostStatus != 3 {
		t.Errorf("%+v", r)
	}
	if code, _ := g.sense(); code != 0x02041b {
		t.Errorf("it does not go on: %06x", code)
	}
	g.cycle()
	if code, _ := g.sense(); code != 0x062900 {
		t.Errorf("after a power cycle: %06x", code)
	}
	if code, _ := g.sense(); code != 0x02041b {
		t.Errorf("it does not go on after a power cycle: %06x", code)
	}
}

func TestWriteAfterErase(t *testing.T) {
	for value, want := range map[uint8]int{0: 0, 1: 0, 2: 0x031100, 3: 0x031115} {
		g := scsiRig(t, Spec{Profile: "sas-ssd", WriteAfterErase: value})
		if b := g.want("page B1h", 0, []byte{0x12, 1, 0xb1, 0, 64, 0}, nil, 64); len(b) != 64 || b[7]>>6 != value || b[7]>>4&3 != value || b[5] != 1 {
			t.Errorf("page B1h: % x", b[:8])
		}
		read := []byte{0x88, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0}
		g.want("before", 0, read, nil, 512)
		g.want("start", 0, ofSanitize(2, 0), nil, 0)
		g.wait(100)
		if b := g.want("erased", want, read, nil, 512); value == 1 && zero(b) {
			t.Error("value 1 reads zeros")
		}
		if ok, _ := g.readable(); ok != (want == 0) {
			t.Errorf("value %d: the block queue reads: %v", value, ok)
		}
		g.want("write", 0, []byte{0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0}, make([]byte, 512), 0)
		if b := g.want("written", 0, read, nil, 512); !zero(b) {
			t.Errorf("value %d: written zeros read %x", value, b[:8])
		}
		read[9] = 3
		g.want("the block after", want, read, nil, 512)
	}
}

func TestTwoActuators(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-dual"})
	other, err := g.rack.Opener()(t.Context(), "/dev/sdb", devices.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, other)
	pages := map[devices.Transport][][]byte{}
	for _, tr := range []devices.Transport{g.tr, other} {
		for _, code := range []byte{0x80, 0x83} {
			_, b := g.sendTo(tr, []byte{0x12, 1, code, 0, 255, 0}, nil, 255)
			pages[tr] = append(pages[tr], b)
		}
		if geometry, err := tr.Geometry(t.Context()); err != nil || geometry.SizeBytes != 512<<10 {
			t.Errorf("%+v, %v", geometry, err)
		}
	}
	a, b := pages[g.tr], pages[other]
	if !bytes.Equal(a[0], b[0]) || len(a[1]) != 28 || len(b[1]) != 28 || bytes.Equal(a[1][4:16], b[1][4:16]) || !bytes.Equal(a[1][16:], b[1][16:]) || a[1][17]>>4&3 != 2 {
		t.Errorf("% x\n% x", a, b)
	}
	for node, at := range map[string]string{"sda": "/target0:0:0/0:0:0:0", "sdb": "/target0:0:0/0:0:0:1"} {
		if to := linkOf(t, g.rack.Root()+"/sys/block/"+node+"/device"); !strings.HasSuffix(to, at) {
			t.Errorf("%s is at %s", node, to)
		}
	}
	list := []byte{1, 0, 0, 1, 0}
	g.sendTo(other, ofSanitize(1, len(list)), list, 0)
	g.want("the first unit meanwhile", 0, tur, nil, 0)
	if ok, old := g.readable(); !ok || !old {
		t.Error("the first unit cannot be read meanwhile")
	}
	if _, err := backend(t, other).ReadAt(make([]byte, 512), 0); !errors.Is(err, errIO) {
		t.Errorf("the second can: %v", err)
	}
	g.wait(100)
	whole, half, err := g.medium().CountCanary(canary)
	if err != nil || whole < 30000 || whole > 31000 || half < 1800 || half > 2000 {
		t.Errorf("after the second unit's sanitize: %d, %d, %v", whole, half, err)
	}
	if got := g.medium().Begun(); !slices.Equal(got, []string{"48:01@1"}) {
		t.Errorf("begun %q", got)
	}
	g.want("the first unit's", 0, ofSanitize(1, len(list)), list, 0)
	g.wait(100)
	g.holds("after both", false, false)
}

func TestAttentions(t *testing.T) {
	g := scsiRig(t, Spec{Profile: "sas-hdd"}, "reset:4")
	g.want("second", 0, tur, nil, 0)
	g.want("third", 0, tur, nil, 0)
	if r, _ := g.send(tur, nil, 0); r.HostStatus != 8 {
		t.Fatalf("%+v", r)
	}
	g.want("INQUIRY takes no attention", 0, []byte{0x12, 0, 0, 0, 96, 0}, nil, 96)
	g.want("after the reset", 0x062900, tur, nil, 0)
	g.want("once", 0, tur, nil, 0)
	g.reopen()
	g.want("after opening it anew", 0, tur, nil, 0)
	g.cycle()
	g.want("after a power cycle", 0x062900, tur, nil, 0)
	g.want("once", 0, tur, nil, 0)
}
