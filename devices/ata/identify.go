package ata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// IdentifyDevice is IDENTIFY DEVICE (ACS-4 7.13).
func IdentifyDevice() Command {
	return Command{Protocol: PIOIn, Count: 1, Opcode: 0xec, Data: make([]byte, 512), Timeout: quick}
}

// FlushCache is FLUSH CACHE EXT (ACS-4 7.11): the volatile cache reaches the media.
func FlushCache() Command {
	return Command{Protocol: NonData, Extend: true, Opcode: 0xea, CheckCondition: true, Timeout: 5 * time.Minute}
}

// Identity is what IDENTIFY DEVICE says (ACS-4 7.13.6).
type Identity struct {
	Serial, Firmware, Model string
	WWN                     string // 16 hex digits, "" where not reported
	Sectors                 uint64 // accessible, in logical sectors
	LogicalBytes            int
	PhysicalBytes           int
	RotationRate            uint16 // word 217: 1 is a drive without rotating media, above 0400h rpm
	TrimSupported           bool
	EncryptsAll             bool // word 69 bit 4
	// What a read of trimmed blocks brings: always the same, and zeros. Neither says that anything
	// is erased.
	ReadsDeterministic bool
	ReadsZeroes        bool
	SMARTSupported     bool // and enabled

	Sanitize       bool // word 59: the feature set
	CryptoScramble bool
	BlockErase     bool
	Overwrite      bool

	AntifreezeSupported bool
	SanitizeAllowsACS3  bool // the commands that it takes during a sanitize are those of ACS-3

	// Zoned is word 69 bits 1:0: 1 host-aware, 2 managed by the device. One that the host manages has a
	// signature of its own instead (ZAC), which its translation shows.
	Zoned uint8

	Security uint16 // word 128
	words    [256]uint16
}

// reported says whether a word is one: 0000h and FFFFh are not.
func reported(w uint16) bool { return w != 0 && w != 0xffff }

// sum is what a page's integrity byte brings to zero.
func sum(b []byte) byte {
	n := byte(0)
	for _, c := range b {
		n += c
	}
	return n
}

// valid is the mark of words that check themselves: bits 15:14 are 01b.
func valid(w uint16) bool { return w>>14 == 1 }

// ParseIdentity decodes IDENTIFY DEVICE. A page whose integrity word does not fit, that has no
// model or serial number, or is not an ATA device's is an error.
func ParseIdentity(b []byte) (Identity, error) {
	if len(b) != 512 {
		return Identity{}, fmt.Errorf("IDENTIFY DEVICE: %d bytes, want 512", len(b))
	}
	var i Identity
	for n := range i.words {
		i.words[n] = binary.LittleEndian.Uint16(b[2*n:])
	}
	w := i.words[:]
	if w[255]&0xff == 0xa5 {
		if sum(b) != 0 {
			return Identity{}, errors.New("IDENTIFY DEVICE: its checksum is wrong")
		}
	}
	if w[0]&0x8000 != 0 {
		return Identity{}, fmt.Errorf("IDENTIFY DEVICE: word 0 is %04xh, which no ATA device has", w[0])
	}
	i.Serial, i.Firmware, i.Model = swapped(b[20:40]), swapped(b[46:54]), swapped(b[54:94])
	if i.Serial == "" || i.Model == "" {
		return Identity{}, errors.New("IDENTIFY DEVICE: it has no serial or model number")
	}
	if w[108]>>12 == 5 && valid(w[87]) && w[87]&(1<<8) != 0 {
		i.WWN = fmt.Sprintf("%04x%04x%04x%04x", w[108], w[109], w[110], w[111])
	}
	i.sectors()
	if i.Sectors == 0 || i.Sectors > 1<<62/uint64(i.LogicalBytes) {
		return Identity{}, fmt.Errorf("IDENTIFY DEVICE: %d sectors of %d bytes", i.Sectors, i.LogicalBytes)
	}
	if reported(w[217]) {
		i.RotationRate = w[217]
	}
	i.TrimSupported = w[169] != 0xffff && w[169]&1 != 0
	i.EncryptsAll = w[69] != 0xffff && w[69]&(1<<4) != 0
	i.ReadsDeterministic = w[69] != 0xffff && w[69]&(1<<14) != 0
	i.ReadsZeroes = i.ReadsDeterministic && i.TrimSupported && w[69]&(1<<5) != 0
	i.SMARTSupported = valid(w[83]) && w[82]&1 != 0 && valid(w[87]) && w[85]&1 != 0
	if w[59] != 0xffff && w[59]&(1<<12) != 0 {
		i.Sanitize = true
		i.CryptoScramble, i.Overwrite, i.BlockErase = w[59]&(1<<13) != 0, w[59]&(1<<14) != 0, w[59]&(1<<15) != 0
		i.AntifreezeSupported, i.SanitizeAllowsACS3 = w[59]&(1<<10) != 0, w[59]&(1<<11) != 0
	}
	if w[69] != 0xffff {
		i.Zoned = uint8(w[69] & 3)
	}
	if w[128] != 0xffff {
		i.Security = w[128]
	}
	return i, nil
}

// Extended says whether the drive has the 48-bit address feature set.
func (i Identity) Extended() bool { return valid(i.words[83]) && i.words[83]&(1<<10) != 0 }

func (i *Identity) sectors() {
	w := i.words[:]
	i.LogicalBytes, i.PhysicalBytes = 512, 512
	if valid(w[106]) {
		if n := uint32(w[117]) | uint32(w[118])<<16; w[106]&(1<<12) != 0 && n >= 256 && n <= 1<<15 {
			i.LogicalBytes = int(n) * 2
		}
		i.PhysicalBytes = i.LogicalBytes
		if w[106]&(1<<13) != 0 {
			i.PhysicalBytes = i.LogicalBytes << (w[106] & 0x0f)
		}
	}
	quad := func(n int) uint64 {
		return uint64(w[n]) | uint64(w[n+1])<<16 | uint64(w[n+2])<<32 | uint64(w[n+3])<<48
	}
	switch {
	case w[69] != 0xffff && w[69]&(1<<3) != 0 && quad(230) != 0:
		i.Sectors = quad(230)
	case i.Extended():
		i.Sectors = quad(100)
	default:
		i.Sectors = uint64(w[60]) | uint64(w[61])<<16
	}
}

// SolidState says whether the drive has no rotating media: true, false, or unknown.
func (i Identity) SolidState() (solid, known bool) {
	switch {
	case i.RotationRate == 1:
		return true, true
	case i.RotationRate > 0x400:
		return false, true
	case i.RotationRate == 0 && i.TrimSupported:
		return true, true
	}
	return false, false
}

// swapped reads a string, whose bytes are swapped in each word.
func swapped(b []byte) string {
	s := make([]byte, len(b))
	for n := 0; n+1 < len(b); n += 2 {
		s[n], s[n+1] = b[n+1], b[n]
	}
	return strings.Trim(string(s), " \x00")
}
