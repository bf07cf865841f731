// Package ata encodes ATA commands, carried through SCSI/ATA translation (SAT-4), and decodes what
// drives answer. It knows nothing of kernels: a command travels through whatever implements the
// SCSI door of devices.Transport.
package ata

import (
	"errors"
	"fmt"
	"time"

	"github.com/expunge-dev/expunge/devices/scsi"
)

// quick bounds commands that a drive answers from its memory.
const quick = 20 * time.Second

// ioTimeout bounds one command that goes to the media.
const ioTimeout = 60 * time.Second

// Protocol is how a command moves its data (SAT-4 12.2.2.2).
type Protocol uint8

// The protocols in use.
const (
	NonData Protocol = 3
	PIOIn   Protocol = 4
	PIOOut  Protocol = 5
)

// Command is one ATA command by its registers (ACS-4 7.1.2).
type Command struct {
	Protocol Protocol
	Extend   bool // 48-bit registers
	Feature  uint16
	Count    uint16
	LBA      uint64
	Device   uint8
	Opcode   uint8
	Data     []byte // whole blocks of 512 bytes
	// CheckCondition asks for the registers also after success (CK_COND). Without them a non-data
	// command that answers in its registers has no answer.
	CheckCondition bool
	Timeout        time.Duration
}

// SCSI encodes the command as ATA PASS-THROUGH(16) (SAT-4 12.2.2).
func (c Command) SCSI() (*scsi.Command, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("ATA command %02xh: %w", c.Opcode, err)
	}
	s := &scsi.Command{CDB: make([]byte, 16), Data: c.Data, Timeout: c.Timeout}
	b := s.CDB
	b[0], b[1] = 0x85, byte(c.Protocol)<<1
	if c.CheckCondition {
		b[2] |= 1 << 5
	}
	if len(c.Data) > 0 {
		b[2] |= 1<<2 | 2 // blocks, and how many is in the count register
		s.Direction = scsi.DataOut
		if c.Protocol == PIOIn {
			b[2] |= 1 << 3
			s.Direction = scsi.DataIn
		}
	}
	if c.Extend {
		b[1] |= 1
		b[3], b[5] = byte(c.Feature>>8), byte(c.Count>>8)
		b[7], b[9], b[11] = byte(c.LBA>>24), byte(c.LBA>>32), byte(c.LBA>>40)
	}
	b[4], b[6] = byte(c.Feature), byte(c.Count)
	b[8], b[10], b[12] = byte(c.LBA), byte(c.LBA>>8), byte(c.LBA>>16)
	b[13], b[14] = c.Device, c.Opcode
	return s, nil
}

// SCSI12 encodes a 28-bit command as ATA PASS-THROUGH(12) (SAT-4), which some bridges know
// where they do not know the longer one.
func (c Command) SCSI12() (*scsi.Command, error) {
	if c.Extend {
		return nil, fmt.Errorf("ATA command %02xh: 48 bits do not fit ATA PASS-THROUGH(12)", c.Opcode)
	}
	s, err := c.SCSI()
	if err != nil {
		return nil, err
	}
	b := s.CDB
	s.CDB = []byte{0xa1, b[1], b[2], b[4], b[6], b[8], b[10], b[12], b[13], b[14], 0, 0}
	return s, nil
}

func (c Command) check() error {
	limit := uint64(1) << 28
	if c.Extend {
		limit = 1 << 48
	}
	switch {
	case c.Protocol != NonData && c.Protocol != PIOIn && c.Protocol != PIOOut:
		return fmt.Errorf("protocol %d", c.Protocol)
	case (c.Protocol == NonData) != (len(c.Data) == 0) || len(c.Data)%512 != 0:
		return fmt.Errorf("%d bytes of data in protocol %d", len(c.Data), c.Protocol)
	case len(c.Data) > 0 && int(c.Count) != len(c.Data)/512:
		return fmt.Errorf("%d bytes of data and a count of %d", len(c.Data), c.Count)
	case !c.Extend && (c.Feature > 0xff || c.Count > 0xff) || c.LBA >= limit:
		return errors.New("registers do not fit")
	case !c.Extend && c.LBA >= 1<<24:
		return errors.New("28-bit addresses use the device register")
	case c.Timeout <= 0:
		return errors.New("no timeout")
	}
	return nil
}

// Registers is what a drive answers in its registers (ACS-4 6.3).
type Registers struct {
	Whole  bool // all of them came, as they do in descriptor format
	Extend bool // and the upper halves of Count and LBA mean something
	Status uint8
	Error  uint8
	Count  uint16
	LBA    uint64
	Device uint8
}

