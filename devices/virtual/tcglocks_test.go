package virtual

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// readAt and writeAt are one block by the drive's own command; the result is what the door said.
func (h *host) readAt(lba uint64) (data []byte, failed int) {
	h.t.Helper()
	if h.door == "nvme" {
		c := &nvme.Command{Queue: nvme.IO, Opcode: 0x02, NSID: 1, CDW10: uint32(lba), Data: make([]byte, 512), Timeout: time.Second}
		r, err := h.tr.NVMe(h.t.Context(), c)
		if err != nil {
			h.t.Fatal(err)
		}
		return c.Data, int(r.Status & 0x7ff)
	}
	cdb := []byte{0x88, 0, 0, 0, 0, 0, 0, 0, byte(lba >> 8), byte(lba), 0, 0, 0, 1, 0, 0}
	r, data := h.send(cdb, nil, 512)
	return data, key(r)
}

func (h *host) writeAt(lba uint64) (failed int) {
	h.t.Helper()
	if h.door == "nvme" {
		c := &nvme.Command{Queue: nvme.IO, Opcode: 0x01, NSID: 1, CDW10: uint32(lba), Data: make([]byte, 512), Timeout: time.Second}
		r, err := h.tr.NVMe(h.t.Context(), c)
		if err != nil {
			h.t.Fatal(err)
		}
		return int(r.Status & 0x7ff)
	}
	r, _ := h.send([]byte{0x8a, 0, 0, 0, 0, 0, 0, 0, byte(lba >> 8), byte(lba), 0, 0, 0, 1, 0, 0}, make([]byte, 512), 0)
	return key(r)
}

// A range keeps the host from its blocks and no others, again after every power cycle, and each door
// says so in its own words.
func TestLockedRange(t *testing.T) {
	t.Parallel()
	for profile, want := range map[string]int{"nvme-opal": 0x286, "sata-opal": 0x0b0000} {
		h := tcgRig(t, Spec{Profile: profile})
		if profile == "sata-opal" {
			h.as(adminSP, psid, h.psid()).must("PSID revert", adminSP, mRevert)
			s := h.as(adminSP, sid, h.msid())
			s.must("Activate", lockingSP, mActivate)
			s.end()
		}
		s := h.as(lockingSP, admin1, h.msid())
		s.must("Set of a range", rangeOne, mSet, setCells(pair(num(3), num(512)), pair(num(4), num(256)), pair(num(5), num(1)), pair(num(6), num(1)), pair(num(9), list(num(0)))))
		s.end()
		if _, failed := h.readAt(512); failed != 0 {
			t.Errorf("%s: unlocked: %06x", profile, failed)
		}
		h.cycle()
		for lba, locked := range map[uint64]bool{0: false, 511: false, 512: true, 767: true, 768: false} {
			if _, failed := h.readAt(lba); (failed == want) != locked || !locked && failed != 0 {
				t.Errorf("%s: read of %d: %06x", profile, lba, failed)
			}
			if failed := h.writeAt(lba); (failed == want) != locked || !locked && failed != 0 {
				t.Errorf("%s: write of %d: %06x", profile, lba, failed)
			}
		}
		if _, err := backend(t, h.tr).ReadAt(make([]byte, 4096), 510*512); err == nil {
			t.Errorf("%s: a request that crosses into the range is carried out", profile)
		}
		if f := h.feature(2); f[4]&4 == 0 {
			t.Errorf("%s: locking %x", profile, f)
		}
		s = h.as(lockingSP, admin1, h.msid())
		s.must("unlock", rangeOne, mSet, setCells(pair(num(7), num(0)), pair(num(8), num(0))))
		for what, bad := range map[string][]byte{
			"beyond the end": setCells(pair(num(3), num(2048)), pair(num(4), num(8))), "out of step": setCells(pair(num(3), num(3))), "a key": setCells(pair(num(10), u64(keyGlobal))),
		} {
			if code, _ := s.do(rangeOne, mSet, bad); code == 0 {
				t.Errorf("%s: %s is taken", profile, what)
			}
		}
		if code, _ := s.do(rangeOne+1, mSet, setCells(pair(num(3), num(520)), pair(num(4), num(8)))); code != 0x0c {
			t.Errorf("%s: ranges overlap: status %#x", profile, code)
		}
		if _, failed := h.readAt(512); failed != 0 {
			t.Errorf("%s: unlocked again: %06x", profile, failed)
		}
	}
	// What SAS drives say.
	h := tcgRig(t, Spec{Profile: "sas-enterprise-owned"})
	if _, failed := h.readAt(0); failed != 0x072002 {
		t.Errorf("SCSI: %06x", failed)
	}
}

