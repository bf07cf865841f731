package scsi

import (
	"encoding/binary"
	"fmt"
)

// The log pages that are read here (SPC-5; SBC-5).
const (
	LogTemperature    = 0x0d
	LogStartStop      = 0x0e
	LogBackgroundScan = 0x15
	LogGeneral        = 0x19 // general statistics and performance
)

// LogSense asks for the cumulative values of a log page (SPC-5).
func LogSense(page uint8) *Command {
	const n = 1024
	return &Command{CDB: []byte{0x4d, 0, 1<<6 | page&0x3f, 0, 0, 0, 0, n >> 8, n & 0xff, 0}, Direction: DataIn, Data: make([]byte, n), Timeout: quick}
}

// logParameter finds the value of a parameter in a log page. The rest of the page may be cut off.
func logParameter(b []byte, page uint8, code uint16) ([]byte, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("log page %02xh: %d bytes", page, len(b))
	}
	if b[0]&0x7f != page || b[1] != 0 {
		return nil, fmt.Errorf("log page %02xh: the answer is page %02xh, subpage %02xh", page, b[0]&0x3f, b[1])
	}
	p := b[4:]
	if n := int(binary.BigEndian.Uint16(b[2:])); n < len(p) {
		p = p[:n]
	}
	for len(p) >= 4 {
		n := int(p[3])
		if n > len(p)-4 {
			break
		}
		if binary.BigEndian.Uint16(p) == code {
			return p[4 : 4+n], nil
		}
		p = p[4+n:]
	}
	return nil, fmt.Errorf("log page %02xh: parameter %04xh is not there", page, code)
}

// ParseTemperature decodes the temperature page: degrees Celsius of the drive, false where it cannot
// tell.
func ParseTemperature(b []byte) (celsius int, known bool, err error) {
	v, err := logParameter(b, LogTemperature, 0)
	if err != nil {
		return 0, false, err
	}
	if len(v) < 2 {
		return 0, false, fmt.Errorf("log page 0dh: a temperature of %d bytes", len(v))
	}
	if v[1] == 0xff {
		return 0, false, nil
	}
	return int(v[1]), true, nil
}

// ParseReferenceTemperature decodes the highest temperature at which the drive may work all the time, parameter 1 of
// the temperature page; false where it does not tell.
func ParseReferenceTemperature(b []byte) (celsius int, known bool, err error) {
	v, err := logParameter(b, LogTemperature, 1)
	if err != nil {
		return 0, false, err
	}
	if len(v) < 2 {
		return 0, false, fmt.Errorf("log page 0dh: a reference temperature of %d bytes", len(v))
	}
	return int(v[1]), v[1] != 0 && v[1] != 0xff, nil
}

// ParsePowerOnMinutes decodes the accumulated power on minutes of the background scan status, which
// is parameter 0 of the background scan page; false where they are not counted.
func ParsePowerOnMinutes(b []byte) (minutes uint32, known bool, err error) {
	v, err := logParameter(b, LogBackgroundScan, 0)
	if err != nil {
		return 0, false, err
	}
	if len(v) < 4 {
		return 0, false, fmt.Errorf("log page 15h: a status of %d bytes", len(v))
	}
	minutes = binary.BigEndian.Uint32(v)
	return minutes, minutes != 0, nil
}

// ParseStartStopCycles decodes how often the spindle was started and stopped, parameter 4 of the start-stop cycle
// counter page; false where that is not counted.
func ParseStartStopCycles(b []byte) (cycles uint32, known bool, err error) {
	v, err := logParameter(b, LogStartStop, 4)
	if err != nil {
		return 0, false, err
	}
	if len(v) < 4 {
		return 0, false, fmt.Errorf("log page 0eh: a counter of %d bytes", len(v))
	}
	cycles = binary.BigEndian.Uint32(v)
	return cycles, cycles != 0xffffffff, nil
}

// ParseBlocksReceived decodes how many logical blocks hosts wrote, of parameter 1 of the general statistics and
// performance page.
func ParseBlocksReceived(b []byte) (uint64, error) {
	v, err := logParameter(b, LogGeneral, 1)
	if err != nil {
		return 0, err
	}
	if len(v) < 32 {
		return 0, fmt.Errorf("log page 19h: statistics of %d bytes", len(v))
	}
	return binary.BigEndian.Uint64(v[16:]), nil
}
