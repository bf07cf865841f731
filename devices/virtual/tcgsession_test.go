package virtual

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/nvme"
)

// What the host says that it takes is honoured, and never goes below the least of the standard.
func TestProperties(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	said := pair(num(0), list(pair(str("MaxComPacketSize"), num(1<<20)), pair(str("MaxPacketSize"), num(5)), pair(str("Unheard"), num(1))))
	code, answer := status(h.exchange(0, 0, invoke(0xff, 0xff01, said)))
	if code != 0 || !bytes.HasPrefix(answer, slices.Concat([]byte{0xf8}, u64(0xff), u64(0xff01), []byte{0xf0, 0xf0})) {
		t.Fatalf("status %#x, %x", code, answer)
	}
	echo := answer[bytes.LastIndex(answer, []byte{0xf2, 0, 0xf0}):]
	if !bytes.Contains(echo, append(str("MaxComPacketSize"), 0x83, 1, 0, 0)) || !bytes.Contains(echo, append(str("MaxPacketSize"), 0x82, 0x03, 0xec)) || bytes.Contains(echo, []byte("Unheard")) {
		t.Errorf("host properties %x", echo)
	}
	// A host that takes the least gets no more: an answer that is longer is an overflow.
	h.exchange(0, 0, invoke(0xff, 0xff01, pair(num(0), list(pair(str("MaxComPacketSize"), num(1024))))))
	s := h.as(lockingSP, admin1, h.msid())
	block := func(n uint64) []byte { return list(pair(num(1), num(0)), pair(num(2), num(n-1))) }
	if code, _ := s.do(0x0000080400000000, mGet, block(1000)); code != 0x11 {
		t.Errorf("1000 bytes: status %#x", code)
	}
	if code, result := s.do(0x0000080400000000, mGet, block(900)); code != 0 || len(result) != 904 {
		t.Errorf("900 bytes: status %#x, %d bytes", code, len(result))
	}
}

// There is one session that writes, and it is over when its host has been silent for too long, or the
// stack is reset.
func TestSessionsOfOneSP(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	first := h.as(adminSP, 0, nil)
	if _, code := h.begin(adminSP, 0, nil); code != 3 {
		t.Errorf("a second writer: status %#x", code)
	}
	h.as(lockingSP, 0, nil).end()
	h.reopen() // the host's program died; the drive has not noticed
	if _, code := h.begin(adminSP, 0, nil); code != 3 {
		t.Errorf("after a new opening: status %#x", code)
	}
	h.wait(61)
	h.as(adminSP, 0, nil)
	if answer := h.exchange(first.tsn, first.hsn, []byte{0xfa}); answer != nil {
		t.Errorf("the old session answers: %x", answer)
	}
	reset := append(binary.BigEndian.AppendUint16(nil, h.comID), 0, 0, 0, 0, 0, 2)
	if _, failed := h.transfer(2, h.comID, append(reset, make([]byte, 504)...), 0); failed != 0 {
		t.Fatalf("stack reset: %03x", failed)
	}
	if reply, failed := h.transfer(2, h.comID, nil, 512); failed != 0 || !bytes.Equal(reply[:16], append(reset, 0, 0, 0, 4, 0, 0, 0, 0)) {
		t.Errorf("stack reset: %03x, %x", failed, reply[:16])
	}
	h.as(adminSP, 0, nil).end()
	if _, code := h.begin(0x0000020500010001, 0, nil); code != 0x0c {
		t.Errorf("an SP that there is not: status %#x", code)
	}
}

// An answer waits until it is fetched whole, and nothing else is taken before.
func TestAnswersWait(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	if reply, _ := h.transfer(1, h.comID, nil, 512); binary.BigEndian.Uint32(reply[16:]) != 0 || binary.BigEndian.Uint32(reply[8:]) != 0 {
		t.Errorf("an answer to nothing: %x", reply[:20])
	}
	call := h.wrapped(0, 0, invoke(0xff, 0xff01))
	h.transfer(1, h.comID, call, 0)
	if _, failed := h.transfer(1, h.comID, call, 0); failed != 0x0c {
		t.Errorf("a second call: status %03x", failed)
	}
	small, _ := h.transfer(1, h.comID, nil, 64)
	least := binary.BigEndian.Uint32(small[12:])
	if binary.BigEndian.Uint32(small[16:]) != 0 || least < 200 || least != binary.BigEndian.Uint32(small[8:]) {
		t.Errorf("too little room: %x", small[:20])
	}
	if answer := h.fetch(); len(answer) < 200 {
		t.Errorf("the answer is gone: %x", answer)
	}
}

