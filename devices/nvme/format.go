package nvme

import (
	"fmt"
	"time"
)

// EveryNamespace is the NSID that stands for all namespaces (NVMe base 2.0, 3.2.1.2).
const EveryNamespace = 0xffffffff

// SecureErase is SES of Format NVM (NVMe base 2.0, 5.14, figure 189).
type SecureErase uint8

// The settings that erase.
const (
	UserDataErase      SecureErase = 1
	CryptographicErase SecureErase = 2
)

// Format is Format NVM with a secure erase, in a format that the namespace has already: LBAFL, MSET,
// PI and PIL are those of the namespace. It completes when it is done.
type Format struct {
	NSID      uint32 // EveryNamespace, or a namespace's
	SES       SecureErase
	Namespace Namespace
	Bytes     int64 // that are erased, for the time that it may take
}

// CDW10 is the command's dword 10. The upper bits of the index of an LBA format are taken from it
// only by controllers that were told to, which is not done here: a format beyond the sixteenth
// cannot be kept, and is an error.
func (f Format) CDW10() (uint32, error) {
	if f.Namespace.FLBAS>>5&3 != 0 {
		return 0, fmt.Errorf("format: the namespace has LBA format %d, which cannot be named in the command", int(f.Namespace.FLBAS&0x0f)|int(f.Namespace.FLBAS>>5&3)<<4)
	}
	if f.SES != UserDataErase && f.SES != CryptographicErase {
		return 0, fmt.Errorf("format: secure erase setting %d", f.SES)
	}
	d := uint32(f.Namespace.FLBAS&0x0f) | uint32(f.Namespace.FLBAS>>4&1)<<4 // LBAFL, MSET
	d |= uint32(f.Namespace.DPS&7)<<5 | uint32(f.Namespace.DPS>>3&1)<<8     // PI, PIL
	return d | uint32(f.SES)<<9, nil
}

// Command encodes it. Its timeout is an hour and what a drive of 50 MB/s needs.
func (f Format) Command() (*Command, error) {
	d, err := f.CDW10()
	if err != nil {
		return nil, err
	}
	if f.NSID == 0 {
		return nil, fmt.Errorf("format: no namespace")
	}
	timeout := time.Hour + time.Duration(f.Bytes/50e6)*time.Second
	return &Command{Opcode: 0x80, NSID: f.NSID, CDW10: d, Timeout: min(timeout, 30*24*time.Hour)}, nil
}
