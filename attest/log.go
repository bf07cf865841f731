package attest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/expunge-dev/expunge/internal/durable"
)

// Log is the local history: an RFC 6962 Merkle tree in the tile layout of c2sp.org/tlog-tiles,
// with one small leaf for each envelope and the envelopes beside it. An entry counts when a record of
// all its files, with the signed checkpoint, is in the write-ahead file: a cut at any moment leaves the
// log with the entry or without it. Several processes may share it: each change is made under a lock,
// from what is on disk. One that is held open looks at less of that anew.
type Log struct {
	dir    string
	key    *LogKey
	now    func() time.Time
	memory *memory
	mark   string // the file of Mark; "" is none
}

// LogError: the log is not what was written. Nothing can be added to it; keep it as it is.
type LogError struct{ Dir, Problem string }

func (e *LogError) Error() string { return fmt.Sprintf("log %s: %s", e.Dir, e.Problem) }

// tileHeight is fixed by c2sp.org/tlog-tiles: 256 hashes in a tile.
const tileHeight = 8

// maxLeaf keeps leaves small, so that anybody can hold all of them.
const maxLeaf = 1024

// OpenLog opens the log in a directory, which is there. What it says is checked at each use.
func OpenLog(dir string, key *LogKey, now func() time.Time) *Log {
	return &Log{dir: dir, key: key, now: now, memory: &memory{}}
}

// Origin is the name of the log.
func (l *Log) Origin() string { return l.key.Origin }

// Size is how many entries the log has. The error is a *LogError when it is not what was written.
func (l *Log) Size() (size int64, err error) {
	err = l.update(func(t *tree) error { size = t.size; return nil })
	return size, err
}

// leaf is one entry of the log. It names no person, and a drive by the hash of its identity.
type leaf struct {
	Drive     string `json:"drive,omitempty"`
	Envelope  string `json:"envelope"` // hex SHA-256 of what was signed
	Job       string `json:"job,omitempty"`
	Kind      string `json:"kind"`
	Session   string `json:"session,omitempty"` // id of the key that a session vouches for
	Signature string `json:"signature"`         // hex SHA-256 of the signature's bytes
}

// encode is the leaf in the encoding of Canonical, which it need not go through: it is made for every
// proof that is checked.
func (l leaf) encode() []byte {
	out := append(make([]byte, 0, 512), '{')
	for _, member := range [][2]string{{"drive", l.Drive}, {"envelope", l.Envelope}, {"job", l.Job}, {"kind", l.Kind}, {"session", l.Session}, {"signature", l.Signature}} {
		if member[1] == "" {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), member[0]...), `":"`...)
		out = append(append(out, escapes.Replace(member[1])...), '"')
	}
	return append(out, '}')
}

// The kinds of entries.
const (
	kindSession      = "session"
	kindIntent       = "intent"
	kindResult       = "result"
	kindValidation   = "validation"   // of a result, by another key
	kindSupersession = "supersession" // of what people said with a result, or of the whole
	kindManifest     = "manifest"     // of a job: without a drive; without a job where none was begun
	kindDestruction  = "destruction"  // of a drive, by hand
)

// committed completes the leaf of an envelope.
func (l leaf) committed(e Envelope) (leaf, error) {
	digest, err := e.digest()
	if err != nil {
		return leaf{}, err
	}
	if _, err := e.signer(); err != nil {
		return leaf{}, err
	}
	sig, err := decodeBase64(e.Signatures[0].Sig)
	if err != nil {
		return leaf{}, err
	}
	l.Envelope, l.Signature = digest, hexSHA256(sig)
	return l, nil
}

// tree is the log at one moment, read from disk and checked against its checkpoint.
type tree struct {
	log        *Log
	size       int64
	root       tlog.Hash // of a log that is not empty
	checkpoint []byte
	tiles      map[string][]byte
}

func hashText(h tlog.Hash) string { return hex.EncodeToString(h[:]) }

// update works on the log while nobody else does.
func (l *Log) update(work func(*tree) error) (err error) {
	l.memory.mu.Lock()
	defer l.memory.mu.Unlock()
	lock, err := durable.WaitLock(filepath.Join(l.dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return &LogError{l.dir, "its directory is missing: put the log of this state back, from a backup or a sink"}
	}
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	t, err := l.load()
	if err == nil {
		err = l.goesOn(t)
	}
	if err != nil {
		return err
	}
	return work(t)
}

func (l *Log) load() (*tree, error) {
	t := &tree{log: l, tiles: map[string][]byte{}}
	data, err := l.readHead()
	if err != nil {
		return nil, err
	}
	if data == nil {
		// A first append that was cut leaves one entry; more than that was committed once.
		tiles, err := filepath.Glob(filepath.Join(l.dir, "tile/0/*/*"))
		full, globErr := filepath.Glob(filepath.Join(l.dir, "tile/0/[0-9x]*[0-9]"))
		if err = errors.Join(err, globErr); err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		if len(full) > 0 || len(tiles) > 1 || len(tiles) == 1 && filepath.Base(tiles[0]) != "1" {
			return nil, &LogError{l.dir, "it has entries and no checkpoint"}
		}
		return t, nil
	}
	m := l.memory
	if m.text == nil || !bytes.Equal(data, m.text) {
		cp, err := openCheckpoint(data, l.key.LogPublic)
		if err != nil {
			return nil, &LogError{l.dir, fmt.Sprintf("its checkpoint is not one of %.28s…: %v", l.key.Origin, err)}
		}
		m.text, m.head = data, cp
	}
	cp := m.head
	t.size, t.root, t.checkpoint = cp.size, cp.root, data
	root, err := tlog.TreeHash(t.size, t)
	if err != nil {
		return nil, &LogError{l.dir, err.Error()}
	}
	if root != cp.root {
		return nil, &LogError{l.dir, "its tiles do not have the hash of its checkpoint: it was changed"}
	}
	return t, nil
}

// tilePath is where a tile lies when it has so many hashes.
func tilePath(t tlog.Tile) string {
	return strings.Replace(t.Path(), "tile/8/", "tile/", 1)
}

// ReadHashes implements tlog.HashReader from the tiles on disk.
func (t *tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		tile := tlog.TileForIndex(tileHeight, index)
		have := t.size>>(tileHeight*tile.L) - tile.N<<tileHeight
		tile.W = int(min(1<<tileHeight, have))
		data, err := t.read(tilePath(tile))
		if err != nil {
			return nil, err
		}
		if hashes[i], err = tlog.HashFromTile(tile, data, index); err != nil {
			return nil, err
		}
	}
	return hashes, nil
}