// A key of one range is that of its blocks alone; a revert that keeps the global key keeps those.
func TestKeysOfRanges(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"}) // its first range is the second eighth of the drive
	s := h.as(lockingSP, admin1, h.msid())
	count := func() int64 {
		a, _, err := h.medium().CountCanary(canary)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	all := count()
	result := s.must("Get of ActiveKey", rangeOne, mGet, getCells(10, 10))
	if want := append([]byte{0xf0, 0xf0, 0xf2, 10}, u64(keyOne)...); !bytes.HasPrefix(result, want) {
		t.Errorf("active key: %x", result)
	}
	s.must("GenKey of the range", keyOne, mGenKey)
	if n := count(); n >= all || n < all*6/8 {
		t.Errorf("after GenKey of an eighth: %d canaries of %d", n, all)
	}
	if data, _ := h.readAt(300); bytes.Contains(data, canary) {
		t.Error("old data is read from the range")
	}
	if data, _ := h.readAt(600); !bytes.Contains(data, canary) {
		t.Error("data beside the range is gone")
	}
	left := count()
	s.must("RevertSP that keeps the global key", 1, mRevertSP, pair([]byte{0x83, 0x06, 0, 0}, num(1)))
	if n := count(); n != left {
		t.Errorf("the global range's %d canaries are %d", left, n)
	}
	if s, code := h.begin(lockingSP, admin1, h.msid()); code != 0x0c {
		t.Errorf("the Locking SP is still there: status %#x, %v", code, s)
	}
	s = h.as(adminSP, sid, h.msid())
	s.must("Activate", lockingSP, mActivate)
	s.end()
	s = h.as(lockingSP, admin1, h.msid())
	s.must("GenKey of the global range", keyGlobal, mGenKey)
	h.holds("all keys", false, false)
}

// Only what may says the global key: a range that was left out has its data, and not where the host
// can address alone.
func TestOneKeyIsNotAll(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	s := h.as(lockingSP, admin1, h.msid())
	s.must("GenKey of the global range", keyGlobal, mGenKey)
	h.holds("the global key", true, true)
}

// While the shadow MBR is shown, zeros are read where data lies, and nothing is written.
func TestShadowMBR(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	s := h.as(lockingSP, admin1, h.msid())
	s.must("Set of the MBR", 0x0000080400000000, mSet, pair(num(0), num(512)), pair(num(1), str("pre-boot")))
	s.must("Set of the data store", 0x0000100100000000, mSet, pair(num(1), str("store")))
	s.must("Enable", 0x0000080300000001, mSet, setCells(pair(num(1), num(1))))
	if data, failed := h.readAt(1); failed != 0 || !bytes.HasPrefix(data, []byte("pre-boot")) || bytes.Contains(data, canary) {
		t.Errorf("shadow: %06x, %.20q", failed, data)
	}
	if failed := h.writeAt(0); failed != 0x286 {
		t.Errorf("a write to the shadow: %03x", failed)
	}
	if data, _ := h.readAt(1000); !bytes.Contains(data, canary) {
		t.Error("above the shadow nothing is read")
	}
	if f := h.feature(2); f[4]>>4&3 != 1 {
		t.Errorf("locking %x", f)
	}
	s.must("Done", 0x0000080300000001, mSet, setCells(pair(num(2), num(1))))
	if data, _ := h.readAt(1); !bytes.Contains(data, canary) {
		t.Error("the shadow is shown still")
	}
	h.cycle()
	if data, _ := h.readAt(1); bytes.Contains(data, canary) {
		t.Error("the shadow is not shown after a power cycle")
	}
	h.as(adminSP, psid, h.psid()).must("Revert", adminSP, mRevert)
	if m := h.medium().memory.TCG; len(m.MBR)+len(m.DataStore) != 0 || m.MBREnabled {
		t.Error("the tables outlive a revert")
	}
}

// Erases of drives whose blocks are locked are refused, and nothing is begun.
func TestErasesOfLockedDrives(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal-owned"})
	r, err := h.tr.NVMe(t.Context(), &nvme.Command{Opcode: 0x84, CDW10: 4, Timeout: time.Second})
	if err != nil || r.Status&0x7ff != 0x15 {
		t.Errorf("NVMe sanitize: %04x, %v", r.Status, err)
	}
	h = tcgRig(t, Spec{Profile: "nvme-ruby"})
	s := h.as(lockingSP, admin1, h.msid())
	s.must("lock", rangeGlobal, mSet, setCells(pair(num(5), num(1)), pair(num(6), num(1)), pair(num(7), num(1)), pair(num(8), num(1))))
	format := &nvme.Command{Opcode: 0x80, NSID: 1, CDW10: 2 << 9, Timeout: time.Second}
	if r, err = h.tr.NVMe(t.Context(), format); err != nil || r.Status&0x7ff != 0x15 {
		t.Errorf("NVMe format: %04x, %v", r.Status, err)
	}
	s.must("unlock", rangeGlobal, mSet, setCells(pair(num(7), num(0)), pair(num(8), num(0))))
	if r, err = h.tr.NVMe(t.Context(), format); err != nil || r.Status != 0 {
		t.Errorf("NVMe format of an unlocked drive: %04x, %v", r.Status, err)
	}
	h.holds("format", false, false)
	h = tcgRig(t, Spec{Profile: "sas-enterprise-owned"})
	h.want("FORMAT UNIT", 0x072002, []byte{0x04, 0, 0, 0, 0, 0}, nil, 0)
	if len(h.medium().Begun()) != 0 {
		t.Errorf("begun: %v", h.medium().Begun())
	}
}

// ATA Security is not there while the Locking SP is activated.
func TestATASecurityBesideLocking(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "sata-opal"})
	there := func() (bool, bool) {
		w := h.identity()
		return w[82]&2 != 0, w[128]&1 != 0
	}
	if a, b := there(); a || b {
		t.Error("it is supported beside an activated Locking SP")
	}
	if w := h.identity()[48]; w != 0x4001 {
		t.Errorf("word 48: %04x", w)
	}
	h.as(adminSP, psid, h.psid()).must("Revert", adminSP, mRevert)
	if a, b := there(); !a || !b {
		t.Error("it is not back after the revert")
	}
	h.memoryOf(func(m *memory) { m.ATA.Enabled, m.ATA.User = true, make([]byte, 32) })
	s := h.as(adminSP, sid, h.msid())
	if code, _ := s.do(lockingSP, mActivate); code != 0x3f {
		t.Errorf("Activate of a drive with a password: status %#x", code)
	}
}

