package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// zones is a report from an address on: the state and the write pointer of each zone.
func (g *rig) zones(slba uint32) (states []byte, pointers []uint64) {
	g.t.Helper()
	b := make([]byte, 4096)
	g.nvmeWant("report zones", 0, nvme.Command{Queue: nvme.IO, Opcode: 0x7a, NSID: 1, CDW10: slba, CDW12: 1023, Data: b})
	for n := range binary.LittleEndian.Uint64(b) {
		z := b[64*(n+1):]
		states, pointers = append(states, z[1]>>4), append(pointers, binary.LittleEndian.Uint64(z[24:]))
	}
	return states, pointers
}

func (g *rig) write(what string, status uint16, slba uint32, blocks int, fill byte) {
	g.t.Helper()
	g.nvmeWant(what, status, nvme.Command{Queue: nvme.IO, Opcode: 0x01, NSID: 1, CDW10: slba, CDW12: uint32(blocks - 1), Data: bytes.Repeat([]byte{fill}, 512*blocks)})
}

func (g *rig) read(slba uint32) []byte {
	g.t.Helper()
	p := make([]byte, 512)
	g.nvmeWant("read", 0, nvme.Command{Queue: nvme.IO, Opcode: 0x02, NSID: 1, CDW10: slba, Data: p})
	return p
}

func TestZones(t *testing.T) {
	const reset, finish, all = 4, 2, 1 << 8
	g := newRig(t, Spec{Profile: "nvme-zns", SizeBytes: 4 << 20})
	send := func(what string, status uint16, slba, action uint32) {
		t.Helper()
		g.nvmeWant(what, status, nvme.Command{Queue: nvme.IO, Opcode: 0x79, NSID: 1, CDW10: slba, CDW13: action})
	}
	if b := g.identify(5, 1, 2<<24); binary.LittleEndian.Uint64(b[2816:]) != 2048 {
		t.Errorf("ZSZE % x", b[2816:2824])
	}
	if b := g.identify(3, 1, 0); b[0] != 1 || b[12] != 2 || b[32] != 4 || b[36] != 2 {
		t.Errorf("descriptors % x", b[:40])
	}
	g.identify(6, 0, 2<<24)
	for file, want := range map[string]string{"zoned": "host-managed", "chunk_sectors": "2048"} {
		if got, err := readText(filepath.Join(g.rack.Root(), "sys/block/nvme0n1/queue", file)); err != nil || got != want {
			t.Errorf("%s %q, %v", file, got, err)
		}
	}
	if states, _ := g.zones(0); !bytes.Equal(states, []byte{14, 14, 14, 14}) {
		t.Errorf("full of old data: %x", states)
	}
	if !bytes.Contains(g.read(5), canary) {
		t.Error("old data is not read")
	}
	g.write("to a full zone", 0x1b9, 0, 1, 1)
	send("reset inside a zone", 0x02, 5, reset)
	send("reset behind the end", 0x80, 4*2048, reset)
	send("offline", 0x02, 0, 5)
	send("reset of one", 0, 2048, reset)
	if states, pointers := g.zones(0); !bytes.Equal(states, []byte{14, 1, 14, 14}) || pointers[1] != 2048 {
		t.Errorf("%x %d", states, pointers)
	}
	if !zero(g.read(2048)) || !g.canaryIn(1<<20, 1<<20) {
		t.Error("a reset erased, or left data to be read")
	}
	g.write("not at the write pointer", 0x1bc, 2049, 1, 1)
	g.write("at the write pointer", 0, 2048, 8, 1)
	g.write("there again", 0x1bc, 2048, 1, 1)
	g.write("behind that", 0, 2056, 1, 2)
	if states, pointers := g.zones(2048); !bytes.Equal(states, []byte{2, 14, 14}) || pointers[0] != 2057 {
		t.Errorf("%x %d", states, pointers)
	}
	if got := g.read(2056); got[0] != 2 || !zero(g.read(2057)) {
		t.Errorf("reads %x", got[:4])
	}
	g.cycle()
	if _, pointers := g.zones(2048); pointers[0] != 2057 {
		t.Errorf("after a power cycle: %d", pointers)
	}
	send("finish", 0, 2048, finish)
	g.write("to a finished zone", 0x1b9, 2057, 1, 1)
	send("reset of all", 0, 0, reset|all)
	b := backend(t, g.tr)
	for off := int64(0); off < 4<<20; off += 256 << 10 {
		if _, err := b.WriteAt(bytes.Repeat([]byte{7}, 256<<10), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Flush(); err != nil {
		t.Fatal(err)
	}
	g.holds("all written in order", false, true)
	for _, x := range []struct {
		cdw10 uint32
		want  []byte
	}{{0x204, []byte{14, 14, 14, 14}}, {0x002, []byte{1, 1, 1, 1}}} {
		g.nvmeWant("sanitize", 0, nvme.Command{Opcode: 0x84, CDW10: x.cdw10})
		g.nvmeWant("report meanwhile", 0x1d, nvme.Command{Queue: nvme.IO, Opcode: 0x7a, NSID: 1, CDW12: 1023, Data: make([]byte, 4096)})
		g.wait(1000)
		if states, _ := g.zones(0); !bytes.Equal(states, x.want) {
			t.Errorf("after sanitize %x: %x", x.cdw10, states)
		}
	}
	g.holds("sanitized", false, false)
	g = newRig(t, Spec{Profile: "nvme-ssd"})
	g.nvmeWant("of another drive", 0x01, nvme.Command{Queue: nvme.IO, Opcode: 0x79, NSID: 1, CDW13: reset})
}

// What keeps a drive from erasing itself, and what takes it away.
func TestWhatForbidsASanitize(t *testing.T) {
	for _, x := range []struct {
		name, profile string
		spec          Spec
		status        uint16
		ends          bool // with a power cycle
	}{
		{name: "write protection", profile: "nvme-write-protected", status: 0x20},
		{name: "persistent memory region", profile: "nvme-pmr", status: 0x123, ends: true},
		{name: "firmware", profile: "nvme-firmware-pending", status: 0x10b, ends: true},
		{name: "firmware, subsystem reset", profile: "nvme-ssd", spec: Spec{FirmwarePending: 0x110}, status: 0x110, ends: true},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.spec.Profile = x.profile
			g := newRig(t, x.spec)
			slots := byte(1)
			if x.status&0xf00 == 0x100 && x.status != 0x123 {
				slots = 0x21
			}
			if b := g.log(0x03); b[0] != slots || (b[16] == 'V') != (slots == 0x21) {
				t.Errorf("AFI %02x, %q", b[0], b[8:24])
			}
			if b := g.identify(0, 1, 0); b[99] != flagBit(x.status == 0x20) {
				t.Errorf("NSATTR %02x", b[99])
			}
			g.nvmeWant("sanitize", x.status, nvme.Command{Opcode: 0x84, CDW10: 2})
			g.wantBegun()
			g.cycle()
			want := x.status
			if x.ends {
				want = 0
			}
			g.nvmeWant("after a power cycle", want, nvme.Command{Opcode: 0x84, CDW10: 2})
		})
	}
}

