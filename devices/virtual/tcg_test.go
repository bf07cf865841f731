package virtual

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// host speaks TCG to a rig's drive in bytes, by one of the doors.
type host struct {
	*rig
	door  string // nvme, scsi, scsi512, ata, ata-dma
	comID uint16
}

// tcgRig is a drive with a host of its own.
func tcgRig(t *testing.T, spec Spec, faults ...string) *host {
	t.Helper()
	g := newRig(t, spec, faults...)
	h := &host{rig: g, comID: 0x1000}
	p, err := profileByName(spec.Profile)
	if err != nil {
		t.Fatal(err)
	}
	h.door = map[devices.Protocol]string{devices.ProtocolNVMe: "nvme", devices.ProtocolSCSI: "scsi", devices.ProtocolATA: "scsi512"}[p.Protocol]
	if p.Protocol == devices.ProtocolSCSI {
		h.comID = 0x07fe
		g.want("the power-on", 0x062900, tur, nil, 0)
	}
	return h
}

// transfer is one IF-SEND, or without data one IF-RECV of n bytes; failed is 0, or what the door said.
func (h *host) transfer(protocol byte, specific uint16, data []byte, n int) (reply []byte, failed int) {
	h.t.Helper()
	hi, lo := byte(specific>>8), byte(specific)
	padded := append(slices.Clone(data), make([]byte, (512-len(data)%512)%512)...)
	sends := data != nil
	blocks := n / 512
	if sends {
		blocks = len(padded) / 512
	}
	switch h.door {
	case "nvme":
		c := &nvme.Command{Opcode: 0x82, CDW10: uint32(protocol)<<24 | uint32(specific)<<8, Data: make([]byte, n), Timeout: time.Second}
		if sends {
			c.Opcode, c.Data = 0x81, data
		}
		c.CDW11 = uint32(len(c.Data))
		r, err := h.tr.NVMe(h.t.Context(), c)
		if err != nil {
			h.t.Fatalf("security protocol %02x:%04x: %v", protocol, specific, err)
		}
		return c.Data, int(r.Status & 0x7ff)
	case "scsi":
		cdb := []byte{0xa2, protocol, hi, lo, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), 0, 0}
		if sends {
			l := len(data)
			cdb = []byte{0xb5, protocol, hi, lo, 0, 0, byte(l >> 24), byte(l >> 16), byte(l >> 8), byte(l), 0, 0}
			r, _ := h.send(cdb, data, 0)
			return nil, key(r)
		}
		r, reply := h.send(cdb, nil, n)
		return reply, key(r)
	case "scsi512":
		cdb := []byte{0xa2, protocol, hi, lo, 0x80, 0, 0, 0, byte(blocks >> 8), byte(blocks), 0, 0}
		if sends {
			cdb[0] = 0xb5
			r, _ := h.send(cdb, padded, 0)
			return nil, key(r)
		}
		r, reply := h.send(cdb, nil, n)
		return reply, key(r)
	}
	opcode, mode, flags := byte(0x5c), byte(pioIn), byte(0x0e)
	if h.door == "ata-dma" {
		opcode, mode = 0x5d, dma
	}
	if sends {
		opcode, flags = opcode+2, 0x06
		if h.door == "ata" {
			mode = pioOut
		}
	}
	cdb := []byte{0xa1, mode << 1, flags, protocol, byte(blocks), byte(blocks >> 8), lo, hi, 0x40, opcode, 0, 0}
	if sends {
		r, _ := h.send(cdb, padded, 0)
		return nil, ataKey(r)
	}
	r, reply := h.send(cdb, nil, n)
	return reply, ataKey(r)
}

// ataKey is key of sense data in descriptor format.
func ataKey(r scsi.Result) int {
	if r.Status == 0 {
		return 0
	}
	return int(r.Sense[1]&15)<<16 | int(r.Sense[2])<<8 | int(r.Sense[3])
}

// atoms, built by hand.
func u64(u uint64) []byte { return append([]byte{0xa8}, binary.BigEndian.AppendUint64(nil, u)...) }
func str(s string) []byte {
	if len(s) < 16 {
		return append([]byte{0xa0 | byte(len(s))}, s...)
	}
	return append([]byte{0xd0, byte(len(s))}, s...)
}
func num(n uint64) []byte {
	if n < 64 {
		return []byte{byte(n)}
	}
	return append([]byte{0x88}, binary.BigEndian.AppendUint64(nil, n)...)
}
func list(parts ...[]byte) []byte {
	return slices.Concat([]byte{0xf0}, slices.Concat(parts...), []byte{0xf1})
}
func pair(name, value []byte) []byte {
	return slices.Concat([]byte{0xf2}, name, value, []byte{0xf3})
}
func invoke(object, method uint64, args ...[]byte) []byte {
	return slices.Concat([]byte{0xf8}, u64(object), u64(method), list(args...), []byte{0xf9, 0xf0, 0, 0, 0, 0xf1})
}

