package tcg

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestDiscovery(t *testing.T) {
	d := discovered(t, featTPer, featLocking, featGeometry, "0402 10 0C 0E 01 00000000000000000000", "0201 10 0C 00000009 01 00000000000000",
		featOpal2, "0404 20 20 00 03 27 25 0003 FFFF 0001 00000000 0002 00000000000000000000000000000000", "C001 10 04 DEADBEEF", "0403 10 04 00000000")
	if len(d.Features) != 9 || d.Major != 1 || d.Minor != 2 || d.Enterprise() {
		t.Errorf("%+v", d)
	}
	if f, has := d.Has(0xc001); !has || !bytes.Equal(f.Data, x("DEADBEEF")) || f.Version != 1 {
		t.Errorf("an unknown feature is not kept: %+v", f)
	}
	f := d.Facts()
	yes := true
	if f.BlockSID == nil || *f.BlockSID != (BlockSIDState{SIDIsMSID: yes, Blocked: yes, Frozen: yes, ByReset: yes}) {
		t.Errorf("%+v", f.BlockSID)
	}
	wanted := []Mechanism{{0, "overwrite", some(int64(6 * 60)), false}, {1, "block erase", some(int64(65534 * 2)), true}, {2, "cryptographic erase", some(int64(120)), false}, {5, "vendor's own", some(int64(240)), false}}
	if r := f.Removal; r == nil || !r.Processing || !r.Interrupted || !reflect.DeepEqual(r.Mechanisms, wanted) {
		t.Errorf("%+v", f.Removal)
	}
	f.BlockSID, f.Removal = nil, nil
	if !reflect.DeepEqual(f, Facts{
		SSCs: []string{"Opal 2.02"}, Version: "1.2", Features: []string{"0001", "0002", "0003", "0402", "0201", "0203", "0404", "c001", "0403"}, ComID: testComi,
		LockingSupported: yes, LockingEnabled: yes, MediaEncryption: yes, InitialSIDIsMSID: &yes, RevertedSIDIsMSID: &yes, Ranges: some(int64(9)),
		SingleUser: yes, NamespaceLocking: yes, Synchronous: yes,
	}) {
		t.Errorf("%+v", f)
	}

	f = discovered(t, featTPer, "0002 10 0C 77 0000000000000000000000", "0303 10 10 07FE 0001 00 0000 0000 FF 01 0000000000").Facts()
	if f.MediaEncryption || !f.Locked || !f.MBREnabled || !f.MBRDone || *f.InitialSIDIsMSID || *f.RevertedSIDIsMSID || !slices.Equal(f.SSCs, []string{"Pyrite 2"}) || f.Ranges != nil {
		t.Errorf("%+v", f)
	}
	if d := discovered(t, featTPer, featLocking, featEnterprise); !d.Enterprise() || d.Facts().ComID != testComi {
		t.Errorf("%+v", d)
	}
}