// memoryOf changes what the drive keeps, as somebody before did.
func (h *host) memoryOf(change func(m *memory)) {
	h.t.Helper()
	if _, err := h.rack.remember("sda", nil, func(_ Info, m *memory) error { change(m); return nil }); err != nil {
		h.t.Fatal(err)
	}
}

// Pyrite does not encrypt: its revert opens the drive, and what removes data is the mechanism that is
// active, which goes on when the method is over.
func TestPyriteRemovesInItsTime(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-pyrite"})
	if f := h.feature(2); f[4]&8 != 0 {
		t.Errorf("it encrypts: %x", f)
	}
	if f := h.feature(0x0404); f[5] != 0 || f[6] != 3 || binary.BigEndian.Uint16(f[8:]) != 200 || binary.BigEndian.Uint16(f[10:]) != 50 {
		t.Errorf("data removal: %x", f)
	}
	h.as(adminSP, psid, h.psid()).must("Revert", adminSP, mRevert)
	if f := h.feature(0x0404); f[5] != 1 {
		t.Errorf("data removal does not go on: %x", f)
	}
	h.holds("at once", false, true)
	h.wait(101)
	if f := h.feature(0x0404); f[5] != 0 {
		t.Errorf("data removal goes on: %x", f)
	}
	h.holds("at its end", false, false)

	h = tcgRig(t, Spec{Profile: "nvme-pyrite"})
	h.as(adminSP, psid, h.psid()).must("Revert", adminSP, mRevert)
	h.wait(10)
	h.cycle()
	h.wait(500)
	if f := h.feature(0x0404); f[5] != 2 {
		t.Errorf("data removal was not interrupted: %x", f)
	}
	h.holds("interrupted", false, true)
}
