package ata

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// logStatistics is the Device Statistics log, pageGeneral its page of general statistics, and pageTemperature that of
// temperatures (ACS-4 9.5).
const (
	logStatistics   = 0x04
	pageGeneral     = 0x01
	pageTemperature = 0x05
)

// GeneralPurposeLogging says whether the drive has the feature set that READ LOG EXT is of (ACS-4 9.11.5,
// IDENTIFY DEVICE words 84 and 87, bit 5).
func (i Identity) GeneralPurposeLogging() bool {
	return valid(i.words[84]) && i.words[84]&(1<<5) != 0 || valid(i.words[87]) && i.words[87]&(1<<5) != 0
}

// ReadStatistics is READ LOG EXT of the general statistics (ACS-4 7.22).
func ReadStatistics() Command { return readStatistics(pageGeneral) }

// ReadTemperatures is READ LOG EXT of the temperature statistics.
func ReadTemperatures() Command { return readStatistics(pageTemperature) }

func readStatistics(page uint64) Command {
	return Command{Protocol: PIOIn, Extend: true, Count: 1, LBA: logStatistics | page<<8, Opcode: 0x2f, Data: make([]byte, 512), Timeout: quick}
}

// Statistics are general statistics of a drive. What it does not count, or counts invalidly now, is nil.
type Statistics struct {
	PowerOnResets  *uint32
	SectorsWritten *uint64 // logical sectors, by hosts
}

// ParseStatistics decodes the page of general statistics (ACS-4 9.5.4).
func ParseStatistics(b []byte) (Statistics, error) {
	if err := isStatistics(b, pageGeneral); err != nil {
		return Statistics{}, err
	}
	var s Statistics
	if n, ok := statistic(b, 8); ok {
		resets := uint32(n)
		s.PowerOnResets = &resets
	}
	if n, ok := statistic(b, 24); ok {
		s.SectorsWritten = &n
	}
	return s, nil
}

// ParseMaximumTemperature decodes the specified maximum operating temperature, in degrees Celsius, of the page of
// temperature statistics (ACS-4 9.5.8); false where the drive does not tell.
func ParseMaximumTemperature(b []byte) (celsius int, known bool, err error) {
	if err := isStatistics(b, pageTemperature); err != nil {
		return 0, false, err
	}
	n, ok := statistic(b, 88)
	return int(int8(n)), ok && int8(n) > 0, nil
}

func isStatistics(b []byte, page byte) error {
	if len(b) != 512 {
		return fmt.Errorf("device statistics: %d bytes, want 512", len(b))
	}
	if b[2] != page || binary.LittleEndian.Uint16(b) == 0 {
		return errors.New("device statistics: the answer is another page")
	}
	return nil
}

// statistic is one of a page. Bits 63 and 62 of each say that it is supported and that it is valid.
func statistic(b []byte, at int) (uint64, bool) {
	q := binary.LittleEndian.Uint64(b[at:])
	return q & (1<<48 - 1), q>>62 == 3
}