// The bits of Status and Error that are judged (ACS-4 6.2, 6.3).
const (
	StatusERR = 1 << 0
	StatusDRQ = 1 << 3
	StatusDF  = 1 << 5
	StatusBSY = 1 << 7
	ErrorABRT = 1 << 2
	ErrorIDNF = 1 << 4 // the address is not the drive's
	ErrorUNC  = 1 << 6 // the block cannot be read
)

// Error is a drive's refusal or failure of a command, with its registers.
type Error struct{ Registers Registers }

func (e *Error) Error() string {
	if e.Registers.Error&ErrorABRT != 0 {
		return fmt.Sprintf("ATA command aborted (status %02xh, error %02xh)", e.Registers.Status, e.Registers.Error)
	}
	return fmt.Sprintf("ATA status %02xh, error %02xh", e.Registers.Status, e.Registers.Error)
}

// ErrNoRegisters: the registers that hold the answer did not come back. What the command did is
// unknown; bridges and some host adapters never return them.
var ErrNoRegisters = errors.New("the ATA registers did not come back")

// ParseRegisters decodes the ATA registers of a command that was sent with CheckCondition (SAT-4
// 12.2.2.6). Fixed-format sense data has lost some of them: what is there is filled in and Whole is
// false, so that it is an answer only for a command whose status says all. None, and zeros, are
// ErrNoRegisters. A drive that says it failed is *Error; a transport that failed is
// *scsi.CommandError.
func ParseRegisters(r scsi.Result) (Registers, error) {
	if r.HostStatus != 0 || r.Status != 0 && r.Status != 2 {
		return Registers{}, r.Err()
	}
	s, err := scsi.ParseSense(r.Sense)
	if errors.Is(err, scsi.ErrNoSense) {
		return Registers{}, ErrNoRegisters
	}
	if err != nil {
		return Registers{}, err
	}
	g, ok := registers(s)
	switch {
	case !ok && r.Status == 2 && !passedThrough(s):
		return Registers{}, r.Err()
	case !ok, g.Status == 0, g.Status&StatusBSY != 0:
		return Registers{}, ErrNoRegisters // a drive that answers is ready, busy ones have no registers
	case g.Status&(StatusERR|StatusDF) != 0:
		return g, &Error{g}
	case s.Key > scsi.RecoveredError || !passedThrough(s):
		return Registers{}, r.Err()
	case !g.Whole && g.Status&StatusDRQ != 0:
		return Registers{}, ErrNoRegisters
	}
	return g, nil
}

// passedThrough says whether the sense data is that of ATA PASS-THROUGH INFORMATION AVAILABLE.
func passedThrough(s scsi.Sense) bool { return s.ASC == 0 && s.ASCQ == 0x1d }

// registers reads the ATA Status Return descriptor, or what fixed format has of it: error, status,
// device and the lower half of the count. The order of its three LBA bytes is disputed.
func registers(s scsi.Sense) (Registers, bool) {
	switch d := s.ATA; {
	case s.Deferred:
	case d != nil:
		return Registers{
			Whole: true, Extend: d[2]&1 != 0, Error: d[3], Count: uint16(d[4])<<8 | uint16(d[5]), Device: d[12], Status: d[13],
			LBA: uint64(d[10])<<40 | uint64(d[8])<<32 | uint64(d[6])<<24 | uint64(d[11])<<16 | uint64(d[9])<<8 | uint64(d[7]),
		}, true
	case !s.Descriptor && passedThrough(s):
		return Registers{Error: s.Raw[3], Status: s.Raw[4], Device: s.Raw[5], Count: uint16(s.Raw[6])}, true
	}
	return Registers{}, false
}

// RefusedByTranslation says whether the translation, and not the drive, refused a command that it
// does not know or does not let through: invalid opcode, field in the CDB, or in the parameter list.
func RefusedByTranslation(err error) bool {
	var e *scsi.CommandError
	if !errors.As(err, &e) || !e.Refused() || e.Sense.ATA != nil || e.Sense.Key != scsi.IllegalRequest {
		return false
	}
	return e.Sense.ASC == 0x20 || e.Sense.ASC == 0x24 || e.Sense.ASC == 0x26
}

// ParseData judges a data-in command: all of its data came, and nothing was reported.
func ParseData(c *scsi.Command, r scsi.Result) ([]byte, error) {
	if err := r.Err(); err != nil {
		if s, e := scsi.ParseSense(r.Sense); e == nil && (s.ATA != nil || passedThrough(s)) {
			if _, e := ParseRegisters(r); e != nil {
				return nil, e
			}
		}
		return nil, err
	}
	if r.Transferred != len(c.Data) {
		return nil, fmt.Errorf("ATA command: %d bytes of %d came", r.Transferred, len(c.Data))
	}
	return c.Data, nil
}
