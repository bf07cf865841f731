package ata

import "time"

// Security is the state of the Security feature set (ACS-4), from IDENTIFY DEVICE or from the
// translation.
type Security struct {
	Supported         bool
	Enabled           bool // a user password is set
	Locked            bool
	Frozen            bool
	CountExpired      bool // too many wrong passwords: until a power cycle
	EnhancedSupported bool
	MasterMaximum     bool // master password capability: maximum, it can only erase

	// What SECURITY ERASE UNIT takes, in minutes: 0 is unknown, AtLeast is the value for "more than".
	EraseMinutes, EnhancedMinutes int
	EraseAtLeast, EnhancedAtLeast bool

	MasterID uint16 // master password identifier, 0 where not reported
}

// SecurityState reads words 89, 90, 92 and 128 (ACS-4 7.13.6).
func (i Identity) SecurityState() Security {
	if !reported(i.words[128]) {
		return Security{}
	}
	w := i.words[128]
	s := Security{
		Supported: w&1 != 0, Enabled: w&(1<<1) != 0, Locked: w&(1<<2) != 0, Frozen: w&(1<<3) != 0,
		CountExpired: w&(1<<4) != 0, EnhancedSupported: w&(1<<5) != 0, MasterMaximum: w&(1<<8) != 0,
	}
	s.EraseMinutes, s.EraseAtLeast = eraseTime(i.words[89])
	s.EnhancedMinutes, s.EnhancedAtLeast = eraseTime(i.words[90])
	if reported(i.words[92]) {
		s.MasterID = i.words[92]
	}
	return s
}

// eraseTime reads word 89 or 90: bit 15 tells whether seven or fourteen bits more count.
func eraseTime(w uint16) (minutes int, atLeast bool) {
	top := uint16(0xff)
	if w&(1<<15) != 0 {
		top = 0x7fff
	}
	switch n := w & top; {
	case !reported(w):
		return 0, false
	case n == top:
		return int(n-1) * 2, true
	default:
		return int(n) * 2, false
	}
}

// The commands of the feature set. SECURITY FREEZE LOCK, F5h, is never sent.
const (
	securitySetPassword     = 0xf1
	securityUnlock          = 0xf2
	securityErasePrepare    = 0xf3
	securityEraseUnit       = 0xf4
	securityDisablePassword = 0xf6
)

// passwordCommand has a block of word 0, with the master bit, and the password from word 1 on.
func passwordCommand(opcode uint8, password [32]byte, master bool) Command {
	b := make([]byte, 512)
	if master {
		b[0] |= 1
	}
	copy(b[2:34], password[:])
	return Command{Protocol: PIOOut, Count: 1, Opcode: opcode, Data: b, CheckCondition: true, Timeout: quick}
}

// SetPassword is SECURITY SET PASSWORD (ACS-4). Master password capability is high, always: a
// drive whose user password is lost can then be unlocked with the master password. A master
// password keeps its identifier.
func SetPassword(password [32]byte, master bool) Command {
	return passwordCommand(securitySetPassword, password, master)
}

// Unlock is SECURITY UNLOCK (ACS-4).
func Unlock(password [32]byte, master bool) Command {
	return passwordCommand(securityUnlock, password, master)
}

// DisablePassword is SECURITY DISABLE PASSWORD (ACS-4). A locked drive refuses it.
func DisablePassword(password [32]byte, master bool) Command {
	return passwordCommand(securityDisablePassword, password, master)
}

// ErasePrepare is SECURITY ERASE PREPARE (ACS-4), which must come right before EraseUnit.
func ErasePrepare() Command {
	return Command{Protocol: NonData, Opcode: securityErasePrepare, CheckCondition: true, Timeout: quick}
}

// EraseUnit is SECURITY ERASE UNIT (ACS-4), which returns when the drive is done.
type EraseUnit struct {
	Enhanced bool
	Master   bool
	Password [32]byte
}

// Command encodes it. The timeout comes of what the drive says it takes.
func (e EraseUnit) Command(s Security) Command {
	c := passwordCommand(securityEraseUnit, e.Password, e.Master)
	minutes, atLeast := s.EraseMinutes, s.EraseAtLeast
	if e.Enhanced {
		c.Data[0] |= 1 << 1
		minutes, atLeast = s.EnhancedMinutes, s.EnhancedAtLeast
	}
	c.Timeout = eraseTimeout(minutes, atLeast)
	return c
}

// A kernel that is told no timeout resets the drive in the middle of the erase, and its clock of
// 32-bit milliseconds ends after 49.7 days.
const (
	unknownErase = 72 * time.Hour
	longestErase = 49 * 24 * time.Hour
)

func eraseTimeout(minutes int, atLeast bool) time.Duration {
	d := time.Duration(minutes)*time.Minute*5/4 + time.Hour
	if minutes <= 0 || atLeast {
		d = max(d, unknownErase)
	}
	return min(d, longestErase)
}
