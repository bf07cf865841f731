package ata

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// logStatistics is the Device Statistics log, and pageGeneral its page of general statistics (ACS-4 9.5).
const (
	logStatistics = 0x04
	pageGeneral   = 0x01
)

// GeneralPurposeLogging says whether the drive has the feature set that READ LOG EXT is of (ACS-4 9.11.5,
// IDENTIFY DEVICE words 84 and 87, bit 5).
func (i Identity) GeneralPurposeLogging() bool {
	return valid(i.words[84]) && i.words[84]&(1<<5) != 0 || valid(i.words[87]) && i.words[87]&(1<<5) != 0
}

// ReadStatistics is READ LOG EXT of the general statistics (ACS-4 7.22).
func ReadStatistics() Command {
	return Command{Protocol: PIOIn, Extend: true, Count: 1, LBA: logStatistics | pageGeneral<<8, Opcode: 0x2f, Data: make([]byte, 512), Timeout: quick}
}

// Statistics are general statistics of a drive. What it does not count, or counts invalidly now, is nil.
type Statistics struct {
	PowerOnResets  *uint32
	SectorsWritten *uint64 // logical sectors, by hosts
}

// ParseStatistics decodes the page of general statistics (ACS-4 9.5.4).
func ParseStatistics(b []byte) (Statistics, error) {
	if len(b) != 512 {
		return Statistics{}, fmt.Errorf("general statistics: %d bytes, want 512", len(b))
	}
	if b[2] != pageGeneral || binary.LittleEndian.Uint16(b) == 0 {
		return Statistics{}, errors.New("general statistics: the answer is another page")
	}
	var s Statistics
	// Bits 63 and 62 of each say that it is supported and that it is valid.
	statistic := func(at int) (uint64, bool) {
		q := binary.LittleEndian.Uint64(b[at:])
		return q & (1<<48 - 1), q>>62 == 3
	}
	if n, ok := statistic(8); ok {
		resets := uint32(n)
		s.PowerOnResets = &resets
	}
	if n, ok := statistic(24); ok {
		s.SectorsWritten = &n
	}
	return s, nil
}
