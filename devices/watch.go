package devices

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/expunge-dev/expunge/devices/nvme"
	"github.com/expunge-dev/expunge/devices/scsi"
)

// Sent is a command that may change or destroy what a drive holds, without the data that go with it.
type Sent struct {
	Unit int    // the open node that takes it, from 0
	Name string // as its standard calls it
	// Bytes are a SCSI command descriptor block; of an NVMe submission queue entry CDW0 with nothing but the
	// opcode, NSID and CDW10 to CDW15, each little-endian.
	Bytes []byte
	// Security: it carries a security protocol, and only its data, which are nobody's business, tell what it does.
	Security bool
}

// Answer is how such a command was completed.
type Answer struct {
	Status  string // in words; "" when nothing is known of it
	Sense   []byte
	Elapsed time.Duration
	Err     error // of sending it: its fate is unknown
}

// Watcher is told of every such command before it is sent, and after it was answered. When Before fails nothing is
// sent. It is called by whoever sends.
type Watcher struct {
	Before func(Sent) error
	After  func(Sent, Answer) error
}

// Watch has the handle tell of commands from now on.
func (h *Handle) Watch(w Watcher) { h.watch.watcher = &w }

// watch is what is kept in mind of everything that a handle sends.
type watch struct {
	resets  atomic.Int64
	watcher *Watcher
}

// watched counts what a drive tells of resets and losses of power, to whichever command it does: the
// next one does not hear of it any more. It tells the watcher of commands that destroy.
type watched struct {
	Transport
	unit int
	*watch
}

// SCSI implements Transport.
func (w watched) SCSI(ctx context.Context, c *scsi.Command) (r scsi.Result, err error) {
	name, security := destructiveSCSI(c.CDB)
	err = w.tell(Sent{w.unit, name, c.CDB, security}, func() Answer {
		if r, err = w.Transport.SCSI(ctx, c); err != nil {
			return Answer{Err: err}
		}
		a := Answer{Status: "good", Sense: slices.Clone(r.Sense)}
		failed := r.Err()
		if s, bad := scsi.ParseSense(r.Sense); bad == nil && r.HostStatus == 0 && s.Key == 1 && s.ASC == 0 && s.ASCQ == 0x1d {
			a.Status = "good, with the drive's registers" // which were asked for (SAT-4 12.2.2.6)
		} else if failed != nil {
			a.Status = failed.Error()
		}
		return a
	})
	if s, bad := scsi.ParseSense(r.Sense); err == nil && (r.HostStatus == 8 || bad == nil && s.Key == scsi.UnitAttention && s.ASC == 0x29) {
		w.resets.Add(1)
	}
	return r, err
}

// NVMe implements Transport.
func (w watched) NVMe(ctx context.Context, c *nvme.Command) (done nvme.Completion, err error) {
	name, security := destructiveNVMe(c)
	err = w.tell(Sent{w.unit, name, nvmeBytes(c), security}, func() Answer {
		if done, err = w.Transport.NVMe(ctx, c); err != nil {
			return Answer{Err: err}
		}
		a := Answer{Status: "successful completion"}
		if failed := done.Err(); failed != nil {
			a.Status = failed.Error()
		}
		return a
	})
	return done, err
}

// tell sends a command, and tells the watcher of it where it has a name.
func (w watched) tell(s Sent, send func() Answer) error {
	if s.Name == "" || w.watcher == nil {
		return send().Err
	}
	s.Bytes = slices.Clone(s.Bytes)
	if err := w.watcher.Before(s); err != nil {
		return fmt.Errorf("note %s before it is sent: %w", s.Name, err)
	}
	began := time.Now()
	a := send()
	a.Elapsed = time.Since(began)
	if err := w.watcher.After(s, a); err != nil {
		return errors.Join(a.Err, fmt.Errorf("note the answer to %s: %w", s.Name, err))
	}
	return a.Err
}

// destructiveSCSI names commands that can change more of a drive than single blocks, "" every other one. Writes of
// blocks and resets of zones are no part of them: passes and markers tell of those.
func destructiveSCSI(cdb []byte) (name string, security bool) {
	if len(cdb) < 6 {
		return "", false
	}
	switch cdb[0] {
	case 0x04:
		return "FORMAT UNIT", false
	case 0x48:
		return "SANITIZE", false
	case 0x15, 0x55:
		return "MODE SELECT", false
	case 0xb5:
		return "SECURITY PROTOCOL OUT", cdb[1] != 0xef // which is ATA security (SAT-4 12.5)
	case 0x85:
		if len(cdb) == 16 {
			return destructiveATA(cdb[14], uint16(cdb[3])<<8|uint16(cdb[4]), cdb[1]>>1&0x0f)
		}
	case 0xa1:
		if len(cdb) == 12 {
			return destructiveATA(cdb[9], uint16(cdb[3]), cdb[1]>>1&0x0f)
		}
	}
	return "", false
}

// destructiveATA is the same of an ATA command; protocol tells those apart that ask from those that change (SAT-4
// 12.2.2.2; ACS-4 7).
func destructiveATA(opcode uint8, feature uint16, protocol uint8) (name string, security bool) {
	const pioIn = 4
	switch opcode {
	case 0xb4:
		if feature != 0 { // 0 is SANITIZE STATUS EXT
			return "SANITIZE DEVICE", false
		}
	case 0xf1:
		return "SECURITY SET PASSWORD", false
	case 0xf2:
		return "SECURITY UNLOCK", false
	case 0xf3:
		return "SECURITY ERASE PREPARE", false
	case 0xf4:
		return "SECURITY ERASE UNIT", false
	case 0xf6:
		return "SECURITY DISABLE PASSWORD", false
	case 0x37, 0xf9:
		return "SET MAX ADDRESS", false
	case 0x78:
		if feature != 0 { // 0 is GET NATIVE MAX ADDRESS EXT
			return "ACCESSIBLE MAX ADDRESS CONFIGURATION", false
		}
	case 0xb1:
		if protocol != pioIn { // which only asks
			return "DEVICE CONFIGURATION RESTORE", false
		}
	case 0x5e, 0x5f:
		return "TRUSTED SEND", true
	}
	return "", false
}

// destructiveNVMe is the same of an NVMe command (NVMe base 2.0, figure 138).
func destructiveNVMe(c *nvme.Command) (name string, security bool) {
	if c.Queue != nvme.Admin {
		return "", false
	}
	switch c.Opcode {
	case 0x80:
		return "Format NVM", false
	case 0x84:
		return "Sanitize", false
	case 0x81:
		return "Security Send", true
	}
	return "", false
}

func nvmeBytes(c *nvme.Command) []byte {
	var b []byte
	for _, dword := range []uint32{uint32(c.Opcode), c.NSID, c.CDW10, c.CDW11, c.CDW12, c.CDW13, c.CDW14, c.CDW15} {
		b = binary.LittleEndian.AppendUint32(b, dword)
	}
	return b
}
