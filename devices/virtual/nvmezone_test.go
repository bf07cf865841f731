package virtual

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// Zones with gaps behind them, zones that are lost, and a limit of those that are partly written.
func TestZonesThatAreNotWhole(t *testing.T) {
	const reset, finish, all = 4, 2, 1 << 8
	g := newRig(t, Spec{Profile: "nvme-zns", SizeBytes: 6 << 20, ZoneCapacityBytes: 512 << 10, ActiveZones: 2}, "zone-read-only:1+1", "zone-offline:2+1")
	send := func(what string, status uint16, slba, action uint32) {
		t.Helper()
		g.nvmeWant(what, status, nvme.Command{Queue: nvme.IO, Opcode: 0x79, NSID: 1, CDW10: slba, CDW13: action})
	}
	read := func(what string, status uint16, slba uint32, blocks int) {
		t.Helper()
		g.nvmeWant(what, status, nvme.Command{Queue: nvme.IO, Opcode: 0x02, NSID: 1, CDW10: slba, CDW12: uint32(blocks - 1), Data: make([]byte, 512*blocks)})
	}
	if b := g.identify(5, 1, 2<<24); binary.LittleEndian.Uint32(b[4:]) != 1 || binary.LittleEndian.Uint32(b[8:]) != 1 {
		t.Errorf("MAR and MOR % x", b[4:12])
	}
	b := make([]byte, 4096)
	g.nvmeWant("report zones", 0, nvme.Command{Queue: nvme.IO, Opcode: 0x7a, NSID: 1, CDW12: 1023, Data: b})
	if binary.LittleEndian.Uint64(b[64+8:]) != 1024 || binary.LittleEndian.Uint64(b[128+16:]) != 2048 {
		t.Errorf("% x", b[64:160])
	}
	if states, _ := g.zones(0); !bytes.Equal(states, []byte{14, 13, 15, 14, 14, 14}) {
		t.Errorf("%x", states)
	}
	if g.canaryIn(512<<10, 512<<10) || !g.canaryIn(0, 512<<10) {
		t.Error("there is data behind a zone's capacity, or none before")
	}
	read("up to the capacity", 0, 1000, 24)
	read("across it", 0x1b8, 1000, 25)
	read("behind it", 0x1b8, 1024, 1)
	read("of a read-only zone", 0, 2048, 1)
	read("of an offline zone", 0x1bb, 4096, 1)
	g.write("to a read-only zone", 0x1ba, 2048, 1, 1)
	g.write("to an offline zone", 0x1bb, 4096, 1, 1)
	send("reset of a read-only zone", 0x1bf, 2048, reset)
	send("reset of an offline zone", 0x1bf, 4096, reset)
	send("reset of all", 0, 0, reset|all)
	if states, _ := g.zones(0); !bytes.Equal(states, []byte{1, 13, 15, 1, 1, 1}) {
		t.Errorf("%x", states)
	}
	g.write("to one", 0, 0, 1, 1)
	g.write("to another", 0, 3*2048, 1, 1)
	g.write("to a third", 0x1bd, 4*2048, 1, 1)
	g.write("to the first again", 0, 1, 1, 1)
	send("finish", 0, 0, finish)
	g.write("to a third, when one is finished", 0, 4*2048, 1, 1)
	g.write("across the capacity", 0x1b8, 3*2048+1, 1024, 1)
	g.write("up to it", 0, 3*2048+1, 1023, 1)
	if states, _ := g.zones(0); !bytes.Equal(states, []byte{14, 13, 15, 14, 2, 1}) {
		t.Errorf("%x", states)
	}
	for name, s := range map[string]Spec{
		"larger than its distance": {Profile: "nvme-zns", ZoneCapacityBytes: 2 << 20}, "parts of blocks": {Profile: "nvme-zns", ZoneCapacityBytes: 5000},
		"negative": {Profile: "nvme-zns", ActiveZones: -1}, "of another": {Profile: "nvme-ssd", ZoneCapacityBytes: 4096}, "active zones of another": {Profile: "nvme-ssd", ActiveZones: 1},
	} {
		if _, err := s.normal(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A drive that lies about an erase leaves its zones alone, too.
func TestZonesOfALie(t *testing.T) {
	g := newRig(t, Spec{Profile: "nvme-zns", SizeBytes: 2 << 20}, "lie:nothing")
	g.nvmeWant("sanitize", 0, nvme.Command{Opcode: 0x84, CDW10: 2})
	g.wait(1000)
	if states, _ := g.zones(0); !bytes.Equal(states, []byte{14, 14}) || !bytes.Contains(g.read(5), canary) {
		t.Errorf("%x", states)
	}
}