func TestNVMeTells(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-boot"}, "smart-critical:13")
	if b := g.identify(1, 0, 0); b[102] == 0 || binary.LittleEndian.Uint32(b[312:])&7 != 1 {
		t.Errorf("BPCAP %02x, RPMBS % x", b[102], b[312:316])
	}
	if b := g.log(0x02); b[0] != 13 {
		t.Errorf("critical warning %02x", b[0])
	}
	if b := g.log(0x15); b[0] != 0x15 || binary.LittleEndian.Uint32(b[4:])&0x7fff != 4 {
		t.Errorf("boot partition log % x", b[:16])
	}
	report := func(status uint16, cdw11 uint32, n int) []byte {
		t.Helper()
		b := make([]byte, n)
		g.nvmeWant("reservation report", status, nvme.Command{Queue: nvme.IO, Opcode: 0x0e, NSID: 1, CDW10: uint32(n/4 - 1), CDW11: cdw11, Data: b})
		return b
	}
	report(0x01, 0, 64)
	g = newRig(t, Spec{Profile: "nvme-ssd", ReservedBy: "0xabcd"})
	if b := g.identify(0, 1, 0); b[31]&2 == 0 {
		t.Errorf("RESCAP %02x", b[31])
	}
	if b := g.identify(1, 0, 0); b[520]&(1<<5) == 0 {
		t.Errorf("ONCS %02x", b[520])
	}
	if b := report(0, 0, 4096); b[4] != 1 || b[5] != 1 || b[26] != 1 || binary.LittleEndian.Uint64(b[40:]) != 0xabcd {
		t.Errorf("% x", b[:48])
	}
	if b := report(0, 1, 4096); b[4] != 1 || b[5] != 1 || b[66] != 1 || binary.LittleEndian.Uint64(b[72:]) != 0xabcd {
		t.Errorf("extended: % x", b[:96])
	}
	g.write("reserved", 0x83, 0, 1, 1)
	g.nvmeWant("boot partition log of a drive without", 0x109, nvme.Command{Opcode: 0x02, CDW10: 0x15 | 127<<16, Data: make([]byte, 512)})
	g = newRig(t, Spec{Profile: "nvme-ssd", ReservedBy: "0xabcd", Registrants: 2})
	if b := report(0, 0, 4096); b[5] != 3 || b[24+2] != 0 || b[72+2] != 1 || binary.LittleEndian.Uint64(b[24+16:]) != 0xabcf || binary.LittleEndian.Uint64(b[72+16:]) != 0xabcd {
		t.Errorf("three are registered, the last holds it: % x", b[:96])
	}
	if _, err := g.rack.Add(Spec{Profile: "nvme-ssd", Registrants: 1}); err == nil {
		t.Error("registered where nobody has reserved it")
	}
	g = newRig(t, Spec{Profile: "nvme-shared"})
	if b := report(0, 1, 4096); !zero(b) {
		t.Errorf("nobody has it reserved: % x", b[:64])
	}
}

