package virtual

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// The statuses that this controller answers with (NVMe base 2.0, figures 94 and 95).
const (
	scInvalidOpcode    = 0x01
	scInvalidField     = 0x02
	scInvalidNamespace = 0x0b
	scSanitizeFailed   = 0x1c
	scSanitizeRunning  = 0x1d
	scLBAOutOfRange    = 0x80
	scInvalidLogPage   = 0x109
	scWriteFault       = 0x280
	scReadError        = 0x281
	scDoNotRetry       = 0x4000
)

// nvme is the drive's NVMe door: the controller behind a namespace's node.
func (d *drive) nvme(t *transport, c *nvme.Command) (nvme.Completion, error) {
	if c.Queue == 1 {
		return d.nvmeIO(t, c)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.arrive(t); err != nil {
		return nvme.Completion{}, err
	}
	if err := d.recall(nil); err != nil {
		return nvme.Completion{}, err
	}
	status, err := d.admin(t, c)
	if err != nil {
		return nvme.Completion{}, err
	}
	if d.resets(t) {
		// The answer is lost, what was done is done. It happens once.
		return nvme.Completion{}, errors.Join(syscall.EINTR, d.rack.dropFaults(d.info.Name, Reset))
	}
	if status != 0 {
		status |= scDoNotRetry
	}
	return nvme.Completion{Status: status}, nil
}

// resets says whether the controller is reset in this command.
func (d *drive) resets(t *transport) bool {
	if t.access != devices.Exclusive {
		return false
	}
	d.command++
	f, ok := d.faults().find(Reset)
	if !ok || d.command != f.Count {
		return false
	}
	d.alarms++
	d.info.Faults = slices.DeleteFunc(d.info.Faults, func(f Fault) bool { return f.Kind == Reset })
	return true
}

func (d *drive) admin(t *transport, c *nvme.Command) (status uint16, err error) {
	switch c.Opcode {
	case 0x02:
		return d.logPage(c), nil
	case 0x06:
		return d.identify(c), nil
	case 0x84:
		if t.access != devices.Exclusive {
			return 0, syscall.EACCES
		}
		return d.sanitize(c)
	}
	return scInvalidOpcode, nil
}

const firmware = "VIRT1.0"

func nqn(serial string) string { return "nqn.2014.08.org.nvmexpress:virtual:" + serial }

// field writes text into a page, padded with spaces.
func field(page []byte, from, to int, s string) { copy(page[from:to], fmt.Sprintf("%-*s", to-from, s)) }

func (d *drive) identify(c *nvme.Command) uint16 {
	if len(c.Data) != 4096 {
		return scInvalidField
	}
	page := c.Data
	clear(page)
	le := binary.LittleEndian
	switch c.CDW10 & 0xff {
	case 0x00, 0x11:
		for _, s := range d.info.Spaces {
			if s.NSID == c.NSID && (s.Node != "" || c.CDW10&0xff == 0x11) {
				d.describe(page, s)
				return 0
			}
		}
		if c.NSID == 0 || c.NSID > 32 {
			return scInvalidNamespace
		}
		return 0 // an inactive namespace is a page of zeros
	case 0x01:
		d.describeController(page)
		return 0
	case 0x02, 0x10:
		at := 0
		for _, s := range d.info.Spaces {
			if s.NSID > c.NSID && (s.Node != "" || c.CDW10&0xff == 0x10) {
				le.PutUint32(page[at:], s.NSID)
				at += 4
			}
		}
		return 0
	case 0x13:
		n := 0
		for id := max(1, int(c.CDW10>>16)); id <= d.profile.controllers; id++ {
			n++
			le.PutUint16(page[2*n:], uint16(id))
		}
		le.PutUint16(page, uint16(n))
		return 0
	}
	return scInvalidField
}

func (d *drive) describeController(page []byte) {
	le := binary.LittleEndian
	le.PutUint16(page[0:], 0x1b36)
	field(page, 4, 24, d.info.Spec.Serial)
	field(page, 24, 64, d.profile.model)
	field(page, 64, 72, firmware)
	if d.profile.controllers > 1 {
		page[76] = 1<<0 | 1<<1 // ports and controllers
	}
	page[77] = 5
	le.PutUint16(page[78:], 1)
	le.PutUint32(page[80:], 2<<16)
	page[111] = 1
	le.PutUint16(page[256:], 1<<3) // namespace management
	total := uint64(d.info.addressable())
	le.PutUint64(page[280:], total)
	var caps uint32
	for _, word := range d.info.Spec.Sanitize {
		switch word {
		case "crypto":
			caps |= 1 << 0
		case "block":
			caps |= 1 << 1
		}
	}
	if d.info.Spec.NoDeallocateInhibited {
		caps |= 1 << 29
	}
	if caps != 0 {
		caps |= 1 << 30 // media are not modified after a sanitize with NDAS
	}
	le.PutUint32(page[328:], caps)
	le.PutUint32(page[516:], 32)
	page[525] = 1
	copy(page[768:], nqn(d.info.Spec.Serial))
}

func (d *drive) describe(page []byte, s Space) {
	le := binary.LittleEndian
	blocks := uint64(s.SizeBytes) / uint64(d.info.Spec.LogicalBlock)
	for at := 0; at < 24; at += 8 {
		le.PutUint64(page[at:], blocks)
	}
	page[26] = 0
	if d.profile.controllers > 1 {
		page[30] = 1
	}
	page[33] = 1 // deallocated blocks read as zeros
	if d.info.Spec.ReadOnly {
		page[99] = 1
	}
	copy(page[120:128], wwnBytes(fmt.Sprint(d.info.Spec.Serial, s.NSID)))
	page[130] = 9
	if d.info.Spec.LogicalBlock == 4096 {
		page[130] = 12
	}
}

func (d *drive) logPage(c *nvme.Command) uint16 {
	words := map[uint32]string{0x02: "smart", 0x81: "sanitize"}
	lid := c.CDW10 & 0xff
	word, known := words[lid]
	if !known || d.faults().has(LogMissing, word) || lid == 0x81 && len(d.info.Spec.Sanitize) == 0 {
		return scInvalidLogPage
	}
	if len(c.Data) != 4*(int(c.CDW10>>16)+1) {
		return scInvalidField
	}
	page := make([]byte, 512)
	if !d.faults().has(LogZero, word) {
		if lid == 0x02 {
			d.healthLog(page)
		} else {
			d.sanitizeLog(page)
		}
	}
	clear(c.Data)
	copy(c.Data, page)
	return 0
}

// temperature is a made-up one: a drive at work is warmer.
func (d *drive) temperature() int {
	if slices.ContainsFunc(d.memory.Units, func(u unit) bool { return u.Operation != nil }) {
		return 48
	}
	return 34
}

func (d *drive) healthLog(page []byte) {
	le := binary.LittleEndian
	le.PutUint16(page[1:], uint16(d.temperature()+273))
	page[3], page[4], page[5] = 100, 10, 3
	le.PutUint64(page[112:], 21)
	le.PutUint64(page[128:], d.memory.Hours)
	le.PutUint64(page[144:], 4)
}

func (d *drive) sanitizeLog(page []byte) {
	le, m := binary.LittleEndian, d.memory.Units[0]
	le.PutUint16(page[0:], 0xffff)
	status := uint16(m.SOS)
	if m.GDE {
		status |= 1 << 8
	}
	if m.Operation != nil {
		shown, _ := m.Operation.progress(d.info, d.rack.now())
		le.PutUint16(page[0:], shown)
	}
	le.PutUint16(page[2:], status)
	le.PutUint32(page[4:], m.Code)
	block := uint32(d.info.Spec.EraseSeconds)
	for at, seconds := range map[int]uint32{8: 0xffffffff, 12: block, 16: (block + 1) / 2, 20: 0xffffffff, 24: block, 28: (block + 1) / 2} {
		le.PutUint32(page[at:], seconds)
	}
}

// sanitize begins an operation (NVMe base 2.0, 5.24).
func (d *drive) sanitize(c *nvme.Command) (status uint16, err error) {
	if f, ok := d.faults().find(SanitizeRefused); ok {
		return uint16(f.Count), nil
	}
	action, ause, ndas := c.CDW10&7, c.CDW10&(1<<3) != 0, c.CDW10&(1<<9) != 0
	can := func(word string) bool {
		for _, w := range d.info.Spec.Sanitize {
			if w == word {
				return true
			}
		}
		return false
	}
	m := d.memory.Units[0]
	restricted := m.FailureMode && !m.AUSE
	switch {
	case c.NSID != 0, c.CDW10&^(7|1<<3|1<<9) != 0, action != 1 && action != 2 && action != 4,
		action == 2 && !can("block"), action == 4 && !can("crypto"), ndas && d.info.Spec.NoDeallocateInhibited:
		return scInvalidField, nil
	case m.Operation != nil:
		return scSanitizeRunning, nil
	case restricted && (ause || action == 1):
		return scSanitizeFailed, nil
	case action == 1:
		return 0, d.recall(func(m *memory) error { m.Units[0].FailureMode = false; return nil })
	case d.faults().has(Lie, LieIgnored):
		return 0, nil
	}
	o := operation{Kind: map[bool]string{true: kindCrypto, false: kindBlock}[action == 4], NDAS: ndas}
	return 0, d.start(0, fmt.Sprintf("84:%08x", c.CDW10), o, func(u *unit) { u.begin(c.CDW10, ause) })
}

// nvmeIO carries the I/O commands, by the way that block requests take.
func (d *drive) nvmeIO(t *transport, c *nvme.Command) (nvme.Completion, error) {
	if c.NSID != t.space.NSID {
		return nvme.Completion{}, syscall.EINVAL // the kernel sends a namespace's node that namespace's commands only
	}
	block := int64(t.d.info.Spec.LogicalBlock)
	off := int64(uint64(c.CDW10)|uint64(c.CDW11)<<32) * block
	if c.Opcode != 0 && int64(len(c.Data)) != (int64(c.CDW12&0xffff)+1)*block {
		return nvme.Completion{Status: scInvalidField | scDoNotRetry}, nil
	}
	var err error
	failed := uint16(scReadError)
	switch c.Opcode {
	case 0x00:
		err = d.flush(t)
	case 0x01:
		if t.access != devices.Exclusive {
			return nvme.Completion{}, syscall.EACCES
		}
		failed = scWriteFault
		if _, err = d.writeAt(t, c.Data, off); err == nil && c.CDW12&(1<<30) != 0 {
			err = d.flush(t)
		}
	case 0x02:
		_, err = d.readAt(t, c.Data, off)
	default:
		return nvme.Completion{Status: scInvalidOpcode | scDoNotRetry}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		return nvme.Completion{}, nil
	case off < 0 || off+int64(len(c.Data)) > t.space.SizeBytes:
		return nvme.Completion{Status: scLBAOutOfRange | scDoNotRetry}, nil
	case err == errIO && d.memory.Units[0].Operation != nil:
		return nvme.Completion{Status: scSanitizeRunning | scDoNotRetry}, nil
	case err == errIO && d.memory.Units[0].FailureMode:
		return nvme.Completion{Status: scSanitizeFailed | scDoNotRetry}, nil
	case err == errIO:
		return nvme.Completion{Status: failed}, nil
	}
	return nvme.Completion{}, err
}
