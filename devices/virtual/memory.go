package virtual

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

// memory is what a drive itself keeps, beside the media.
type memory struct {
	// Key enciphers everything on the media; empty for drives that do not encrypt.
	Key []byte `json:"key,omitempty"`
	// Units is the account of each logical unit: one, but for SCSI drives that have more.
	Units []unit `json:"units"`
	// Begun is the truth about erases: a word for every one that was begun, in order.
	Begun []string `json:"begun"`
	Hours uint64   `json:"hours"`
	// Ended counts operations that took effect; media moved away keep that number in their name.
	Ended int       `json:"ended"`
	ATA   ataMemory `json:"ata"`
	// TCG is the security subsystem of a drive that has one.
	TCG   *tcgMemory `json:"tcg,omitempty"`
	Power powerState `json:"power"`
	// Unpowered: the power failed, and the drive wakes up when it is opened the next time.
	Unpowered bool `json:"unpowered,omitempty"`
	// FLBAS is the format of each namespace, of drives with Format NVM; Zones are those of a zoned one.
	FLBAS map[uint32]uint8 `json:"flbas,omitempty"`
	Zones []zone           `json:"zones,omitempty"`
	// Strays counts NVMe commands to a node that is no NVMe drive's.
	Strays int `json:"strays,omitempty"`
	// PowerOns counts power-ons; Attention is that nobody was told of the last one.
	PowerOns int `json:"power_ons"`
	// Written counts bytes that hosts wrote, as far as anybody asked.
	Written   int64 `json:"written,omitempty"`
	Attention bool  `json:"attention,omitempty"`
}

// unit is a logical unit's account of its blocks and of its erases.
type unit struct {
	Block  int   `json:"block"`  // bytes of a logical block
	Blocks int64 `json:"blocks"` // that the host can address
	// SOS is how the last sanitize stands, in the words of NVMe's log: 0 never begun, 1 done, 2 running, 3 failed.
	SOS         uint8  `json:"sos"`
	GDE         bool   `json:"gde"`  // nothing was written since
	Code        uint32 `json:"code"` // of the last sanitize: CDW10
	AUSE        bool   `json:"ause"` // the last sanitize may be left when it fails
	FailureMode bool   `json:"failure_mode"`
	// The rest is of NVMe's: in media verification, which was cancelled, purged, and passes of an overwrite.
	Verifying bool  `json:"verifying,omitempty"`
	Cancelled bool  `json:"cancelled,omitempty"`
	Purged    bool  `json:"purged,omitempty"`
	Passes    int64 `json:"passes,omitempty"`
	// Format is how a format that did not succeed ended: "failed" or "interrupted".
	Format    string     `json:"format,omitempty"`
	Operation *operation `json:"operation,omitempty"`
	// Next is what the next format makes of the unit.
	Next *shape `json:"next,omitempty"`
}

// shape is a size in blocks.
type shape struct {
	Block  int   `json:"block"`
	Blocks int64 `json:"blocks"`
}

// ataMemory is what an ATA drive keeps of its settings.
type ataMemory struct {
	User     []byte `json:"user,omitempty"`
	Master   []byte `json:"master,omitempty"`
	MasterID uint16 `json:"master_id"`
	Enabled  bool   `json:"enabled,omitempty"` // a user password is set
	Maximum  bool   `json:"maximum,omitempty"` // the master password erases, and does not unlock
	DCO      int64  `json:"dco"`               // blocks that the overlay leaves
	Max      int64  `json:"max"`               // blocks that the host can address after power-on
}

// powerState is what a drive forgets when its power goes.
type powerState struct {
	Locked         bool `json:"locked,omitempty"`
	Frozen         bool `json:"frozen,omitempty"`
	Wrong          int  `json:"wrong,omitempty"`           // passwords
	Changed        bool `json:"changed,omitempty"`         // the accessible size, for good
	MaxFrozen      bool `json:"max_frozen,omitempty"`      // so is the accessible max address
	DCOFrozen      bool `json:"dco_frozen,omitempty"`      // and the overlay
	SanitizeFrozen bool `json:"sanitize_frozen,omitempty"` // and sanitize
	Antifreeze     bool `json:"antifreeze,omitempty"`
	Restricted     bool `json:"restricted,omitempty"` // a restricted sanitize succeeded

	PMR             bool   `json:"pmr,omitempty"` // a persistent memory region is enabled
	FirmwarePending uint16 `json:"firmware_pending,omitempty"`

	TCG *tcgPower `json:"tcg,omitempty"`
}

