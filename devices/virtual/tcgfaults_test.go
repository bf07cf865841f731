package virtual

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// Bands are erased one by one; an eraser that leaves one out leaves its data.
func TestEnterpriseErase(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "sas-enterprise"})
	if f := h.feature(0x0100); len(f) != 20 || binary.BigEndian.Uint16(f[4:]) != 0x07fe {
		t.Errorf("Enterprise: %x", f)
	}
	const sp, eraser, erase = 0x0000020500010001, 0x0000000900008401, 0x0000000600000803
	s := h.as(adminSP, 0, nil)
	if code, _ := s.do(0x0000000b00008402, mGet, getCells(3, 3)); code != 1 {
		t.Errorf("a method of Core: status %#x", code)
	}
	named := list(pair(str("startColumn"), str("PIN")), pair(str("endColumn"), str("PIN")))
	result := s.must("Get of MSID", 0x0000000b00008402, 0x0000000600000006, named)
	prefix := slices.Concat([]byte{0xf0, 0xf0, 0xf0, 0xf2}, str("PIN"), []byte{0xd0, 32})
	if !bytes.HasPrefix(result, prefix) {
		t.Fatalf("MSID: %x", result)
	}
	msid := result[len(prefix) : len(prefix)+32]
	s.end()

	s = h.as(sp, 0, nil)
	if code, result := s.do(1, 0x000000060000000c, u64(eraser), pair(str("Challenge"), str(string(msid)))); code != 0 || !bytes.Equal(result, []byte{0xf0, 1, 0xf1}) {
		t.Fatalf("Authenticate: status %#x, %x", code, result)
	}
	limits := list(pair(str("startColumn"), str("MaxRanges")), pair(str("endColumn"), str("MaxRanges")))
	if result := s.must("Get of LockingInfo", 0x0000080100000001, 0x0000000600000006, limits); !bytes.Contains(result, append(str("MaxRanges"), 8)) {
		t.Errorf("LockingInfo: %x", result)
	}
	s.must("Erase of the global band", rangeGlobal, erase)
	s.must("Erase of a band", rangeGlobal+1, erase)
	h.holds("all bands but one", true, true)
	s.must("Erase of the other", rangeGlobal+2, erase)
	h.holds("all bands", false, false)
	if code, _ := s.do(rangeGlobal+9, erase); code != 1 {
		t.Errorf("a band that there is not: status %#x", code)
	}
	s.end()

	// A band's master sets its own band, by names, in the lists of Enterprise.
	s = h.as(sp, 0x0000000900008002, msid)
	lock := list(pair(str("ReadLockEnabled"), num(1)), pair(str("ReadLocked"), num(1)))
	s.must("Set", rangeGlobal+1, 0x0000000600000007, list(), list(lock))
	if code, _ := s.do(rangeGlobal+2, 0x0000000600000007, list(), list(lock)); code != 1 {
		t.Errorf("another's band: status %#x", code)
	}
	s.end()
	if _, failed := h.readAt(256); failed != 0x072002 {
		t.Errorf("read of a locked band: %06x", failed)
	}
	s = h.as(sp, eraser, msid)
	s.must("Erase of a locked band", rangeGlobal+1, erase)
	s.end()
	if _, failed := h.readAt(256); failed != 0 {
		t.Errorf("read of an erased band: %06x", failed)
	}
}

// A drive that keeps its key, or does nothing, says success as others do.
func TestKeysThatAreKept(t *testing.T) {
	t.Parallel()
	for fault, opened := range map[string]bool{"lie:keep-key": true, "lie:nothing": true, "lie:ignored": false} {
		h := tcgRig(t, Spec{Profile: "nvme-opal-owned"}, fault)
		h.as(adminSP, psid, h.psid()).must("Revert", adminSP, mRevert)
		h.holds(fault, true, true)
		if f := h.feature(2); f[4]&2 == 0 != opened {
			t.Errorf("%s: locking %x", fault, f)
		}
	}
	h := tcgRig(t, Spec{Profile: "nvme-opal"}, "lie:keep-key")
	h.as(lockingSP, admin1, h.msid()).must("GenKey", keyGlobal, mGenKey)
	if data, _ := h.readAt(0); !bytes.Contains(data, canary) {
		t.Error("a key that was kept does not read what it did")
	}
	g := newRack(t, Spec{Profile: "nvme-ssd", Serial: "S", SizeBytes: 1 << 20})
	if f, err := ParseFault("lie:keep-key"); err != nil || g.Fault("S", f) == nil {
		t.Errorf("a drive without a subsystem takes %v, %v", f, err)
	}
}

// A power failure in a revert leaves the SPs as they were, and some of the keys changed.
func TestRevertIsCut(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal-owned"}, "revert-power-cut:50")
	s := h.as(adminSP, psid, h.psid())
	cutBy(t, h, s)
	h.reopen()
	if f := h.feature(2); f[4]&6 != 6 {
		t.Errorf("locking %x", f)
	}
	if f := h.feature(0x0404); f[5] != 2 {
		t.Errorf("data removal %x", f)
	}
	h.holds("cut", true, true)
	if h.medium().memory.TCG.Ranges[1].Length == 0 {
		t.Error("a range is gone")
	}
	h.as(adminSP, psid, h.psid()).must("Revert again", adminSP, mRevert)
	h.holds("reverted", false, false)
	if f := h.feature(0x0404); f[5] != 0 {
		t.Errorf("data removal %x", f)
	}
}