// What cannot be read ends the session that it came in, and the TPer says so; hosts are known to send
// more after an end of session.
func TestMalformedTokensCloseTheSession(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	for what, payload := range map[string][]byte{
		"an open list": {0xf8, 0xf0, 0xf0}, "nothing": {}, "a reserved token": {0xf5}, "a transaction": {0xfb, 0}, "an atom that is cut": {0xd7, 0xff, 1},
		"depth": bytes.Repeat([]byte{0xf0}, 500), "no status list": invoke(1, 0x0000000600000601, num(4))[:24],
	} {
		s := h.as(adminSP, 0, nil)
		answer := h.exchange(s.tsn, s.hsn, payload)
		if want := slices.Concat([]byte{0xf8}, u64(0xff), u64(0xff06), []byte{0xf0, 7}); !bytes.HasPrefix(answer, want) {
			t.Errorf("%s: %x", what, answer)
		}
		if answer := h.exchange(s.tsn, s.hsn, invoke(1, 0x0000000600000601, num(4))); answer != nil {
			t.Errorf("%s: the session goes on: %x", what, answer)
		}
	}
	s := h.as(adminSP, 0, nil)
	if answer := h.exchange(s.tsn, s.hsn, []byte{0xfa, 0xf9, 0xf0, 0, 0, 0, 0xf1, 0xfb}); !bytes.Equal(answer, []byte{0xfa}) {
		t.Errorf("end of session and more: %x", answer)
	}
	if code, result := h.as(adminSP, 0, nil).do(1, 0x0000000600000601, num(20)); code != 0 || len(result) != 24 {
		t.Errorf("Random: status %#x, %x", code, result)
	}
}

// Authorities have what is theirs, and no more.
func TestAccess(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal", SIDVendorUnique: true})
	if f := h.feature(0x0203); len(f) != 20 || f[13] != 0xff || f[14] != 0xff || binary.BigEndian.Uint16(f[4:]) != h.comID {
		t.Errorf("Opal: %x", f)
	}
	s := h.as(adminSP, 0, nil)
	for what, code := range map[string]int{
		"Get of SID's PIN": first(s.do(cpinSID, mGet, getCells(3, 3))), "Set of it": first(s.do(cpinSID, mSet, setCells(pair(num(3), str("x"))))),
		"Revert": first(s.do(adminSP, mRevert)), "Activate": first(s.do(lockingSP, mActivate)), "an unknown method": first(s.do(adminSP, 0x0000000600000999)),
	} {
		if code != 1 {
			t.Errorf("%s by anybody: status %#x", what, code)
		}
	}
	if code, result := s.do(1, 0x000000060000001c, u64(sid), pair(num(0), str(string(h.medium().memory.TCG.MSID)))); code != 0 || !bytes.Equal(result, []byte{0xf0, 0, 0xf1}) {
		t.Errorf("SID by MSID, where the first PIN is the vendor's: status %#x, %x", code, result)
	}
	s.end()
	for _, sp := range []uint64{adminSP, lockingSP} {
		args := [][]byte{num(7), u64(sp), num(0)}
		if sp == lockingSP {
			args = append(args, pair(num(0), str(h.medium().memory.TCG.Vendor)), pair(num(3), u64(admin1)))
		}
		_, answer := status(h.exchange(0, 0, invoke(0xff, 0xff02, args...)))
		s = session{h, uint32(binary.BigEndian.Uint16(answer[len(answer)-3:])), 7}
		if code, _ := s.do(map[uint64]uint64{adminSP: adminSP, lockingSP: 1}[sp], map[uint64]uint64{adminSP: mRevert, lockingSP: mRevertSP}[sp]); code != 1 {
			t.Errorf("a revert in a session that only reads: status %#x", code)
		}
		s.end()
	}
	// A user locks and unlocks the range that it was given, and sets nothing else.
	s = h.as(lockingSP, admin1, []byte(h.medium().memory.TCG.Vendor))
	user := uint64(0x0000000900030001)
	s.must("enable", user, mSet, setCells(pair(num(5), num(1))))
	s.must("PIN", 0x0000000b00030001, mSet, setCells(pair(num(3), str("user"))))
	expression := list(pair([]byte{0xa4, 0, 0, 0x0c, 0x05}, u64(user)), pair([]byte{0xa4, 0, 0, 0x04, 0x0e}, num(1)))
	s.must("access", 0x000000080003e001, mSet, setCells(pair(num(3), expression)))
	s.must("lock", rangeOne, mSet, setCells(pair(num(5), num(1)), pair(num(7), num(1))))
	s.end()
	s = h.as(lockingSP, user, []byte("user"))
	s.must("unlock", rangeOne, mSet, setCells(pair(num(7), num(0))))
	if a, b := first(s.do(rangeOne, mSet, setCells(pair(num(8), num(1))))), first(s.do(keyOne, mGenKey)); a != 1 || b != 1 {
		t.Errorf("a user sets WriteLocked: status %#x, and a new key: %#x", a, b)
	}
}

func first(code int, _ []byte) int { return code }