func TestDiscoveriesThatAreNone(t *testing.T) {
	whole := level0(featTPer, featLocking, featOpal2)
	length := func(n uint32) []byte {
		b := bytes.Clone(whole)
		binary.BigEndian.PutUint32(b, n)
		return b
	}
	total := binary.BigEndian.Uint32(whole)
	for name, c := range map[string]struct {
		b  []byte
		is error
	}{
		"nothing":                      {nil, ErrNoAnswer},
		"all zero":                     {make([]byte, 512), ErrNoAnswer},
		"half a header":                {whole[:47], ErrTruncated},
		"a length of 43":               {length(43), nil},
		"a length that wraps":          {length(0xffffffff), ErrTruncated},
		"more than came":               {whole[:total], ErrTruncated},
		"into a feature":               {length(total - 1), nil},
		"into a feature's header":      {length(total - 18), nil},
		"no features":                  {level0(), ErrNoAnswer},
		"only zeros for features":      {level0("0000 00 00 00000000"), ErrNoAnswer},
		"a feature beyond the end":     {level0(featTPer, "0002 10 FF 0B"), nil},
		"a Locking feature of nothing": {level0(featTPer, "0002 10 00"), nil},
		"a short Opal":                 {level0(featTPer, featLocking, "0203 10 0A 07FE 0001 00 0004 0009 00"), nil},
		"a short removal":              {level0("0404 10 0F 00 00 07 05 0003 0000 0001 00000000 00"), nil},
		"two Locking features":         {level0(featLocking, "0002 10 0C 01 0000000000000000000000"), nil},
	} {
		if d, err := ParseDiscovery(c.b); err == nil || len(d.Features) != 0 || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	if _, err := Discover(t.Context(), &tper{t: t, discovery: whole}); err != nil {
		t.Error(err)
	}
	// An answer longer than usual is asked for again, once.
	p := &tper{t: t, discovery: append(length(5000), make([]byte, 2048-len(whole))...)}
	if _, err := Discover(t.Context(), p); !errors.Is(err, ErrTruncated) || !slices.Equal(p.sizes, []int{2048, 64 << 10}) {
		t.Error(err, p.sizes)
	}
}

func TestProtocols(t *testing.T) {
	if list, err := ParseProtocols(x("000000000000 0004 00 01 02 EF 00")); err != nil || !slices.Equal(list, []uint8{0, 1, 2, 0xef}) || !SpeaksTCG(list) || SpeaksTCG([]uint8{0, 0xef}) {
		t.Error(list, err)
	}
	for name, hex := range map[string]string{"blank": "000000000000 0000 00 00 00", "short": "00000000", "more than came": "000000000000 0004 00 01 02", "not ascending": "000000000000 0003 00 02 01",
		"without itself": "000000000000 0002 01 02", "twice": "000000000000 0003 00 01 01", "too many": "000000000000 0200" + strings.Repeat("00", 512)} {
		if list, err := ParseProtocols(x(hex)); err == nil {
			t.Error(name, list)
		}
	}
}

func TestComPacketsThatAreNone(t *testing.T) {
	good := packet(testComi, 1, 2, x("F0 F1"+ok))
	if c, err := ParseComPacket(append(bytes.Clone(good), 0xaa)); err != nil || c.TSN != 1 || c.HSN != 2 || len(c.Payload) != 8 || c.NotYet() {
		t.Fatal(c, err)
	}
	change := func(at int, v uint32) []byte {
		b := append(bytes.Clone(good), make([]byte, 64)...)
		binary.BigEndian.PutUint32(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "19 bytes": good[:19], "all zero": make([]byte, 64), "cut": good[:len(good)-1],
		"a ComID extension": change(6, 1<<16), "a length of 1": change(16, 1), "a length beyond": change(16, 4000), "a length that wraps": change(16, 0xfffffff0),
		"a packet of 0": change(40, 0), "a packet of 11": change(40, 11), "a packet beyond": change(40, 21), "a packet that wraps": change(40, 0xfffffff0),
		"a subpacket of 0": change(52, 0), "a subpacket beyond": change(52, 9), "a subpacket that wraps": change(52, 0xffffffff),
		"a credit": change(48, 0x8001), "bytes behind the subpacket": change(52, 4),
	} {
		if c, err := ParseComPacket(b); err == nil || c.Payload != nil {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if c, err := ParseComPacket(x("00000000 07FE0000 00000001 00000000 00000000 FFFF")); err != nil || !c.NotYet() {
		t.Error(c, err)
	}
	// Some drives do not count the padding of the subpacket.
	if c, err := ParseComPacket(x("00000000 07FE0000 00000000 00000000 0000002E 00000001 00000002 00000000 0000 0000 00000000 00000016 000000000000 0000 0000000A FF FF F0 F1 F9 F0 00 00 00 F1")); err != nil || len(c.Payload) != 10 {
		t.Error(c, err)
	}
}

func TestMessages(t *testing.T) {
	m, err := ParseMessage(x("FF F0 3F 820100 88FFFFFFFFFFFFFFFF A0 A201FF D003 010203 E2000002 0405 F2 00 F0 01 F1 F3 F0 F0 F1 F1 FF F1 F9 F0 12 00 00 F1 FF"))
	uints := func(v Value) bool { return v.Kind == KindUint }
	if err != nil || m.Status != 0x12 || len(m.Values) != 9 || !uints(m.Values[0]) || m.Values[0].Uint != 63 || m.Values[1].Uint != 256 || m.Values[2].Uint != 1<<64-1 ||
		m.Values[3].Kind != KindBytes || len(m.Values[3].Bytes) != 0 || !bytes.Equal(m.Values[6].Bytes, []byte{4, 5}) || m.Values[7].Kind != KindName || m.Values[8].List[0].Kind != KindList {
		t.Errorf("%+v, %v", m, err)
	}
	for name, hex := range map[string]string{
		"nothing": "", "only empty atoms": "FF FF", "an atom": "01" + ok, "an open list": "F0 01", "an open inner list": "F0 F0 01 F1" + ok, "a list closed twice": "F0 F1 F1" + ok,
		"a short atom cut": "F0 A8 01", "a short atom that lacks one byte": "F0 A2 01", "a medium atom that lacks two": "F0 D003 01", "a medium atom cut": "F0 D7", "a medium atom without its bytes": "F0 D7FF 01", "a long atom cut": "F0 E2 FF", "a long atom without its bytes": "F0 E2FFFFFF",
		"a number of 9 bytes": "F0 89 000000000000000001 F1" + ok, "a number of no bytes": "F0 80 F1" + ok, "a medium number of 9 bytes": "F0 C009 000000000000000001 F1" + ok,
		"a negative tiny": "F0 41 F1" + ok, "a signed short": "F0 91 01 F1" + ok, "a continued string": "F0 B1 01 F1" + ok, "a continued medium": "F0 D801 01 F1" + ok,
		"a name of one": "F0 F2 01 F3 F1" + ok, "a name of three": "F0 F2 01 02 03 F3 F1" + ok, "an open name": "F0 F2 01 02 F1" + ok, "a name that is a list": "F0 F2 F0 F1 02 F3 F1" + ok,
		"a reserved token": "F0 F4 F1" + ok, "a reserved atom": "F0 E4000000 F1" + ok, "a transaction": "FB 00" + ok, "a call in a list": "F0 F8 F1" + ok,
		"a call without its method": "F8" + smuid + "F0 F1" + ok, "a call of a short name": "F8 A3 010203" + smuid + "F0 F1" + ok,
		"no status": "F0 F1 F9", "no end of data": "F0 F1 F0 00 00 00 F1", "more behind the status": "F0 F1" + ok + "F0 F1", "a status of 256": "F0 F1 F9 F0 820100 00 00 F1",
		"a status that is a list": "F0 F1 F9 F0 F0 F1 00 00 F1", "lists too deep": strings.Repeat("F0", 20) + strings.Repeat("F1", 20) + ok,
	} {
		if m, err := ParseMessage(x(hex)); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// A PIN must not be in any output, whatever it is part of.
func TestSecretsAreNotShown(t *testing.T) {
	s := pin("hunter2hunter2hunter2")
	holder := struct {
		Open   Secret
		closed Secret
		List   []Secret
	}{s, s, []Secret{s}}
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, s, &s, holder, &holder)
	}
	fmt.Fprint(&out, fmt.Errorf("with %v: %w", s, fmt.Errorf("%s", s)))
	b, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	m, err := json.Marshal(map[string]any{"pin": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(append(b, m...))
	for _, shown := range []string{"hunter", "68756e", "68756E", "104 117", "aHVu", "0x68, 0x75"} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("%q is in %s", shown, out.String())
		}
	}
	c := s.Clone()
	s.Wipe()
	if !zeros(s.Reveal()) || string(c.Reveal()[:6]) != "hunter" || !(Secret{}).Empty() || c.Empty() {
		t.Error("wiping does not wipe, or wipes too much")
	}
}

func FuzzMessage(f *testing.F) {
	for _, hex := range []string{"F0 F1" + ok, "F8" + smuid + smuid + "F0 01 F2 02 A103 F3 F1" + ok, "FA", "F0 D003010203 E2000001FF 88FFFFFFFFFFFFFFFF F1" + ok, "F0 D7", "F0F0F0"} {
		f.Add(x(hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMessage(b)
		if err != nil && (m.Status != 0 || m.Values != nil || m.Call || m.EndOfSession) {
			t.Errorf("%v, and yet %+v", err, m)
		}
		if err == nil && !m.EndOfSession && !bytes.Contains(b, []byte{tokenEndOfData}) {
			t.Errorf("a message without an end: %+v", m)
		}
	})
}

func FuzzComPacket(f *testing.F) {
	f.Add(packet(testComi, 1, 2, x("F0 F1"+ok)))
	f.Add(x("00000000 07FE0000 00000001 00000000 00000000"))
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseComPacket(b)
		if err != nil && c.Payload != nil || len(c.Payload) > max(0, len(b)-headers) {
			t.Errorf("%v, %d bytes of %d", err, len(c.Payload), len(b))
		}
		if err == nil && c.Payload != nil {
			if _, err := ParseMessage(c.Payload); err == nil && len(c.Payload) == 0 {
				t.Error("a message of nothing")
			}
		}
	})
}

func FuzzDiscovery(f *testing.F) {
	f.Add(level0(featTPer, featLocking, featGeometry, featOpal2, featBlockSID, featRemoval))
	f.Add(level0(featTPer, featLocking, featEnterprise))
	f.Add(level0(featPyrite2, "0201 10 0C 00000009 01 00000000000000"))
	f.Add(make([]byte, 48))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDiscovery(b)
		if err != nil {
			if len(d.Features) > 0 {
				t.Error("an error, and features")
			}
			return
		}
		facts := d.Facts()
		for _, a := range Abilities(facts) {
			if a.Able && (!facts.MediaEncryption || !facts.LockingSupported || facts.ComID == 0) {
				t.Errorf("%+v by %+v", a, facts)
			}
		}
		AfterRevert(facts)
		if _, err := ParseProtocols(b); err == nil && len(b) < 9 {
			t.Error("a list of nothing")
		}
	})
}
