package ata

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HPA says whether the drive has the Host Protected Area feature set: part of it may be hidden by a
// lowered maximum address (ACS-2). Word 82 is valid where word 83 is.
func (i Identity) HPA() bool { return valid(i.words[83]) && i.words[82]&(1<<10) != 0 }

// HPAPassword says whether the maximum address can be locked with a password, and that this is
// enabled: it then cannot be restored without it.
func (i Identity) HPAPassword() bool {
	return valid(i.words[83]) && i.words[83]&(1<<8) != 0 && valid(i.words[87]) && i.words[86]&(1<<8) != 0
}

// DCO says whether the drive has the Device Configuration Overlay feature set (ACS-2).
func (i Identity) DCO() bool { return valid(i.words[83]) && i.words[83]&(1<<11) != 0 }

// AMA says whether the drive has the Accessible Max Address Configuration feature set (ACS-4).
func (i Identity) AMA() bool {
	return valid(i.words[87]) && i.words[86]&(1<<15) != 0 && valid(i.words[119]) && i.words[119]&(1<<8) != 0
}

// ReadNativeMax is READ NATIVE MAX ADDRESS, or EXT (ACS-2): the last address without the HPA.
func ReadNativeMax(extend bool) Command {
	c := Command{Protocol: NonData, Extend: extend, Device: lbaMode, Opcode: 0xf8, CheckCondition: true, Timeout: quick}
	if extend {
		c.Opcode = 0x27
	}
	return c
}

// SetMax is SET MAX ADDRESS, or EXT (ACS-2): the last accessible address from now on, until a
// power cycle or permanent. It must directly follow ReadNativeMax.
func SetMax(lba uint64, extend, permanent bool) Command {
	c := Command{Protocol: NonData, Extend: extend, LBA: lba, Device: lbaMode, Opcode: 0xf9, CheckCondition: true, Timeout: quick}
	switch {
	case extend:
		c.Opcode = 0x37
	case lba < 1<<28: // a longer one stays whole, and does not encode
		c.Device |= uint8(lba >> 24)
		c.LBA = lba & 0xffffff
	}
	if permanent {
		c.Count = 1
	}
	return c
}

// AccessibleMax is GET NATIVE MAX ADDRESS EXT of ACCESSIBLE MAX ADDRESS CONFIGURATION (ACS-4).
func AccessibleMax() Command {
	return Command{Protocol: NonData, Extend: true, Device: lbaMode, Opcode: 0x78, CheckCondition: true, Timeout: quick}
}

// SetAccessibleMax is SET ACCESSIBLE MAX ADDRESS EXT (ACS-4). A drive takes one per power cycle.
func SetAccessibleMax(lba uint64) Command {
	c := AccessibleMax()
	c.Feature, c.LBA = 1, lba
	return c
}

// ParseMaxLBA reads the last address out of the registers of ReadNativeMax, or with extend of
// AccessibleMax. 28-bit addresses have their upper bits in the device register; FFFFFFFh is a drive
// that needs 48 bits.
func ParseMaxLBA(g Registers, extend bool) (uint64, error) {
	lba, all := g.LBA, uint64(1<<48-1)
	if !extend {
		lba, all = g.LBA&0xffffff|uint64(g.Device&0x0f)<<24, 1<<28-1
	}
	switch {
	case !g.Whole || extend && !g.Extend:
		return 0, fmt.Errorf("native max address: %w", ErrNoRegisters)
	case lba == 0 || lba >= all:
		return 0, fmt.Errorf("native max address: the last address is %xh", lba)
	}
	return lba, nil
}

// DCOIdentify is DEVICE CONFIGURATION IDENTIFY (ACS-2).
func DCOIdentify() Command {
	return Command{Protocol: PIOIn, Feature: 0xc2, Count: 1, Opcode: 0xb1, Data: make([]byte, 512), Timeout: quick}
}

// DCORestore is DEVICE CONFIGURATION RESTORE (ACS-2): the drive as its maker configured it.
func DCORestore() Command {
	return Command{Protocol: NonData, Feature: 0xc0, Opcode: 0xb1, CheckCondition: true, Timeout: quick}
}

// ParseDCOMax reads the last address that the drive has without the overlay: words 3 to 6.
func ParseDCOMax(b []byte) (uint64, error) {
	if len(b) != 512 {
		return 0, fmt.Errorf("DEVICE CONFIGURATION IDENTIFY: %d bytes, want 512", len(b))
	}
	if b[510] == 0xa5 && sum(b) != 0 {
		return 0, errors.New("DEVICE CONFIGURATION IDENTIFY: its checksum is wrong")
	}
	lba := binary.LittleEndian.Uint64(b[6:])
	if lba == 0 || lba >= 1<<48-1 {
		return 0, fmt.Errorf("DEVICE CONFIGURATION IDENTIFY: the last address is %xh", lba)
	}
	return lba, nil
}

// ReadVerify is READ VERIFY SECTORS EXT (ACS-4): the drive reads blocks and keeps them. A count
// of 0 is 65536.
func ReadVerify(lba uint64, count uint16) Command {
	return Command{Protocol: NonData, Extend: true, Count: count, LBA: lba, Device: lbaMode, Opcode: 0x42, CheckCondition: true, Timeout: ioTimeout}
}
