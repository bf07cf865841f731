package ata

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// words is an identity whose words are these and zeros.
func words(w map[int]uint16) Identity {
	var i Identity
	for n, v := range w {
		i.words[n] = v
	}
	return i
}

func TestSecurityState(t *testing.T) {
	for _, x := range []struct {
		name string
		w    map[int]uint16
		want Security
	}{
		{"not reported", map[int]uint16{89: 10}, Security{}},
		{"ones", map[int]uint16{128: 0xffff}, Security{}},
		{"supported", map[int]uint16{128: 0x21, 89: 60, 90: 1, 92: 0xfffe}, Security{Supported: true, EnhancedSupported: true, EraseMinutes: 120, EnhancedMinutes: 2, MasterID: 0xfffe}},
		{"all states", map[int]uint16{128: 0x11f, 92: 0xffff}, Security{Supported: true, Enabled: true, Locked: true, Frozen: true, CountExpired: true, MasterMaximum: true}},
		{"more than 508 minutes", map[int]uint16{128: 1, 89: 255, 90: 254}, Security{Supported: true, EraseMinutes: 508, EraseAtLeast: true, EnhancedMinutes: 508}},
		{"extended format", map[int]uint16{128: 1, 89: 0x8000 | 255, 90: 0x8000 | 1000}, Security{Supported: true, EraseMinutes: 510, EnhancedMinutes: 2000}},
		{"extended format, its highest", map[int]uint16{128: 1, 89: 0xfffe, 90: 0xffff}, Security{Supported: true, EraseMinutes: 65532}},
	} {
		if s := words(x.w).SecurityState(); s != x.want {
			t.Errorf("%s: %+v", x.name, s)
		}
	}
}

func TestEraseTimeout(t *testing.T) {
	s := Security{EraseMinutes: 120, EnhancedMinutes: 2}
	for _, x := range []struct {
		name     string
		enhanced bool
		s        Security
		want     time.Duration
	}{
		{"normal", false, s, 210 * time.Minute},
		{"enhanced", true, s, 62*time.Minute + 30*time.Second},
		{"unknown", false, Security{EnhancedMinutes: 2}, 72 * time.Hour},
		{"more than 508 minutes", true, Security{EnhancedMinutes: 508, EnhancedAtLeast: true}, 72 * time.Hour},
		{"more than a kernel can wait", false, Security{EraseMinutes: 65532}, 49 * 24 * time.Hour},
	} {
		if c := (EraseUnit{Enhanced: x.enhanced}).Command(x.s); c.Timeout != x.want || c.Timeout.Milliseconds() >= 1<<32 {
			t.Errorf("%s: %v", x.name, c.Timeout)
		}
	}
}

