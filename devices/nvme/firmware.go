package nvme

import (
	"encoding/binary"
	"fmt"
)

// FirmwareSlots is log page 03h (NVMe base 2.0, 5.16.1.4): what runs, and what will.
type FirmwareSlots struct {
	Active uint8 // AFI bits 2:0
	Next   uint8 // AFI bits 6:4: from the next reset on; 0 where the controller does not say
	FRS    [8]string
}

// ParseFirmwareSlots decodes log page 03h of a controller of so many slots. A slot that it does not
// have is an error, and so is a page of zeros: some firmware runs.
func ParseFirmwareSlots(b []byte, slots uint8) (FirmwareSlots, error) {
	if len(b) < logSize {
		return FirmwareSlots{}, fmt.Errorf("firmware slot log: %d bytes, want %d", len(b), logSize)
	}
	f := FirmwareSlots{Active: b[0] & 7, Next: b[0] >> 4 & 7}
	if f.Active == 0 || f.Active > slots || f.Next > slots {
		return FirmwareSlots{}, fmt.Errorf("firmware slot log: slot %d runs and slot %d is next, of %d slots", f.Active, f.Next, slots)
	}
	for n := 1; n < len(f.FRS); n++ {
		f.FRS[n] = ascii(b[8*n : 8*n+8])
	}
	return f, nil
}

// Pending says whether firmware waits to be activated by a reset: that of another slot, or new firmware
// in the slot of that which runs. Some controllers always name that slot.
func (f FirmwareSlots) Pending(running string) bool {
	return f.Next != 0 && (f.Next != f.Active || f.FRS[f.Next] != running)
}

// ParseBootPartition decodes the header of log page 15h (5.16.1.22): the bytes of each of the two boot
// partitions (BPINFO bits 14:0).
func ParseBootPartition(b []byte) (each int64, err error) {
	if len(b) < 16 || b[0] != LogBoot {
		return 0, fmt.Errorf("boot partition log: %d bytes that do not begin with %02xh", len(b), LogBoot)
	}
	each = int64(binary.LittleEndian.Uint32(b[4:])&0x7fff) * 128 << 10
	if each == 0 {
		return 0, fmt.Errorf("boot partition log: partitions of no bytes")
	}
	return each, nil
}
