package virtual

import (
	"encoding/binary"
	"testing"
)

// zoneCDB is a command of 16 bytes with an address and a length.
func zoneCDB(opcode, action byte, lba uint64, n uint32, options byte) []byte {
	cdb := make([]byte, 16)
	cdb[0], cdb[1], cdb[14] = opcode, action, options
	binary.BigEndian.PutUint64(cdb[2:], lba)
	binary.BigEndian.PutUint32(cdb[10:], n)
	return cdb
}

// conditions are type and condition of all zones, as a report has them.
func (g *rig) conditions() (list string) {
	g.t.Helper()
	b := g.want("REPORT ZONES", 0, zoneCDB(0x95, 0, 0, 4096, 0), nil, 4096)
	for at := 64; at < 64+int(binary.BigEndian.Uint32(b)); at += 64 {
		list += string("0123456789abcdef"[b[at]&15]) + string("0123456789abcdef"[b[at+1]>>4]) + " "
	}
	return list
}

// A disk takes writes at write pointers alone, but in conventional zones, and says with the sense data of ZBC why
// it does not: a SAS disk and one behind a translation alike.
func TestZonesOfADisk(t *testing.T) {
	for _, profile := range []string{"sas-hdd-smr", "sata-hdd-smr"} {
		t.Run(profile, func(t *testing.T) {
			g := newRig(t, Spec{Profile: profile, SizeBytes: 8 << 20, ConventionalZones: 2, ActiveZones: 1, BoundedReads: true}, "zone-read-only:5+1", "zone-offline:6+1")
			if profile == "sas-hdd-smr" {
				g.want("the power-on", 0x062900, tur, nil, 0)
			}
			const zone = 2048 // blocks
			write := func(what string, code int, lba uint64, blocks uint32) {
				t.Helper()
				g.want(what, code, zoneCDB(0x8a, 0, lba, blocks, 0), make([]byte, 512*blocks), 0)
			}
			read := func(what string, code int, lba uint64, blocks uint32) {
				t.Helper()
				g.want(what, code, zoneCDB(0x88, 0, lba, blocks, 0), nil, int(512*blocks))
			}
			if b := g.want("INQUIRY", 0, []byte{0x12, 0, 0, 0, 36, 0}, nil, 36); b[0] != 0x14 {
				t.Errorf("device type %02xh", b[0])
			}
			if b := g.want("VPD page B6h", 0, []byte{0x12, 1, 0xb6, 0, 64, 0}, nil, 64); b[4] != 0 || b[19] != 1 {
				t.Errorf("% x", b)
			}
			if got := g.conditions(); got != "10 10 2e 2e 2e 2d 2f 2e " {
				t.Errorf("populated: %s", got)
			}
			g.want("reset of all", 0, zoneCDB(0x94, 4, 0, 0, 1), nil, 0)
			if got := g.conditions(); got != "10 10 21 21 21 2d 2f 21 " {
				t.Errorf("reset: %s", got)
			}
			write("in a conventional zone", 0, 100, 1)
			write("before it", 0, 7, 1)
			read("of what was never written there", 0, 1000, 1)
			write("at the start", 0, 2*zone, 2)
			write("not at the write pointer", 0x052104, 2*zone+3, 1)
			write("again", 0x052104, 2*zone, 1)
			write("beyond the zone", 0x052105, 2*zone+2, zone)
			write("to a second zone", 0x07550e, 3*zone, 1)
			write("to one that is read-only", 0x072708, 5*zone, 1)
			write("to one that is offline", 0x072c0e, 6*zone, 1)
			read("of what is written", 0, 2*zone, 2)
			read("above the write pointer", 0x052106, 2*zone+1, 2)
			read("across zones", 0x052107, 2*zone+2047, 2)
			read("of one that is offline", 0x072c0e, 6*zone, 1)
			g.want("finish", 0, zoneCDB(0x94, 2, 2*zone, 0, 0), nil, 0)
			read("of one that is full", 0, 2*zone+1000, 2)
			write("to one that is full", 0x052400, 2*zone+2, 1)
			g.want("reset of a conventional zone", 0x052400, zoneCDB(0x94, 4, 0, 0, 0), nil, 0)
			g.want("reset within a zone", 0x052400, zoneCDB(0x94, 4, 2*zone+1, 0, 0), nil, 0)
			g.want("reset of one that is offline", 0x072c0e, zoneCDB(0x94, 4, 6*zone, 0, 0), nil, 0)
			g.want("reset behind the end", 0x052100, zoneCDB(0x94, 4, 8*zone, 0, 0), nil, 0)
			g.want("reset of one", 0, zoneCDB(0x94, 4, 2*zone, 0, 0), nil, 0)
			if got := g.conditions(); got != "10 10 21 21 21 2d 2f 21 " {
				t.Errorf("at the end: %s", got)
			}
			if profile == "sata-hdd-smr" {
				g.want("a report that is no whole sectors", 0x051a00, zoneCDB(0x95, 0, 0, 640, 0), nil, 640)
			}
		})
	}
	for name, spec := range map[string]Spec{
		"gaps": {Profile: "sas-hdd-smr", ZoneCapacityBytes: 4096}, "all conventional": {Profile: "sas-hdd-smr", SizeBytes: 4 << 20, ConventionalZones: 4},
		"of a disk without": {Profile: "sas-hdd", ConventionalZones: 1}, "of NVMe": {Profile: "nvme-zns", BoundedReads: true},
	} {
		if _, err := spec.normal(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
