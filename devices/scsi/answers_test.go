package scsi

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
)

func TestParseBlockDescriptor(t *testing.T) {
	for _, x := range []struct {
		name, b string
		want    BlockDescriptor
	}{
		{"short", "001a000000000008" + "00001000" + "00000208" + "0a0a0400080000000000" + "0000", BlockDescriptor{Blocks: 0x1000, Length: 520}},
		{"short, density set", "000e008000000008" + "00001000" + "ff000200", BlockDescriptor{Blocks: 0x1000, Length: 512, WriteProtected: true}},
		{"short, too many blocks", "000e000000000008" + "ffffffff" + "00000200", BlockDescriptor{Length: 512}},
		{"long", "0016000001000010" + "00000001d1c0beb0" + "00000000" + "00001000", BlockDescriptor{Blocks: 0x1d1c0beb0, Length: 4096, Long: true}},
	} {
		if d, err := ParseBlockDescriptor(unhex(t, x.b)); err != nil || d != x.want {
			t.Errorf("%s: %+v %v", x.name, d, err)
		}
	}
	for name, b := range map[string]string{
		"none": "0006000000000000", "header alone": "000e000000000008", "short": "0006", "zeros": "00000000000000000000000000000000",
		"blocks of nothing": "000e000000000008" + "00001000" + "00000000", "long descriptor of 8 bytes": "000e000001000008" + "00001000" + "00000200",
		"longer than the answer": "0006000000000008" + "00001000" + "00000200",
	} {
		if d, err := ParseBlockDescriptor(unhex(t, b)); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestParseOpcodeSupport(t *testing.T) {
	for b, want := range map[string]Support{"0000000000": SupportUnknown, "00010000": NotSupported, "0003000a48bf00000000000000ff": SupportedStandard, "0085000a": SupportedVendor} {
		if s, err := ParseOpcodeSupport(unhex(t, b)); err != nil || s != want {
			t.Errorf("%s: %v %v", b, s, err)
		}
	}
	for _, b := range []string{"", "0003", "00020000", "00040000", "00060000", "00070000", "ffffffff"} {
		if s, err := ParseOpcodeSupport(unhex(t, b)); err == nil || s != SupportUnknown {
			t.Errorf("%s: %v %v", b, s, err)
		}
	}
}

func TestDefects(t *testing.T) {
	for _, x := range []struct {
		b      string
		count  uint32
		format uint8
		known  bool
	}{
		{"0008000000000000", 0, 0, true}, {"0010000100000010", 4, 0, true}, {"000d000100000010", 2, 5, true}, {"000e000100000010", 0, 6, false}, {"000e000000000000", 0, 6, true},
	} {
		_, format, err := ParseDefectCount(unhex(t, x.b))
		if n, known := Defects(unhex(t, x.b)); err != nil || format != x.format || n != x.count || known != x.known {
			t.Errorf("%s: %d of format %d, %v %v", x.b, n, format, known, err)
		}
	}
	for name, b := range map[string]string{"zeros": "0000000000000000", "short": "00080000", "part of a descriptor": "0008000000000006"} {
		if n, known := Defects(unhex(t, b)); known || n != 0 {
			t.Errorf("%s: %d", name, n)
		}
		if _, _, err := ParseDefectCount(unhex(t, b)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseReservations(t *testing.T) {
	for b, want := range map[string][]uint64{"0000000000000000": nil, "0000000700000010" + "000000000000abcd" + "1122334455667788" + "ffff": {0xabcd, 0x1122334455667788}} {
		if keys, err := ParseReservationKeys(unhex(t, b)); err != nil || !reflect.DeepEqual(keys, want) {
			t.Errorf("%s: %x %v", b, keys, err)
		}
	}
	for name, b := range map[string]string{"short": "00000000", "cut off": "0000000700000010" + "000000000000abcd", "part of a key": "0000000700000007" + "000000000000abcd", "ones": "ffffffffffffffffffffffffffffffff"} {
		if keys, err := ParseReservationKeys(unhex(t, b)); err == nil {
			t.Errorf("%s: %x", name, keys)
		}
	}
}

func TestParseLUNs(t *testing.T) {
	if l, err := ParseLUNs(unhex(t, "0000001000000000"+"0000000000000000"+"0001000000000000"+"ffff")); err != nil || !reflect.DeepEqual(l, []uint64{0, 1 << 48}) {
		t.Errorf("%x %v", l, err)
	}
	for name, b := range map[string]string{"zeros": "00000000000000000000000000000000", "short": "00000008", "cut off": "0000001000000000" + "0000000000000000", "part of one": "0000000400000000" + "00000000"} {
		if l, err := ParseLUNs(unhex(t, b)); err == nil {
			t.Errorf("%s: %x", name, l)
		}
	}
}

// elements is an answer of storage elements with these healths.
func elements(health ...byte) []byte {
	b := make([]byte, 32*(1+len(health)))
	binary.BigEndian.PutUint32(b, uint32(len(health)))
	binary.BigEndian.PutUint32(b[4:], uint32(len(health)))
	for n, h := range health {
		p := b[32*(1+n):]
		p[7], p[14], p[15] = byte(n+1), 1, h
	}
	return b
}

func TestParseElements(t *testing.T) {
	e, err := ParseElements(elements(0x00, 0x10, 0x64, 0x65, 0xcf, 0xff, 0xfb, 0xfd, 0xfe))
	if want := (Elements{Total: 9, OutsideSpec: 2, Depopulated: 1, Unsettled: 3}); err != nil || e != want {
		t.Errorf("%+v %v", e, err)
	}
	if n, err := ParseDepopulated(elements(0x10, 0xff)); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
	named := elements(0x10, 0x10)
	named[11] = 2
	if n, err := ParseDepopulated(named); err != nil || n != 1 {
		t.Errorf("one that the header names: %d %v", n, err)
	}
	change := func(at int, v byte) []byte {
		b := elements(0x10, 0x10)
		b[at] = v
		return b
	}
	for name, b := range map[string][]byte{
		"zeros": make([]byte, 64), "short": elements(1)[:31], "cut off": elements(1, 1)[:95], "more than came": change(3, 3), "fewer than announced": change(7, 1),
		"reserved health": elements(0xd0), "another type": change(32+14, 2), "no identifier": change(32+7, 0), "twice": change(64+7, 1),
		"ones": bytes.Repeat([]byte{0xff}, 64),
	} {
		if e, err := ParseElements(b); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestParseLogs(t *testing.T) {
	for _, x := range []struct {
		name, b string
		celsius int
		known   bool
	}{
		{"38", "0d00000c" + "000003020026" + "00010302003c", 38, true}, {"after another", "0d00000c" + "00010302003c" + "000003020026", 38, true},
		{"unknown", "0d000006" + "0000030200ff", 0, false}, {"cut off behind it", "0d00000c" + "000003020026" + "0001", 38, true},
	} {
		if c, known, err := ParseTemperature(unhex(t, x.b)); err != nil || c != x.celsius || known != x.known {
			t.Errorf("%s: %d %v %v", x.name, c, known, err)
		}
	}
	for name, b := range map[string]string{
		"zeros": "00000000000000000000", "another page": "15000006" + "000003020026", "subpage": "4d010006" + "000003020026", "no parameter": "0d000006" + "00010302003c",
		"short": "0d", "cut off": "0d000006" + "0000030200", "a byte": "0d000005" + "0000030100",
	} {
		if c, known, err := ParseTemperature(unhex(t, b)); err == nil || known {
			t.Errorf("%s: %d", name, c)
		}
	}
	for b, want := range map[string]uint32{"15000010" + "0000030c" + "0001e240" + "0000000000000000": 123456, "15000010" + "0000030c" + "00000000" + "0000000000000000": 0} {
		if n, known, err := ParsePowerOnMinutes(unhex(t, b)); err != nil || n != want || known != (want != 0) {
			t.Errorf("%s: %d %v %v", b, n, known, err)
		}
	}
	if n, known, err := ParsePowerOnMinutes(unhex(t, "15000006"+"000003020026")); err == nil || known {
		t.Errorf("a short status: %d", n)
	}
}