func (t *tree) read(name string) ([]byte, error) {
	if data, ok := t.tiles[name]; ok {
		return data, nil
	}
	data, err := t.log.read(name)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	t.tiles[name] = data
	return data, nil
}

// bundlePath is where entries lie when the bundle has so many.
func bundlePath(n int64, width int) string {
	path := tilePath(tlog.Tile{H: tileHeight, L: -1, N: n, W: width}) // tile/data/…
	return strings.Replace(strings.Replace(path, "tile/data", "tile/entries", 1), "tile/8/data", "tile/entries", 1)
}

// entries reads one bundle of up to 256 entries: each is a big-endian uint16 length and its bytes.
func (t *tree) entries(n int64) ([][]byte, error) {
	width := int(min(1<<tileHeight, t.size-n<<tileHeight))
	data, err := t.read(bundlePath(n, width))
	if err != nil {
		return nil, err
	}
	list, rest := splitEntries(data)
	if len(list) != width || rest != 0 {
		return nil, &LogError{t.log.dir, fmt.Sprintf("bundle %d of entries is damaged", n)}
	}
	return list, nil
}

// add stores an envelope and appends its leaf.
func (t *tree) add(l leaf, e Envelope) (int64, error) {
	envelope, err := Canonical(e)
	if err != nil {
		return 0, err
	}
	data := l.encode()
	if err := CheckCanonical(data); err != nil {
		return 0, fmt.Errorf("log entry: %w", err)
	}
	if len(data) > maxLeaf {
		return 0, fmt.Errorf("log entry of %d bytes, at most %d", len(data), maxLeaf)
	}
	index := t.size
	hashes, err := tlog.StoredHashes(index, data, t)
	if err != nil {
		return 0, fmt.Errorf("append to log: %w", err)
	}
	first := tlog.StoredHashCount(index)
	var entries [][]byte
	if index&(1<<tileHeight-1) != 0 {
		if entries, err = t.entries(index >> tileHeight); err != nil {
			return 0, err
		}
	}
	before := &tree{log: t.log, size: t.size, tiles: t.tiles}
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(indexes))
		for i, at := range indexes {
			if at >= first {
				list[i] = hashes[at-first]
				continue
			}
			old, err := before.ReadHashes([]int64{at})
			if err != nil {
				return nil, err
			}
			list[i] = old[0]
		}
		return list, nil
	})
	written := []durable.Named{{Name: envelopeName(l.Envelope), Data: append(envelope, '\n')}}
	for _, tile := range tlog.NewTiles(tileHeight, index, index+1) {
		data, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return 0, fmt.Errorf("append to log: %w", err)
		}
		written = append(written, durable.Named{Name: tilePath(tile), Data: data})
	}
	var bundle []byte
	for _, entry := range append(entries, data) {
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(entry))), entry...)
	}
	written = append(written, durable.Named{Name: bundlePath(index>>tileHeight, len(entries)+1), Data: bundle})
	root, err := tlog.TreeHash(index+1, reader)
	if err != nil {
		return 0, fmt.Errorf("append to log: %w", err)
	}
	text, err := signCheckpoint(index+1, root, t.log.key, t.log.now())
	if err != nil {
		return 0, fmt.Errorf("append to log: %w", err)
	}
	written = append(written, durable.Named{Name: "checkpoint", Data: text})
	return index, t.commit(checkpoint{size: index + 1, root: root}, l.Kind, written)
}

func (l *Log) envelopeFile(digest string) string {
	return filepath.Join(l.dir, "envelopes", digest+".json")
}

func (l *Log) loadEnvelope(digest string) (Envelope, error) {
	data, err := l.read(envelopeName(digest))
	if err != nil {
		return Envelope{}, fmt.Errorf("read envelope: %w", err)
	}
	var e Envelope
	if err := decodeClosed(bytes.TrimSuffix(data, []byte("\n")), &e); err != nil {
		return Envelope{}, &LogError{l.dir, fmt.Sprintf("envelope %.16s… is damaged: %v", digest, err)}
	}
	if have, err := e.digest(); err != nil || have != digest {
		return Envelope{}, &LogError{l.dir, fmt.Sprintf("envelope %.16s… is another one", digest)}
	}
	return e, nil
}

// Check reads the whole log: the checkpoint's signature, the tree's hash, and every entry against
// its hash in the tree. The error is a *LogError when it is not what was written.
func (l *Log) Check() error {
	return l.update(func(t *tree) error {
		for index := range t.size {
			list, err := t.entries(index >> tileHeight)
			if err != nil {
				return err
			}
			hashes, err := t.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
			if err != nil {
				return err
			}
			if hashes[0] != tlog.RecordHash(list[index&(1<<tileHeight-1)]) {
				return &LogError{l.dir, fmt.Sprintf("entry %d is not the one that was logged", index)}
			}
		}
		return nil
	})
}