// Each password command's block, as the drive gets it and as the translation does (SAT-4).
func TestPasswordBlocks(t *testing.T) {
	password := [32]byte([]byte("0123456789abcdef0123456789abcdef"))
	for _, x := range []struct {
		name      string
		c         Command
		word0     uint16
		specific  byte
		parameter string // bytes 0 and 1
	}{
		{"set the user password", SetPassword(password, false), 0, 1, "\x00\x00"},
		{"set the master password", SetPassword(password, true), 1, 1, "\x00\x01"},
		{"unlock", Unlock(password, false), 0, 2, "\x00\x00"},
		{"unlock with the master password", Unlock(password, true), 1, 2, "\x00\x01"},
		{"erase", EraseUnit{Password: password}.Command(Security{}), 0, 4, "\x00\x00"},
		{"enhanced erase", EraseUnit{Password: password, Enhanced: true}.Command(Security{}), 2, 4, "\x01\x00"},
		{"enhanced erase with the master password", EraseUnit{Password: password, Enhanced: true, Master: true}.Command(Security{}), 3, 4, "\x01\x01"},
		{"disable", DisablePassword(password, true), 1, 6, "\x00\x01"},
	} {
		want := make([]byte, 512)
		binary.LittleEndian.PutUint16(want, x.word0)
		copy(want[2:], password[:])
		if !bytes.Equal(x.c.Data, want) || !x.c.CheckCondition {
			t.Errorf("%s: %x", x.name, x.c.Data)
		}
		s, err := x.c.SATSecurity()
		if err != nil || !bytes.Equal(s.CDB, []byte{0xb5, 0xef, 0, x.specific, 0, 0, 0, 0, 0, 36, 0, 0}) || s.Direction != scsi.DataOut || s.Timeout != x.c.Timeout ||
			string(s.Data) != x.parameter+string(password[:])+"\x00\x00" {
			t.Errorf("%s: %x %x %v", x.name, s.CDB, s.Data, err)
		}
	}
	identified := SetPassword(password, true)
	identified.Data[1], identified.Data[34], identified.Data[35] = 1, 0x34, 0x12
	if s, err := identified.SATSecurity(); err != nil || s.Data[0] != 1 || s.Data[34] != 0x12 || s.Data[35] != 0x34 {
		t.Errorf("capability maximum and an identifier: %x %v", s.Data, err)
	}
	if s, err := ErasePrepare().SATSecurity(); err != nil || !bytes.Equal(s.CDB, []byte{0xb5, 0xef, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0}) || s.Direction != scsi.NoData || len(s.Data) != 0 {
		t.Errorf("erase prepare: %+v %v", s, err)
	}
	for name, c := range map[string]Command{
		"another command": IdentifyDevice(), "freeze lock": {Protocol: NonData, Opcode: 0xf5, Timeout: 1}, "no block": {Protocol: NonData, Opcode: 0xf4, Timeout: 1},
		"no timeout": {Protocol: PIOOut, Opcode: 0xf4, Count: 1, Data: make([]byte, 512)},
	} {
		if s, err := c.SATSecurity(); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestSATSecurityInfo(t *testing.T) {
	if c := SATSecurityInfo(); !bytes.Equal(c.CDB, unhex(t, "a2 ef 00 00 00 00 00 00 00 10 00 00")) || len(c.Data) != 16 || c.Direction != scsi.DataIn || c.Timeout <= 0 {
		t.Errorf("%+v", c)
	}
	for _, x := range []struct {
		name, page string
		want       Security
	}{
		{"supported", "00 0e 00 3c 00 01 ff fe 00 21 00 00 00 00 00 00", Security{Supported: true, EnhancedSupported: true, EraseMinutes: 120, EnhancedMinutes: 2, MasterID: 0xfffe}},
		{"all states", "00 0e 00 00 00 00 00 00 01 1f 00 00 00 00 00 00", Security{Supported: true, Enabled: true, Locked: true, Frozen: true, CountExpired: true, MasterMaximum: true}},
		{"long times", "00 0e 03 e8 7f ff 00 00 00 01 00 00 00 00 00 00", Security{Supported: true, EraseMinutes: 2000, EnhancedMinutes: 65532, EnhancedAtLeast: true}},
		{"times with the format bit", "00 0e 83 e8 00 ff 00 00 00 01 00 00 00 00 00 00", Security{Supported: true, EraseMinutes: 2000, EnhancedMinutes: 508, EnhancedAtLeast: true}},
		{"not supported", "00 0e 00 00 00 00 00 00 00 00 00 00 00 00 00 00", Security{}},
	} {
		if s, err := ParseSATSecurity(unhex(t, x.page)); err != nil || s != x.want {
			t.Errorf("%s: %+v %v", x.name, s, err)
		}
	}
	for name, page := range map[string]string{
		"zeros": strings.Repeat("00", 16), "short": "00 0e 00 3c", "another length": "00 0c 00 3c 00 01 ff fe 00 21 00 00 00 00 00 00",
		"locked and not supported": "00 0e 00 3c 00 01 ff fe 00 04 00 00 00 00 00 00",
	} {
		if s, err := ParseSATSecurity(unhex(t, page)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
