package nvme

import (
	"encoding/binary"
	"slices"
	"testing"
)

func slotPage(afi byte, slots ...string) []byte {
	b := make([]byte, 512)
	b[0] = afi
	for n, s := range slots {
		copy(b[8*(n+1):], s)
	}
	return b
}

func TestParseFirmwareSlots(t *testing.T) {
	for _, x := range []struct {
		name    string
		page    []byte
		pending bool
		err     bool
	}{
		{name: "one slot, nothing said", page: slotPage(0x01, "1.0     ")},
		{name: "another slot is next", page: slotPage(0x21, "1.0     ", "1.1     "), pending: true},
		{name: "another slot is next, with the same firmware", page: slotPage(0x21, "1.0     ", "1.0     "), pending: true},
		{name: "the same slot is next, as some always say", page: slotPage(0x11, "1.0     ")},
		{name: "the same slot is next, with new firmware", page: slotPage(0x11, "1.1     "), pending: true},
		{name: "reserved bits", page: slotPage(0x89, "1.0     ")},
		{name: "no slot runs", page: slotPage(0x20, "1.0     ", "1.1     "), err: true},
		{name: "a slot runs that is not there", page: slotPage(0x03), err: true},
		{name: "a slot is next that is not there", page: slotPage(0x31, "1.0     "), err: true},
		{name: "zeros", page: make([]byte, 512), err: true},
		{name: "short", page: slotPage(0x01)[:511], err: true},
		{name: "empty", err: true},
	} {
		f, err := ParseFirmwareSlots(x.page, 2)
		if (err != nil) != x.err || f.Pending("1.0") != x.pending {
			t.Errorf("%s: %+v, pending %v, %v", x.name, f, f.Pending("1.0"), err)
		}
	}
}

func TestParseBootPartition(t *testing.T) {
	b := make([]byte, 512)
	b[0] = 0x15
	binary.LittleEndian.PutUint32(b[4:], 1<<31|1<<15|8)
	if each, err := ParseBootPartition(b); err != nil || each != 1<<20 {
		t.Errorf("%d, %v", each, err)
	}
	none := slices.Clone(b)
	copy(none[4:], make([]byte, 4))
	for name, b := range map[string][]byte{"zeros": make([]byte, 512), "empty": nil, "short": b[:15], "another page": append([]byte{0x02}, b[1:]...), "no bytes": none} {
		if each, err := ParseBootPartition(b); err == nil {
			t.Errorf("%s: %d", name, each)
		}
	}
}

// registrants is a report in either form: the last holds it.
func registrants(rtype byte, extended bool, keys ...uint64) []byte {
	size, key := 24, 16
	if extended {
		size, key = 64, 8
	}
	b := make([]byte, 4096)
	b[0], b[4], b[5] = 7, rtype, byte(len(keys))
	for i, k := range keys {
		p := b[size*(i+1):]
		p[0] = byte(i + 1)
		if i == len(keys)-1 && rtype != 0 {
			p[2] = 1
		}
		binary.LittleEndian.PutUint64(p[key:], k)
	}
	return b
}

func TestParseReservationStatus(t *testing.T) {
	many := registrants(1, false, 1)
	copy(many[5:], []byte{0xff, 0xff})
	for _, x := range []struct {
		name     string
		page     []byte
		extended bool
		rtype    ReservationType
		count    uint16
		keys     []uint64
		err      bool
	}{
		{name: "nobody", page: make([]byte, 4096)},
		{name: "nobody, extended", page: make([]byte, 4096), extended: true},
		{name: "registered, not reserved", page: registrants(0, false, 0xabc), count: 1, keys: []uint64{0xabc}},
		{name: "one holds it", page: registrants(3, false, 1, 1<<63), rtype: 3, count: 2, keys: []uint64{1, 1 << 63}},
		{name: "one holds it, extended", page: registrants(6, true, 1, 1<<63), extended: true, rtype: 6, count: 2, keys: []uint64{1, 1 << 63}},
		{name: "more than the answer has room for", page: many[:48], rtype: 1, count: 0xffff, keys: []uint64{1}},
		{name: "registered, and none is listed", page: many[:24], err: true},
		{name: "reserved by nobody", page: registrants(1, false), err: true},
		{name: "reserved type", page: registrants(7, false, 1), err: true},
		{name: "nothing was written", page: ReservationReport{}.Command().Data, err: true},
		{name: "short", page: make([]byte, 23), err: true},
		{name: "short, extended", page: make([]byte, 63), extended: true, err: true},
		{name: "empty", err: true},
	} {
		s, err := ParseReservationStatus(x.page, x.extended)
		var keys []uint64
		for i, r := range s.Registrants {
			if i < 2 {
				keys = append(keys, r.RKEY)
			}
			if last := i == int(s.REGCTL)-1 && s.RTYPE != 0; r.Holds != last && x.count < 3 {
				t.Errorf("%s: %d holds it: %v", x.name, i, r.Holds)
			}
		}
		if (err != nil) != x.err || s.RTYPE != x.rtype || s.REGCTL != x.count || !slices.Equal(keys, x.keys) {
			t.Errorf("%s: %+v, %v", x.name, s, err)
		}
	}
	if words := ReservationType(3).String(); words != "write exclusive, registrants only" {
		t.Error(words)
	}
}

// Whatever answers, nobody is "not registered" by a page that says otherwise, and nothing panics.
func FuzzFacts(f *testing.F) {
	f.Add(slotPage(0x21, "1.0", "1.1"))
	f.Add(registrants(3, true, 1, 2))
	f.Add(registrants(3, false, 1, 2))
	f.Add([]byte{0x15, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseFirmwareSlots(b, 7); err == nil && (s.Active < 1 || s.Active > 7 || s.Next > 7) {
			t.Errorf("%+v", s)
		}
		if each, err := ParseBootPartition(b); err == nil && each <= 0 {
			t.Error(each)
		}
		for _, extended := range []bool{false, true} {
			s, err := ParseReservationStatus(b, extended)
			if err == nil && (len(s.Registrants) > int(s.REGCTL) || s.REGCTL > 0 && len(s.Registrants) == 0 || s.REGCTL == 0 && s.RTYPE != 0) {
				t.Errorf("%+v", s)
			}
		}
	})
}