// newMemory is that of a drive fresh from its box.
func newMemory(info Info, p Profile) *memory {
	m := &memory{Hours: 4380, Attention: true, FLBAS: map[uint32]uint8{}}
	if p.encrypts {
		m.Key = newKey()
	}
	block, blocks := info.Spec.LogicalBlock, info.addressable()/int64(info.Spec.LogicalBlock)
	m.Units = []unit{{Block: block, Blocks: blocks}}
	if p.units > 1 || p.embedded() {
		m.Units = nil
		for _, s := range info.Spaces {
			m.Units = append(m.Units, unit{Block: block, Blocks: s.SizeBytes / int64(block)})
		}
	}
	m.Power.PMR, m.Power.FirmwarePending = info.Spec.PMREnabled, info.Spec.FirmwarePending
	for _, s := range info.own() {
		if p.NVMeFormat {
			m.FLBAS[s.NSID] = flbasOf(block)
		}
	}
	m.TCG, m.Power.TCG = newTCG(info, p)
	if p.zoned {
		m.Zones = make([]zone, info.Spec.SizeBytes/info.Spec.ZoneBytes)
	}
	if p.translated() {
		m.ATA.DCO = blocks - info.Spec.DCOBytes/int64(block)
		m.ATA.Max = m.ATA.DCO - (info.Spec.HPABytes+info.Spec.AMABytes)/int64(block)
		m.ATA.Master, m.ATA.MasterID = make([]byte, 32), 0xfffe
		m.Units[0].Blocks = m.ATA.Max
		m.Power.Frozen = p.frozen
		if p.locked {
			m.ATA.User, m.ATA.Master, m.ATA.Enabled, m.Power.Locked = newKey(), newKey(), true, true
		}
	}
	return m
}

func (r *Rack) memoryFile(name string) string {
	return filepath.Join(r.dir, "media", name+".memory.json")
}

func (r *Rack) readMemory(name string) (*memory, error) {
	text, err := os.ReadFile(r.memoryFile(name))
	if err != nil {
		return nil, fmt.Errorf("read a virtual drive's memory: %w", err)
	}
	return decodeMemory(name, text)
}

func decodeMemory(name string, text []byte) (*memory, error) {
	m := &memory{}
	if err := strict.Decode(text, m); err != nil {
		return nil, fmt.Errorf("read a virtual drive's memory %s: %w", name, err)
	}
	return m, nil
}

func (r *Rack) writeMemory(name string, m *memory) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return durable.WriteFile(r.memoryFile(name), append(data, '\n'), 0o644)
}

// reading is what was read of a drive, and the texts that it was read from. While the files hold the same, they
// need not be decoded again.
type reading struct {
	infoText, text []byte
	info           Info
	memory         *memory
	was            []byte // the memory as it is written
}

// read brings a reading up to date; anew when its memory is going to be changed.
func (l *reading) read(r *Rack, name string, anew bool) error {
	text, err := os.ReadFile(r.stateFile(name))
	if err != nil {
		return fmt.Errorf("read virtual drive: %w", err)
	}
	if l.infoText == nil || !bytes.Equal(text, l.infoText) {
		if l.info, err = decodeInfo(name, text); err != nil {
			return err
		}
		l.infoText = text
	}
	if text, err = os.ReadFile(r.memoryFile(name)); err != nil {
		return fmt.Errorf("read a virtual drive's memory: %w", err)
	}
	if !anew && l.text != nil && bytes.Equal(text, l.text) {
		return nil
	}
	l.text = nil
	if l.memory, err = decodeMemory(name, text); err != nil {
		return err
	}
	l.was, err = json.Marshal(l.memory)
	l.text = text
	return err
}