// wrapped is a payload in its three headers.
func (h *host) wrapped(tsn, hsn uint32, payload []byte) []byte {
	be := binary.BigEndian
	padded := append(slices.Clone(payload), make([]byte, (4-len(payload)%4)%4)...)
	b := make([]byte, 56, 56+len(padded))
	be.PutUint16(b[4:], h.comID)
	be.PutUint32(b[16:], uint32(36+len(padded)))
	be.PutUint32(b[20:], tsn)
	be.PutUint32(b[24:], hsn)
	be.PutUint32(b[40:], uint32(12+len(padded)))
	be.PutUint32(b[52:], uint32(len(payload)))
	return append(b, padded...)
}

// exchange sends a payload and fetches the one that comes back; nil when there is none.
func (h *host) exchange(tsn, hsn uint32, payload []byte) []byte {
	h.t.Helper()
	if _, failed := h.transfer(1, h.comID, h.wrapped(tsn, hsn, payload), 0); failed != 0 {
		h.t.Fatalf("IF-SEND: %06x", failed)
	}
	return h.fetch()
}

func (h *host) fetch() []byte {
	h.t.Helper()
	reply, failed := h.transfer(1, h.comID, nil, 2048)
	if failed != 0 || len(reply) < 20 {
		h.t.Fatalf("IF-RECV: %06x, %d bytes", failed, len(reply))
	}
	if binary.BigEndian.Uint32(reply[16:]) == 0 {
		return nil
	}
	n := binary.BigEndian.Uint32(reply[52:])
	return reply[56 : 56+n]
}

// status is the method status of an answer, and what comes before it; -1 is that there is none.
func status(answer []byte) (int, []byte) {
	n := len(answer)
	if n < 6 || answer[n-6] != 0xf9 || answer[n-5] != 0xf0 || answer[n-1] != 0xf1 {
		return -1, answer
	}
	return int(answer[n-4]), answer[:n-6]
}

// session is an open one.
type session struct {
	h        *host
	tsn, hsn uint32
}

// begin starts a session with an SP as an authority; without one as anybody.
func (h *host) begin(sp, authority uint64, pin []byte) (session, int) {
	h.t.Helper()
	args := [][]byte{num(7), u64(sp), num(1)}
	if authority != 0 {
		args = append(args, pair(num(0), str(string(pin))), pair(num(3), u64(authority)))
	}
	code, answer := status(h.exchange(0, 0, invoke(0xff, 0xff02, args...)))
	if code != 0 {
		return session{}, code
	}
	want := slices.Concat([]byte{0xf8}, u64(0xff), u64(0xff03), []byte{0xf0, 7})
	if !bytes.HasPrefix(answer, want) || answer[len(want)] != 0x82 {
		h.t.Fatalf("SyncSession: %x", answer)
	}
	return session{h, uint32(binary.BigEndian.Uint16(answer[len(want)+1:])), 7}, 0
}

// as is begin that has to succeed.
func (h *host) as(sp, authority uint64, pin []byte) session {
	h.t.Helper()
	s, code := h.begin(sp, authority, pin)
	if code != 0 {
		h.t.Fatalf("StartSession with %x as %x: status %#x", sp, authority, code)
	}
	return s
}

// do invokes a method and returns its status and result.
func (s session) do(object, method uint64, args ...[]byte) (int, []byte) {
	s.h.t.Helper()
	return status(s.h.exchange(s.tsn, s.hsn, invoke(object, method, args...)))
}

func (s session) must(what string, object, method uint64, args ...[]byte) []byte {
	s.h.t.Helper()
	code, result := s.do(object, method, args...)
	if code != 0 {
		s.h.t.Fatalf("%s: status %#x", what, code)
	}
	return result
}

func (s session) end() {
	s.h.t.Helper()
	if got := s.h.exchange(s.tsn, s.hsn, []byte{0xfa}); !bytes.Equal(got, []byte{0xfa}) {
		s.h.t.Errorf("end of session: %x", got)
	}
}

