package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sense keys that somebody acts on (SPC-5 4.4.8).
const (
	NoSense        = 0x0
	RecoveredError = 0x1
	NotReady       = 0x2
	MediumError    = 0x3
	IllegalRequest = 0x5
	UnitAttention  = 0x6
	DataProtect    = 0x7
	AbortedCommand = 0xb
)

// Sense is sense data in either format (SPC-5 4.4).
type Sense struct {
	Deferred   bool // of an earlier command: says nothing about this one
	Descriptor bool // descriptor format, which loses nothing
	Key        uint8
	ASC, ASCQ  uint8
	// Information is the INFORMATION field, where it is valid: often the block at fault.
	Information      uint64
	InformationValid bool
	// Progress is the progress indication in 65536ths, where there is one.
	Progress      uint16
	ProgressValid bool
	// ATA is the ATA Status Return descriptor (SAT-4 12.2.2.6), 14 bytes, or nil.
	ATA []byte
	Raw []byte
}

// Is says whether it is this sense key with this additional code and qualifier.
func (s Sense) Is(key, asc, ascq uint8) bool { return s.Key == key && s.ASC == asc && s.ASCQ == ascq }

// ErrNoSense: no sense data came, or only zeros: what happened is unknown.
var ErrNoSense = errors.New("no sense data")

// ParseSense decodes fixed and descriptor format. The error is ErrNoSense for none at all.
func ParseSense(b []byte) (Sense, error) {
	if len(b) == 0 || b[0] == 0 {
		return Sense{}, ErrNoSense
	}
	switch b[0] & 0x7f {
	case 0x70, 0x71:
		return parseFixed(b)
	case 0x72, 0x73:
		return parseDescriptor(b)
	}
	return Sense{}, fmt.Errorf("sense data of response code %02xh", b[0]&0x7f)
}

// parseFixed: SPC-5 4.4.3.
func parseFixed(b []byte) (Sense, error) {
	if len(b) < 14 {
		return Sense{}, fmt.Errorf("fixed sense data: %d bytes, want 14", len(b))
	}
	s := Sense{Deferred: b[0]&0x7f == 0x71, Key: b[2] & 0x0f, ASC: b[12], ASCQ: b[13], Raw: b}
	if b[0]&0x80 != 0 {
		s.InformationValid, s.Information = true, uint64(binary.BigEndian.Uint32(b[3:]))
	}
	// SKSV with the keys for which the field is a progress indication (SPC-5 4.4.2.4.4).
	if len(b) >= 18 && b[15]&0x80 != 0 && (s.Key == NoSense || s.Key == NotReady) {
		s.ProgressValid, s.Progress = true, binary.BigEndian.Uint16(b[16:])
	}
	return s, nil
}

// parseDescriptor: SPC-5 4.4.2.
func parseDescriptor(b []byte) (Sense, error) {
	if len(b) < 8 {
		return Sense{}, fmt.Errorf("descriptor sense data: %d bytes, want 8", len(b))
	}
	s := Sense{Descriptor: true, Deferred: b[0]&0x7f == 0x73, Key: b[1] & 0x0f, ASC: b[2], ASCQ: b[3], Raw: b}
	rest := b[8:]
	if n := int(b[7]); n < len(rest) {
		rest = rest[:n]
	}
	for len(rest) >= 2 {
		n := int(rest[1]) + 2
		if n > len(rest) {
			return Sense{}, fmt.Errorf("sense descriptor %02xh: %d bytes of %d", rest[0], len(rest), n)
		}
		d := rest[:n]
		switch {
		case d[0] == 0x00 && n >= 12 && d[2]&0x80 != 0:
			s.InformationValid, s.Information = true, binary.BigEndian.Uint64(d[4:])
		case d[0] == 0x02 && n >= 8 && d[4]&0x80 != 0 && (s.Key == NoSense || s.Key == NotReady):
			s.ProgressValid, s.Progress = true, binary.BigEndian.Uint16(d[5:])
		case d[0] == 0x0a && n >= 8:
			s.ProgressValid, s.Progress = true, binary.BigEndian.Uint16(d[6:])
		case d[0] == 0x09 && n >= 14:
			s.ATA = d[:14]
		}
		rest = rest[n:]
	}
	return s, nil
}

// CommandError is an answer that is not success: what the drive or the kernel's transport said.
type CommandError struct {
	Status       byte
	HostStatus   uint16
	DriverStatus uint16
	Sense        *Sense // nil when none came
}

var hostStatusNames = map[uint16]string{
	1: "no connection", 2: "bus busy", 3: "timed out", 4: "bad target", 5: "aborted", 6: "parity error", 7: "host adapter error", 8: "reset",
	0xb: "soft error", 0xe: "transport disrupted", 0xf: "transport failed fast", 0x10: "target failure", 0x11: "reservation conflict", 0x13: "medium error",
}

func (e *CommandError) Error() string {
	switch {
	case e.HostStatus != 0:
		name := hostStatusNames[e.HostStatus]
		if name == "" {
			name = "unknown"
		}
		return fmt.Sprintf("SCSI host status %02xh: %s", e.HostStatus, name)
	case e.Sense != nil:
		return fmt.Sprintf("SCSI status %02xh, sense %x/%02x/%02x", e.Status, e.Sense.Key, e.Sense.ASC, e.Sense.ASCQ)
	}
	return fmt.Sprintf("SCSI status %02xh without sense data", e.Status)
}

// FateUnknown says whether the command may have been begun although this came back: after a
// timeout, an abort or a reset (SAM-6; linux/scsi_status.h). Such a command is never just sent again.
func (e *CommandError) FateUnknown() bool {
	switch e.HostStatus {
	case 3, 5, 8, 0xe, 0xf:
		return true
	}
	return false
}

// Refused says whether the target rejected the command and nothing was begun: it is no valid request,
// or the data is protected. An answer that the transport spoiled, or that tells of an earlier
// command, says nothing of the kind.
func (e *CommandError) Refused() bool {
	if e.HostStatus != 0 || e.Status != 2 || e.Sense == nil || e.Sense.Deferred {
		return false
	}
	return e.Sense.Key == IllegalRequest || e.Sense.Key == DataProtect
}

// driverSense is the one driver status that is no error: sense data is there.
const driverSense = 0x08

// Err is nil for GOOD with a good transport, and a *CommandError for everything else.
func (r Result) Err() error {
	if r.Status == 0 && r.HostStatus == 0 && r.DriverStatus&^driverSense == 0 {
		return nil
	}
	e := &CommandError{Status: r.Status, HostStatus: r.HostStatus, DriverStatus: r.DriverStatus}
	if s, err := ParseSense(r.Sense); err == nil {
		e.Sense = &s
	}
	return e
}

// In is what a data-in command brought.
func (r Result) In(c *Command) []byte { return c.Data[:max(0, min(r.Transferred, len(c.Data)))] }