// remember reads the drive's memory, lets change look at it and change it, and keeps what it did. An
// operation that goes on by itself is first brought to where it is now: nobody sees an older state.
// Other processes wait meanwhile. last is what the caller alone has read before; nil when there is none.
func (r *Rack) remember(name string, last *reading, change func(info Info, m *memory) error) (m *memory, err error) {
	lock, err := durable.WaitLock(filepath.Join(r.dir, "state", name+".memory.lock"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if last == nil {
		last = &reading{}
	}
	if err := last.read(r, name, change != nil); err != nil {
		return nil, err
	}
	m = last.memory
	text := last.text
	last.text = nil // until it is known that nothing was changed
	if err := r.goOn(last.info, m); err != nil {
		return m, err
	}
	if change != nil {
		if err := change(last.info, m); err != nil {
			return m, err
		}
	}
	if now, err := json.Marshal(m); err != nil || !bytes.Equal(now, last.was) {
		return m, errors.Join(err, r.writeMemory(name, m))
	}
	last.text = text
	return m, nil
}

// newKey draws a media key.
func newKey() []byte {
	key := make([]byte, 32)
	rand.Read(key)
	return key
}

// crypt enciphers or deciphers in place what lies at an offset of the media. Blocks that read as
// zeros below were never written or were erased, and are left: a drive keeps no data for them.
func (m *memory) crypt(p []byte, off int64) {
	if len(m.Key) == 0 {
		return
	}
	for len(p) > 0 {
		key, n := m.keyAt(off, int64(len(p)))
		cryptUnder(key, p[:n], off)
		p, off = p[n:], off+n
	}
}

// cryptUnder is crypt by one key.
func cryptUnder(key, p []byte, off int64) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return // the key is 32 bytes long
	}
	var counter [aes.BlockSize]byte
	for i, at := 8, uint64(off/aes.BlockSize); i < aes.BlockSize; i++ {
		counter[i] = byte(at >> (8 * (15 - i)))
	}
	cipher.NewCTR(block, counter[:]).XORKeyStream(p, p)
}

// decipher is crypt for what was read from the media.
func (m *memory) decipher(p []byte, off int64) {
	if len(m.Key) == 0 {
		return
	}
	const unit = cryptUnit
	for len(p) > 0 {
		n := 0
		for n < len(p) && !zero(p[n:min(n+unit, len(p))]) {
			n += unit
		}
		n = min(n, len(p))
		m.crypt(p[:n], off)
		p, off = p[n:], off+int64(n)
		for len(p) > 0 && zero(p[:min(unit, len(p))]) {
			n := min(unit, len(p))
			p, off = p[n:], off+int64(n)
		}
	}
}

func zero(p []byte) bool {
	return !slices.ContainsFunc(p, func(c byte) bool { return c != 0 })
}

// now is the rack's clock.
func (r *Rack) now() time.Time {
	if r.Clock != nil {
		return r.Clock()
	}
	return time.Now()
}

// cryptUnit is what encryption goes by: parts of one that are not read or written are read, too.
const cryptUnit = 512

// around is the whole units of encryption about a range.
func around(off int64, n int) (from int64, all []byte) {
	from = off / cryptUnit * cryptUnit
	to := (off + int64(n) + cryptUnit - 1) / cryptUnit * cryptUnit
	return from, make([]byte, to-from)
}

// readMedium and writeMedium pass what is stored through the drive's encryption.
func (m *memory) readMedium(f *os.File, p []byte, off int64) error {
	if len(m.Key) == 0 || off%cryptUnit == 0 {
		_, err := f.ReadAt(p, off)
		m.decipher(p, off)
		return err
	}
	from, all := around(off, len(p))
	n, err := f.ReadAt(all, from)
	if errors.Is(err, io.EOF) && n >= int(off-from)+len(p) {
		err = nil
	}
	m.decipher(all, from)
	copy(p, all[off-from:])
	return err
}

func (m *memory) writeMedium(f *os.File, p []byte, off int64) error {
	switch {
	case len(m.Key) == 0:
	case off%cryptUnit == 0 && len(p)%cryptUnit == 0:
		p = append([]byte(nil), p...)
		m.crypt(p, off)
	default:
		from, all := around(off, len(p))
		n, err := f.ReadAt(all, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		all = all[:max(n, int(off-from)+len(p))]
		m.decipher(all, from)
		copy(all[off-from:], p)
		m.crypt(all, from)
		p, off = all, from
	}
	_, err := f.WriteAt(p, off)
	return err
}