// A bridge that passes no NVMe command gets none.
func TestNVMeInADock(t *testing.T) {
	g := newRig(t, Spec{Profile: "usb-nvme"})
	path := linkOf(t, filepath.Join(g.rack.Root(), "sys/block/sda"))
	if g.node != "/dev/sda" || !bytes.Contains([]byte(path), []byte("/usb1/")) {
		t.Errorf("%s at %s", g.node, path)
	}
	if r, _ := g.send([]byte{0x85, 8, 0x0e, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xec, 0}, nil, 512); key(r) != 0x052000 {
		t.Errorf("ATA pass-through: %06x", key(r))
	}
	if n := g.medium().Strays(); n != 0 {
		t.Errorf("%d NVMe commands before any was sent", n)
	}
	if _, err := g.tr.NVMe(t.Context(), &nvme.Command{Opcode: 0x84, CDW10: 2}); !errors.Is(err, devices.ErrNoDoor) {
		t.Errorf("an NVMe command: %v", err)
	}
	if n := g.medium().Strays(); n != 1 {
		t.Errorf("%d NVMe commands after one", n)
	}
	g.holds("afterwards", true, true)
}

// exists lists which of some paths of a rack are there.
func exists(r *Rack, paths ...string) (list []string) {
	for _, p := range paths {
		if _, err := os.Stat(filepath.Join(r.Root(), p)); err == nil {
			list = append(list, p)
		}
	}
	return list
}