// Wrong PINs lock an authority out; whether a power cycle gives it another try is the drive's.
func TestLockout(t *testing.T) {
	t.Parallel()
	for _, persists := range []bool{false, true} {
		h := tcgRig(t, Spec{Profile: "nvme-opal", TriesPersist: persists})
		for range 5 {
			if _, code := h.begin(adminSP, sid, []byte("wrong")); code != 1 {
				t.Errorf("a wrong PIN: status %#x", code)
			}
		}
		if _, code := h.begin(adminSP, sid, h.msid()); code != 0x12 {
			t.Errorf("locked out: status %#x", code)
		}
		h.cycle()
		want := map[bool]int{false: 0, true: 0x12}[persists]
		s, code := h.begin(adminSP, sid, h.msid())
		if code != want {
			t.Errorf("tries persist %v: status %#x after a power cycle", persists, code)
		}
		if code == 0 {
			s.end()
		}
		h.as(adminSP, psid, h.psid()).must("PSID revert", adminSP, mRevert)
		h.as(adminSP, sid, h.msid()).end()
	}
	h := tcgRig(t, Spec{Profile: "nvme-opal-lockout"})
	if _, code := h.begin(adminSP, sid, []byte("any")); code != 0x12 {
		t.Errorf("nvme-opal-lockout: status %#x", code)
	}
}

// A blocked SID authenticates nobody until a power cycle.
func TestBlockSID(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "sata-opal-sid-blocked"})
	if f := h.feature(0x0402); f[4] != 2 {
		t.Errorf("Block SID: %x", f)
	}
	if _, code := h.begin(adminSP, sid, h.msid()); code != 1 {
		t.Errorf("SID: status %#x", code)
	}
	if _, code := h.begin(adminSP, psid, h.psid()); code != 1 {
		t.Errorf("PSID: status %#x", code)
	}
	h.cycle()
	if f := h.feature(0x0402); f[4] != 0 {
		t.Errorf("Block SID after a power cycle: %x", f)
	}
	h.as(adminSP, sid, h.msid()).end()
	if _, failed := h.transfer(2, 5, append([]byte{1}, make([]byte, 511)...), 0); failed != 0 {
		t.Errorf("Block SID: %06x", failed)
	}
	if f := h.feature(0x0402); f[4] != 2 || f[5] != 1 {
		t.Errorf("Block SID: %x", f)
	}
	if _, failed := h.transfer(2, 5, make([]byte, 512), 0); failed == 0 {
		t.Error("it is blocked twice")
	}
}

// TPER_RESET is taken when it was enabled, and locks what is to be locked by it.
func TestTPerReset(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	if _, failed := h.transfer(2, 4, make([]byte, 512), 0); failed != 0x02 {
		t.Errorf("not enabled: %03x", failed)
	}
	s := h.as(adminSP, sid, h.msid())
	s.must("enable", 0x0000020100030001, mSet, setCells(pair(num(8), num(1))))
	s.end()
	s = h.as(lockingSP, admin1, h.msid())
	s.must("lock on reset", rangeOne, mSet, setCells(pair(num(5), num(1)), pair(num(9), list(num(0), num(3)))))
	if _, failed := h.readAt(300); failed != 0 {
		t.Errorf("before: %03x", failed)
	}
	if _, failed := h.transfer(2, 4, make([]byte, 512), 0); failed != 0 {
		t.Errorf("TPER_RESET: %03x", failed)
	}
	if _, failed := h.readAt(300); failed != 0x286 {
		t.Errorf("after: %03x", failed)
	}
	if answer := h.exchange(s.tsn, s.hsn, []byte{0xfa}); answer != nil {
		t.Errorf("the session goes on: %x", answer)
	}
}

// A reset of the controller ends conversations, and locks and unblocks what was to be by it.
func TestHardwareReset(t *testing.T) {
	t.Parallel()
	h := tcgRig(t, Spec{Profile: "nvme-opal"})
	s := h.as(lockingSP, admin1, h.msid())
	s.must("lock on reset", rangeOne, mSet, setCells(pair(num(5), num(1)), pair(num(9), list(num(0), num(1)))))
	if _, failed := h.transfer(2, 5, append([]byte{1}, make([]byte, 511)...), 0); failed != 0 {
		t.Fatalf("Block SID: %03x", failed)
	}
	if f := h.feature(0x0402); f[4]&2 == 0 {
		t.Errorf("before: Block SID %x", f)
	}
	if _, failed := h.readAt(300); failed != 0 {
		t.Errorf("before: %03x", failed)
	}
	h.fault("reset:1")
	h.reopen()
	identify := &nvme.Command{Opcode: 0x06, CDW10: 1, Data: make([]byte, 4096), Timeout: time.Second}
	if _, err := h.tr.NVMe(t.Context(), identify); err == nil {
		t.Error("there was no reset")
	}
	if f := h.feature(0x0402); f[4] != 0 {
		t.Errorf("Block SID %x", f)
	}
	if _, failed := h.readAt(300); failed != 0x286 {
		t.Errorf("after: %03x", failed)
	}
	if answer := h.exchange(s.tsn, s.hsn, []byte{0xfa}); answer != nil {
		t.Errorf("the session goes on: %x", answer)
	}
}