// setCells is the argument of Set.
func setCells(cells ...[]byte) []byte { return pair(num(1), list(cells...)) }

// cells is the argument of Get.
func getCells(from, to uint64) []byte { return list(pair(num(3), num(from)), pair(num(4), num(to))) }

// msid is what anybody reads.
func (h *host) msid() []byte {
	h.t.Helper()
	s := h.as(0x0000020500000001, 0, nil)
	result := s.must("Get of MSID", 0x0000000b00008402, 0x0000000600000016, getCells(3, 3))
	s.end()
	want := []byte{0xf0, 0xf0, 0xf2, 3, 0xd0, 32}
	if !bytes.HasPrefix(result, want) || !bytes.HasSuffix(result, []byte{0xf3, 0xf1, 0xf1}) {
		h.t.Fatalf("MSID: %x", result)
	}
	return result[len(want) : len(want)+32]
}

func (h *host) psid() []byte {
	h.t.Helper()
	l, err := h.rack.Label("S")
	if err != nil || len(l.PSID) != 32 {
		h.t.Fatalf("label %+v, %v", l, err)
	}
	return []byte(l.PSID)
}

// feature is a descriptor of Level 0 discovery, from its code on.
func (h *host) feature(code uint16) []byte {
	h.t.Helper()
	page, failed := h.transfer(1, 1, nil, 2048)
	if failed != 0 {
		h.t.Fatalf("discovery: %06x", failed)
	}
	end := int(binary.BigEndian.Uint32(page)) + 4
	for at := 48; at+4 <= end; at += 4 + int(page[at+3]) {
		if binary.BigEndian.Uint16(page[at:]) == code {
			return page[at : at+4+int(page[at+3])]
		}
	}
	return nil
}

const (
	adminSP, lockingSP     = 0x0000020500000001, 0x0000020500000002
	sid, psid, admin1      = 0x0000000900000006, 0x000000090001ff01, 0x0000000900010001
	mGet, mSet, mRevert    = 0x0000000600000016, 0x0000000600000017, 0x0000000600000202
	mActivate, mGenKey     = 0x0000000600000203, 0x0000000600000010
	mRevertSP              = 0x0000000600000011
	rangeGlobal, rangeOne  = 0x0000080200000001, 0x0000080200030001
	keyGlobal, keyOne      = 0x0000080600000001, 0x0000080600030001
	cpinSID, removalObject = 0x0000000b00000001, 0x0000110100000001
)

// Every door says the same of the drive, and takes the same methods.
func TestTCGDoors(t *testing.T) {
	t.Parallel()
	for _, x := range []struct{ profile, door string }{
		{"nvme-opal", "nvme"}, {"sas-enterprise", "scsi"}, {"sas-enterprise", "scsi512"}, {"sata-opal", "scsi"}, {"sata-opal", "scsi512"}, {"sata-opal", "ata"}, {"sata-opal", "ata-dma"},
	} {
		h := tcgRig(t, Spec{Profile: x.profile})
		h.door = x.door
		protocols, failed := h.transfer(0, 0, nil, 512)
		if want := []byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 1, 2}; failed != 0 || !bytes.HasPrefix(protocols, want) {
			t.Errorf("%s by %s: protocols %x, %06x", x.profile, x.door, protocols, failed)
		}
		if f := h.feature(2); len(f) != 16 || f[4]&0x0f != 0x0b {
			t.Errorf("%s by %s: locking %x", x.profile, x.door, f)
		}
		bad := map[string]int{"nvme": 0x02, "scsi": 0x052400, "scsi512": 0x052400, "ata": 0x0b0000, "ata-dma": 0x0b0000}[x.door]
		if x.profile == "sata-opal" {
			bad = 0x0b0000
		}
		if _, failed := h.transfer(1, 0x3333, nil, 512); failed != bad {
			t.Errorf("%s by %s: an unknown ComID: %06x", x.profile, x.door, failed)
		}
		if x.profile == "sas-enterprise" {
			continue
		}
		if len(h.msid()) != 32 {
			t.Errorf("%s by %s: no MSID", x.profile, x.door)
		}
	}
}

