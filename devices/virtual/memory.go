package virtual

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

// memory is what a drive itself keeps without power, beside the media.
type memory struct {
	// Key enciphers everything on the media; empty for drives that do not encrypt.
	Key []byte `json:"key,omitempty"`
	// Sanitize is the drive's account of its sanitize operations, in the words of its log.
	Sanitize struct {
		SOS         uint8  `json:"sos"`
		GDE         bool   `json:"gde"`
		CDW10       uint32 `json:"cdw10"`
		FailureMode bool   `json:"failure_mode"`
	} `json:"sanitize"`
	Operation *operation `json:"operation,omitempty"`
	// Begun is the truth about operations: CDW10 of every one, in order.
	Begun []uint32 `json:"begun"`
	Hours uint64   `json:"hours"`
	// Ended counts operations that took effect; media moved away keep that number in their name.
	Ended int `json:"ended"`
}

func (r *Rack) memoryFile(name string) string {
	return filepath.Join(r.dir, "media", name+".memory.json")
}

func (r *Rack) readMemory(name string) (*memory, error) {
	data, err := os.ReadFile(r.memoryFile(name))
	if err != nil {
		return nil, fmt.Errorf("read a virtual drive's memory: %w", err)
	}
	m := &memory{}
	if err := strict.Decode(data, m); err != nil {
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

// remember reads the drive's memory, lets change look at it and change it, and keeps what it did. An
// operation that goes on by itself is first brought to where it is now: nobody sees an older state.
// Other processes wait meanwhile.
func (r *Rack) remember(name string, change func(info Info, m *memory) error) (m *memory, err error) {
	lock, err := durable.WaitLock(filepath.Join(r.dir, "state", name+".memory.lock"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	info, err := readInfo(r.stateFile(name))
	if err != nil {
		return nil, err
	}
	if m, err = r.readMemory(name); err != nil {
		return nil, err
	}
	was, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if err := r.goOn(info, m); err != nil {
		return m, err
	}
	if change != nil {
		if err := change(info, m); err != nil {
			return m, err
		}
	}
	if now, err := json.Marshal(m); err != nil || string(now) != string(was) {
		return m, errors.Join(err, r.writeMemory(name, m))
	}
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
	block, err := aes.NewCipher(m.Key)
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
	const unit = 512
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