// cutBy sends a revert in which the power goes.
func cutBy(t *testing.T, h *host, s session) {
	t.Helper()
	data := h.wrapped(s.tsn, s.hsn, invoke(adminSP, mRevert))
	_, err := h.tr.NVMe(t.Context(), securitySend(h.comID, data))
	if err == nil {
		t.Error("a revert whose power went has an answer")
	}
}

// Answers that are wrong are wrong on the wire, and what was asked for is done.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"}, "tcg-answer:no-discovery")
	if page, _ := h.transfer(1, 1, nil, 512); !zero(page) {
		t.Errorf("discovery %x", page)
	}
	send := func(fault string) []byte {
		h := tcgRig(t, Spec{Profile: "nvme-opal"}, fault)
		if _, failed := h.transfer(1, h.comID, h.wrapped(0, 0, invoke(0xff, 0xff01)), 0); failed != 0 {
			t.Errorf("%s: %03x", fault, failed)
		}
		reply, _ := h.transfer(1, h.comID, nil, 2048)
		return reply
	}
	if reply := send("tcg-answer:zero"); !zero(reply) {
		t.Errorf("zero: %x", reply)
	}
	reply := send("tcg-answer:truncated")
	if end := 56 + binary.BigEndian.Uint32(reply[52:]); end < 100 || !zero(reply[end-40:]) || zero(reply[56:70]) {
		t.Errorf("truncated: %x", reply[:end])
	}
	if reply := send("tcg-answer:never"); binary.BigEndian.Uint32(reply[8:]) != 1 || binary.BigEndian.Uint32(reply[16:]) != 0 {
		t.Errorf("never: %x", reply[:20])
	}
	h = tcgRig(t, Spec{Profile: "nvme-opal"}, "session-lost:2")
	s := h.as(adminSP, sid, h.feature2msid())
	s.must("the first method", 1, 0x0000000600000601, num(4))
	if answer := h.exchange(s.tsn, s.hsn, invoke(adminSP, mRevert)); !bytes.Contains(answer, u64(0xff06)) {
		t.Errorf("the second one: %x", answer)
	}
	h.holds("a session that was lost", true, true)
}

// feature2msid reads MSID below the drive: a method to get it would count.
func (h *host) feature2msid() []byte { return []byte(h.medium().memory.TCG.MSID) }

// A translation that passes no trusted command has its own way to them.
func TestFilterTrusted(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "sata-opal", FilterTrusted: true})
	c := &scsi.Command{CDB: []byte{0xa1, pioIn << 1, 0x0e, 1, 1, 0, 1, 0, 0x40, 0x5c, 0, 0}, Direction: scsi.DataIn, Data: make([]byte, 512), Timeout: time.Second}
	if r, err := h.tr.SCSI(t.Context(), c); err != nil || key(r) != 0x052400 {
		t.Errorf("TRUSTED RECEIVE: %06x, %v", key(r), err)
	}
	if f := h.feature(0x0203); len(f) != 20 {
		t.Errorf("SECURITY PROTOCOL IN: %x", f)
	}
}

// Whatever a host sends, the drive answers within bounds.
func FuzzTCGPacket(f *testing.F) {
	h := &host{comID: 0x1000}
	f.Add(h.wrapped(0, 0, invoke(0xff, 0xff01)))
	f.Add(h.wrapped(0, 0, invoke(0xff, 0xff02, num(7), u64(adminSP), num(1))))
	f.Add(h.wrapped(1, 7, invoke(0x0000080400000000, mGet, list(pair(num(1), num(0)), pair(num(2), num(9))))))
	f.Add(h.wrapped(1, 7, invoke(rangeOne, mSet, setCells(pair(num(3), num(8)), pair(num(4), num(16))))))
	f.Add(h.wrapped(1, 7, bytes.Repeat([]byte{0xf0}, 900)))
	p, err := profileByName("nvme-opal")
	if err != nil {
		f.Fatal(err)
	}
	spec, err := Spec{Profile: "nvme-opal", SizeBytes: 1 << 20}.normal()
	if err != nil {
		f.Fatal(err)
	}
	info := Info{Name: "nvme0", Spec: spec, Spaces: p.spaces("nvme0", 0, spec)}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMemory(info, p)
		d := &drive{profile: p, info: info, memory: m, rack: &Rack{}}
		x := &tper{d: d, m: m, s: m.TCG, p: m.Power.TCG, comID: 0x1000, now: time.Unix(1, 0)}
		x.p.Sessions = []tcgSession{{TSN: 1, HSN: 7, SP: spLocking, Write: true, As: []uint64{authAdmin1}, Last: x.now}}
		list, err := parseTokens(data)
		if n := len(list); err == nil && n > len(data) {
			t.Errorf("%d values of %d bytes", n, len(data))
		}
		if len(data) > mostComPacket {
			return
		}
		_ = x.take(data) // media are none of this test's
		x.p.Answer = nil
		_ = x.take(h.wrapped(1, 7, data))
		if len(x.p.Answer) > mostComPacket || len(x.s.MBR) > mbrSize || len(x.p.Sessions) > mostSessions {
			t.Errorf("an answer of %d bytes, an MBR of %d, %d sessions", len(x.p.Answer), len(x.s.MBR), len(x.p.Sessions))
		}
	})
}
