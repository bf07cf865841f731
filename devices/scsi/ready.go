package scsi

import "fmt"

// TestUnitReady asks whether the logical unit takes media commands (SPC-5). During a sanitize or a
// format it answers NOT READY.
func TestUnitReady() *Command { return &Command{CDB: make([]byte, 6), Timeout: quick} }

// RequestSense asks for sense data (SPC-5), in which a drive tells of an operation that it goes on
// with by itself. Descriptor format loses nothing; a drive that does not know it refuses the bit.
func RequestSense(descriptor bool) *Command {
	cdb := []byte{0x03, 0, 0, 0, 252, 0}
	if descriptor {
		cdb[1] = 1
	}
	return &Command{CDB: cdb, Direction: DataIn, Data: make([]byte, 252), Timeout: quick}
}

// ParseRequestSense decodes the data that RequestSense brought. NO SENSE without an additional code is
// an answer: there is nothing to tell. Data of zeros, or none, is ErrNoSense; data that came in part
// is an error, and what lies behind its length is not of it.
func ParseRequestSense(data []byte) (Sense, error) {
	if len(data) == 0 || data[0]&0x7f == 0 {
		return Sense{}, ErrNoSense
	}
	if len(data) < 8 {
		return Sense{}, fmt.Errorf("request sense: %d bytes, want 8", len(data))
	}
	n := 8 + int(data[7])
	if n > len(data) {
		return Sense{}, fmt.Errorf("request sense: %d bytes of %d", len(data), n)
	}
	return ParseSense(data[:n])
}
