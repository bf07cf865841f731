package virtual

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/nvme"
)

// formatNVM is what a Format NVM does and to which namespaces (NVMe base 2.0, 5.14).
type formatNVM struct {
	NSIDs []uint32 `json:"nsids"`
	FLBAS uint8    `json:"flbas"`
}

const everyNamespace = 0xffffffff

// formatBlocks are the LBA formats of drives with Format NVM, none of them with metadata.
var formatBlocks = []int{512, 4096}

func flbasOf(block int) uint8 { return uint8(slices.Index(formatBlocks, block)) }

// blockOf is the length of a space's blocks.
func (m *memory) blockOf(s Space) int {
	if f, formatted := m.FLBAS[s.NSID]; formatted && s.NSID != 0 {
		return formatBlocks[f&15]
	}
	return m.Units[0].Block
}

// fna is the format attributes of Identify Controller.
func (d *drive) fna() byte {
	var b byte
	for n, word := range fnaWords {
		if d.scope(word) {
			b |= []byte{1 << 0, 1 << 1, 1 << 3}[n]
		}
	}
	if d.profile.NVMeFormat && d.profile.encrypts {
		b |= 1 << 2
	}
	return b
}

func (d *drive) scope(word string) bool { return slices.Contains(d.info.Spec.FormatScope, word) }

// format is Format NVM. It is over when the drive has done it; a host that dies meanwhile does not
// stop it, and a power failure does.
func (d *drive) format(t *transport, c *nvme.Command) (status uint16, err error) {
	if !d.profile.NVMeFormat {
		return scInvalidOpcode, nil
	}
	if t.access != devices.Exclusive {
		return 0, syscall.EACCES
	}
	if f, ok := d.faults().find(SanitizeRefused); ok {
		return uint16(f.Count), nil
	}
	ses, lbaf, pi := c.CDW10>>9&7, c.CDW10&15, c.CDW10>>5&7
	nsids, status := d.formatted(c.NSID, ses)
	u := d.memory.Units[0]
	switch {
	case u.Operation != nil && u.Operation.Format != nil:
		return scFormatInProgress, nil
	case u.Operation != nil, u.Verifying:
		return scSanitizeRunning, nil
	case u.FailureMode:
		return scSanitizeFailed, nil
	case ses > 2, ses == 2 && !d.profile.encrypts:
		return scInvalidField, nil
	case status != 0:
		return status, nil
	case int(lbaf) >= len(formatBlocks), pi != 0:
		return scInvalidFormat, nil
	case d.memory.TCG.locked():
		return scOperationDenied, nil
	case d.memory.Power.FirmwarePending != 0:
		return d.memory.Power.FirmwarePending, nil
	case d.info.Spec.ReadOnly:
		return scWriteProtected, nil
	case d.reserved():
		return scReservationConflict, nil
	case d.faults().has(Lie, LieIgnored):
		return 0, nil
	}
	o := operation{Kind: []string{kindUnmap, kindBlock, kindCrypto}[ses], Format: &formatNVM{nsids, uint8(c.CDW10 & 0x1f)}}
	if d.rack.Clock != nil {
		o.Done = o.duration(d.info.Spec) // nobody moves the clock while the command waits
	}
	word := fmt.Sprintf("80:%08x", c.CDW10)
	if c.NSID != everyNamespace {
		word += fmt.Sprintf("@%d", c.NSID)
	}
	if err := d.start(0, word, o, func(*unit) {}); err != nil {
		return 0, err
	}
	_, reset := d.faults().find(FormatReset)
	ended, err := d.awaitErase()
	if err == nil && !ended && reset {
		d.info.Faults = slices.DeleteFunc(d.info.Faults, func(f Fault) bool { return f.Kind == FormatReset })
		return 0, syscall.EINTR
	}
	if err != nil || !ended {
		return scInternalError, err
	}
	// The kernel knows that formats change block lengths, and reads them anew.
	if err := d.rack.rescan(d.info, d.memory); err != nil {
		return 0, err
	}
	t.size, t.block, err = d.rack.sizeNow(d.info, t.space)
	return 0, err
}

// formatted is the namespaces that a format reaches (NVMe base 2.0, 5.14, table of its scope).
func (d *drive) formatted(nsid, ses uint32) (nsids []uint32, status uint16) {
	all := ses == 0 && d.scope("fns") || ses != 0 && d.scope("sens")
	known := false
	for _, s := range d.info.own() {
		known = known || s.NSID == nsid
		if all || s.NSID == nsid || nsid == everyNamespace && s.Node != "" {
			nsids = append(nsids, s.NSID)
		}
	}
	switch {
	case nsid == everyNamespace && d.scope("fnvmbs"):
		return nil, scInvalidField
	case nsid != everyNamespace && !known:
		return nil, scInvalidNamespace
	}
	return nsids, 0
}

// reach is what an operation does something to: a format, to its namespaces and their share of the
// blocks that no host can address; any other, to all of a unit.
func (i Info) reach(units, unit int, o *operation) (visible, hidden []area) {
	if o.Format == nil {
		v, h := i.region(units, unit)
		return []area{v}, []area{h}
	}
	list, spare := i.own(), i.Spec.HiddenBytes-i.Spec.UnallocatedBytes
	share := func(n int) int64 {
		if n == len(list) {
			return spare
		}
		return spare / int64(len(list)) * int64(n) / cryptUnit * cryptUnit
	}
	for n, s := range list {
		if slices.Contains(o.Format.NSIDs, s.NSID) {
			visible = append(visible, area{s.Offset, s.SizeBytes})
			hidden = append(hidden, area{i.addressable() + share(n), share(n+1) - share(n)})
		}
	}
	return visible, hidden
}

// renewKey changes the media key. Each namespace has a key of its own: what a format does not reach
// is still read, and is enciphered anew here, where one key stands for all.
func (r *Rack) renewKey(image *os.File, info Info, m *memory, o *operation, gone []area) error {
	old := *m
	m.renewKeys()
	if o.Format == nil {
		return nil
	}
	err := reencipher(image, &old, m, gone)
	list, moved := r.moved(info.Name)
	for _, name := range list {
		f, open := os.OpenFile(name, os.O_RDWR, 0)
		if open != nil {
			return errors.Join(err, open)
		}
		err = errors.Join(err, reencipher(f, &old, m, gone), f.Close())
	}
	return errors.Join(err, moved)
}

// reencipher keeps what lies outside of some areas readable under another key.
func reencipher(f *os.File, old, new *memory, gone []area) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, cryptUnit)
	for off := int64(0); off < st.Size(); off += cryptUnit {
		if slices.ContainsFunc(gone, func(a area) bool { return off >= a.off && off < a.off+a.size }) {
			continue
		}
		p := buf[:min(cryptUnit, st.Size()-off)]
		if _, err := f.ReadAt(p, off); err != nil {
			return err
		}
		if zero(p) {
			continue
		}
		old.crypt(p, off)
		new.crypt(p, off)
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}

// eraseMoved erases blocks that were deallocated before, as far as an operation reaches them.
func (r *Rack) eraseMoved(info Info, m *memory, o *operation, reached []area) error {
	if o.Format == nil || len(reached) == len(info.own()) {
		return r.dropMoved(info.Name)
	}
	list, err := r.moved(info.Name)
	for _, name := range list {
		f, open := os.OpenFile(name, os.O_RDWR, 0)
		if open != nil {
			return errors.Join(err, open)
		}
		err = errors.Join(err, fillAll(f, m, reached, nil, cryptUnit), f.Close())
	}
	return err
}