func TestNativeMultipath(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-multipath"})
	sys := []string{"sys/block/nvme0n1", "sys/block/nvme0c0n1", "sys/block/nvme0c1n1", "sys/class/nvme/nvme0", "sys/class/nvme/nvme1", "sys/class/nvme-subsystem/nvme-subsys0/nvme1/cntlid"}
	if got := exists(g.rack, sys...); !slices.Equal(got, sys) {
		t.Errorf("only %q", got)
	}
	if got := exists(g.rack, "sys/block/nvme0c0n1/dev", "dev/nvme0c0n1", "sys/block/nvme1n1"); got != nil {
		t.Errorf("a hidden path has %q", got)
	}
	for at, want := range map[string]string{"nvme0n1/device": "nvme-subsys0", "nvme0c1n1/device": "nvme1", "nvme0n1/device/subsystem": "nvme-subsystem"} {
		if got := filepath.Base(linkOf(t, filepath.Join(g.rack.Root(), "sys/block", at))); got != want {
			t.Errorf("%s is %s, want %s", at, got, want)
		}
	}
	if b := g.identify(0x13, 0, 0); b[0] != 2 || b[2] != 1 || b[4] != 2 {
		t.Errorf("controllers % x", b[:6])
	}
	if node, err := g.rack.Add(Spec{Profile: "nvme-ssd"}); err != nil || node != "/dev/nvme2n1" {
		t.Errorf("the next drive is %s, %v", node, err)
	}
	g.fault("pulled:1")
	g.reopen()
	if _, err := g.tr.Geometry(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := backend(t, g.tr).ReadAt(make([]byte, 512), 0); !errors.Is(err, devices.ErrGone) {
		t.Errorf("pulled: %v", err)
	}
	if got := exists(g.rack, sys[:5]...); got != nil {
		t.Errorf("of a pulled drive there is %q", got)
	}
	if err := g.rack.ClearFaults("S"); err != nil || len(exists(g.rack, sys...)) != len(sys) {
		t.Errorf("after it was put back: %q, %v", exists(g.rack, sys...), err)
	}
}

func TestTwoControllers(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-two-controllers"})
	first := g.identify(0, 1, 0)
	if id := g.identify(1, 0, 0); id[76]&2 == 0 || id[78] != 1 || first[30]&1 == 0 || zero(first[104:120]) {
		t.Errorf("CMIC %02x, CNTLID %d, NMIC %02x, NGUID % x", id[76], id[78], first[30], first[104:120])
	}
	both := g.tr
	g.tr = open(t, g.rack, "/dev/nvme1n1")
	second := g.tr
	if id := g.identify(1, 0, 0); id[78] != 2 || !bytes.Equal(g.identify(0, 1, 0), first) || len(g.identify(2, 0, 0)) == 0 || g.identify(2, 0, 0)[4] != 0 {
		t.Errorf("CNTLID %d, or another namespace", id[78])
	}
	if m := g.medium(); m.Addressable != 1<<20 {
		t.Errorf("%d addressable bytes", m.Addressable)
	}
	g.write("through the second", 0, 3, 1, 9)
	g.nvmeWant("flush", 0, nvme.Command{Queue: nvme.IO, NSID: 1})
	g.tr = both
	if got := g.read(3); got[0] != 9 {
		t.Errorf("the first controller reads %x", got[:4])
	}
	closeIt(t, second)
}

func TestTwoPortsOfASASDrive(t *testing.T) {
	for _, mapped := range []bool{false, true} {
		r := newRack(t, Spec{Profile: "sas-multipath", Serial: "S", SizeBytes: 1 << 20, Mapped: mapped})
		same := func(file string) bool {
			a, errA := os.ReadFile(filepath.Join(r.Root(), "sys/block/sda/device", file))
			b, errB := os.ReadFile(filepath.Join(r.Root(), "sys/block/sdb/device", file))
			if err := errors.Join(errA, errB); err != nil {
				t.Fatal(err)
			}
			return bytes.Equal(a, b)
		}
		if !same("vpd_pg80") || !same("vpd_pg83") || !same("wwid") || same("sas_address") {
			t.Error("not two ports of one unit")
		}
		if len(exists(r, "sys/class/scsi_host/host0", "sys/class/scsi_host/host1")) != 2 {
			t.Error("not on two adapters")
		}
		dm := []string{"sys/block/dm-0/slaves/sdb/dev", "sys/block/sda/holders/dm-0", "sys/block/sdb/holders/dm-0", "dev/dm-0"}
		if got := exists(r, dm...); mapped && !slices.Equal(got, dm) || !mapped && got != nil {
			t.Errorf("mapped %v: %q", mapped, got)
		}
		nodes := []string{"/dev/sda", "/dev/sdb"}
		if mapped {
			if uuid, err := readText(filepath.Join(r.Root(), "sys/block/dm-0/dm/uuid")); err != nil || uuid != "mpath-3"+wwn("S") {
				t.Errorf("%q, %v", uuid, err)
			}
			var inUse *devices.InUseError
			for _, node := range nodes {
				if _, err := r.Opener()(t.Context(), node, devices.Exclusive); !errors.As(err, &inUse) {
					t.Errorf("%s below a map was opened: %v", node, err)
				}
			}
			nodes = []string{"/dev/dm-0"}
		}
		for n, node := range nodes {
			tr := open(t, r, node)
			p := bytes.Repeat([]byte{byte(n)}, 512)
			if _, err := backend(t, tr).WriteAt(p, int64(n)*512); err != nil {
				t.Errorf("%s: %v", node, err)
			}
			if _, err := backend(t, tr).ReadAt(p, 0); err != nil || p[0] != 0 {
				t.Errorf("%s reads %x, %v", node, p[:2], err)
			}
			closeIt(t, tr)
		}
		if node, err := r.Add(Spec{Profile: "sas-hdd"}); err != nil || node != "/dev/sdc" {
			t.Errorf("the next drive is %s, %v", node, err)
		}
	}
}

func TestSpecsOfNVMeDrives(t *testing.T) {
	r := newRack(t)
	for name, s := range map[string]Spec{
		"scope word": {Profile: "nvme-format", FormatScope: []string{"all"}}, "scope of a drive without format": {Profile: "nvme-ssd", FormatScope: []string{"fns"}},
		"firmware status": {Profile: "nvme-ssd", FirmwarePending: 0x20}, "PMR of a disk": {Profile: "sata-hdd", PMREnabled: true},
		"zones": {Profile: "nvme-zns", ZoneBytes: 3 << 20}, "zones of another": {Profile: "nvme-ssd", ZoneBytes: 1 << 20}, "unallocated": {Profile: "nvme-ssd", UnallocatedBytes: 2 << 20},
		"map of one path": {Profile: "sas-hdd", Mapped: true}, "map of NVMe": {Profile: "nvme-multipath", Mapped: true}, "namespace of a disk": {Profile: "sas-hdd", SecondNamespace: true},
	} {
		if _, err := r.Add(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