// A drive without a subsystem answers no security protocol.
func TestNoTCG(t *testing.T) {
	t.Parallel()
	g := newRig(t, Spec{Profile: "sata-ssd"})
	g.want("SECURITY PROTOCOL IN", 0x052400, []byte{0xa2, 0, 0, 0, 0x80, 0, 0, 0, 0, 1, 0, 0}, nil, 512)
	if r, _ := g.send([]byte{0xa1, pioIn << 1, 0x0e, 0, 1, 0, 0, 0, 0x40, 0x5c, 0, 0}, nil, 512); ataKey(r) != 0x0b0000 {
		t.Errorf("TRUSTED RECEIVE: %06x", ataKey(r))
	}
	if w := g.identity()[48]; w != 0 {
		t.Errorf("word 48: %04x", w)
	}
	h := &host{rig: newRig(t, Spec{Profile: "nvme-ssd"}), door: "nvme"}
	if _, failed := h.transfer(1, 1, nil, 512); failed != scInvalidOpcode {
		t.Errorf("Security Receive: %03x", failed)
	}
}

// A revert of a Locking SP that was never activated changes no user data, whoever does it.
func TestRevertOfInactiveKeepsData(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"sata-opal-inactive", "nvme-opal-inactive"} {
		h := tcgRig(t, Spec{Profile: profile})
		before := h.medium().Key()
		h.as(adminSP, psid, h.psid()).must("PSID revert", adminSP, mRevert)
		h.as(adminSP, sid, h.msid()).must("owner's revert", adminSP, mRevert)
		s := h.as(adminSP, sid, h.msid())
		s.must("revert of the Locking SP", lockingSP, mRevert)
		s.end()
		if !bytes.Equal(h.medium().Key(), before) {
			t.Errorf("%s: the media key changed", profile)
		}
		h.holds(profile, true, true)
		if _, old := h.readable(); !old {
			t.Errorf("%s: data is not readable any more", profile)
		}
	}
}

// The way of an owner who has the drive erase itself: take ownership, activate, revert.
func TestTakeActivateRevert(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"sata-opal-inactive", "nvme-opal-inactive", "nvme-ruby"} {
		h := tcgRig(t, Spec{Profile: profile})
		s := h.as(adminSP, sid, h.msid())
		s.must("Set of the PIN", cpinSID, mSet, setCells(pair(num(3), str("owner"))))
		s.must("Activate", lockingSP, mActivate)
		s.end()
		h.holds(profile+" activated", true, true)
		if f := h.feature(2); f[4]&7 != 3 {
			t.Errorf("%s: locking %x", profile, f)
		}
		if _, code := h.begin(adminSP, sid, h.msid()); code != 1 {
			t.Errorf("%s: SID by MSID: status %#x", profile, code)
		}
		s = h.as(adminSP, sid, []byte("owner"))
		s.must("Revert", adminSP, mRevert)
		h.holds(profile+" reverted", false, false)
		if answer := h.exchange(s.tsn, s.hsn, invoke(adminSP, mRevert)); answer != nil {
			t.Errorf("%s: the session goes on: %x", profile, answer)
		}
		if f := h.feature(2); f[4]&7 != 1 {
			t.Errorf("%s: locking %x after the revert", profile, f)
		}
		h.as(adminSP, sid, h.msid()).end()
	}
}

// Who holds the drive reverts it by what is printed on it, whatever PINs and locks there are.
func TestPSIDRevert(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"sata-opal", "nvme-opal-owned", "nvme-opal-lockout", "sas-enterprise-owned"} {
		h := tcgRig(t, Spec{Profile: profile})
		if _, code := h.begin(adminSP, psid, []byte("00000000000000000000000000000000")); code != 1 {
			t.Errorf("%s: wrong PSID: status %#x", profile, code)
		}
		s := h.as(adminSP, psid, h.psid())
		if code, _ := s.do(cpinSID, mSet, setCells(pair(num(3), str("x")))); code == 0 {
			t.Errorf("%s: PSID sets a PIN", profile)
		}
		s.must("Revert", adminSP, mRevert)
		h.holds(profile, false, false)
		if ok, old := h.readable(); !ok || old {
			t.Errorf("%s: readable %v, old data %v", profile, ok, old)
		}
		if profile != "sas-enterprise-owned" {
			h.as(adminSP, sid, h.msid()).end()
		}
	}
}

// securitySend is an IF-SEND to a ComID as it goes to an NVMe drive.
func securitySend(comID uint16, data []byte) *nvme.Command {
	return &nvme.Command{Opcode: 0x81, CDW10: 1<<24 | uint32(comID)<<8, CDW11: uint32(len(data)), Data: data, Timeout: time.Second}
}
