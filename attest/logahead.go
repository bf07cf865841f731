package attest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/expunge-dev/expunge/internal/durable"
)

// aheadName is the log's write-ahead file. A record of it has all files of one entry, the checkpoint last: when
// it is on disk the entry counts. The files themselves are made later, many at once.
const aheadName = "ahead"

// Bounds of the write-ahead file: when it is settled, and what is read of one.
const (
	settleAhead = 1 << 20
	maxAhead    = 4 << 20
)

// ahead is what a write-ahead file says must be in the log.
type ahead struct {
	first, last int64           // sizes of the log after the first and the last record
	checkpoints [][]byte        // of each record
	files       []durable.Named // of the log after the last, but for those that were replaced since
}

// readAhead puts records together. Each is the entry behind that of the one before.
func readAhead(data []byte) (a ahead, err error) {
	records, err := durable.Records(data)
	if err != nil {
		return a, err
	}
	files := map[string][]byte{}
	for i, record := range records {
		head := record[len(record)-1]
		size := sizeIn(head.Data)
		if head.Name != "checkpoint" || size < 1 || i > 0 && size != a.last+1 {
			return a, errors.New("a record is not of the next entry")
		}
		if i == 0 {
			a.first = size
		}
		a.last, a.checkpoints = size, append(a.checkpoints, head.Data)
		for i, f := range record {
			if i < len(record)-1 && !strings.HasPrefix(f.Name, "tile/") && !strings.HasPrefix(f.Name, "envelopes/") {
				return a, fmt.Errorf("it has a file %q, which is none of a log", f.Name)
			}
			merge(files, f)
		}
	}
	for name, data := range files {
		a.files = append(a.files, durable.Named{Name: name, Data: data})
	}
	slices.SortFunc(a.files, func(a, b durable.Named) int { return strings.Compare(a.Name, b.Name) })
	return a, nil
}

// merge adds a file to those that are to be made, and takes away the narrower tiles that it replaces.
func merge(files map[string][]byte, f durable.Named) {
	for name := range files {
		if replaces(f.Name, name) {
			delete(files, name)
		}
	}
	files[f.Name] = f.Data
}

// sizeIn is the size in a checkpoint that nobody has checked yet; -1 when there is none.
func sizeIn(checkpoint []byte) int64 {
	lines := strings.SplitN(string(checkpoint), "\n", 3)
	if len(lines) < 3 {
		return -1
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return -1
	}
	return size
}

// replaces says whether a tile makes another, narrower one of the same place needless.
func replaces(name, other string) bool {
	base, _, _ := strings.Cut(name, ".p/")
	return name != other && strings.HasPrefix(other, base+".p/")
}

// explains says whether the checkpoint on disk, nil when there is none, may be what a cut left: that from
// before the records, or one of theirs, in whole or in part.
func (a ahead) explains(checkpoint []byte) bool {
	if checkpoint == nil {
		return a.first == 1
	}
	return sizeIn(checkpoint) == a.first-1 || a.left(checkpoint)
}

// left says whether the checkpoint on disk may be one of the records', in whole or in part.
func (a ahead) left(checkpoint []byte) bool {
	return slices.ContainsFunc(a.checkpoints, func(c []byte) bool { return durable.Left(checkpoint, c) })
}

// memory is what a log that is held open knows of its directory. It is good for as long as the checkpoint on disk
// and the length of the write-ahead file are what they were.
type memory struct {
	mu      sync.Mutex
	text    []byte // the checkpoint that was checked last, or signed by ourselves
	head    checkpoint
	onDisk  []byte            // the checkpoint from before the write-ahead file
	ahead   int64             // length of the write-ahead file
	pending map[string][]byte // the files that are only there
	known   known
}

// readHead returns the checkpoint, nil when there is none. What others wrote ahead, or we before a cut, is settled
// first.
func (l *Log) readHead() ([]byte, error) {
	data, err := readOptional(filepath.Join(l.dir, "checkpoint"))
	if err != nil {
		return nil, err
	}
	name, m, length := filepath.Join(l.dir, aheadName), l.memory, int64(0)
	if info, err := os.Stat(name); err == nil {
		length = info.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read log: %w", err)
	}
	switch {
	case len(m.pending) > 0 && length == m.ahead && bytes.Equal(data, m.onDisk):
		return m.text, nil
	case len(m.pending) > 0 && length == 0 && sizeIn(data) < m.head.size:
		return nil, &LogError{l.dir, "its write-ahead file was taken away"}
	case length == 0:
		m.pending = nil // others have settled it
		return data, nil
	case length > maxAhead:
		return nil, &LogError{l.dir, fmt.Sprintf("its write-ahead file has %d bytes, at most %d", length, maxAhead)}
	}
	if err := l.settle(data); err != nil {
		return nil, err
	}
	return readOptional(filepath.Join(l.dir, "checkpoint"))
}

func readOptional(name string) ([]byte, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return data, nil
}

// Settle makes the files of all entries, so that the log is at rest: programs that know nothing of what is written
// ahead see all of it. When it fails nothing is lost.
func (l *Log) Settle() error {
	return l.update(func(t *tree) error {
		if len(l.memory.pending) > 0 {
			if err := l.settle(l.memory.onDisk); err != nil {
				return err
			}
		}
		return l.keepMark(t)
	})
}

// settle puts on disk what the write-ahead file says, and empties it. The checkpoint is the one on disk. A file that
// is there with other contents than a cut can leave was changed by somebody, and stays as it is.
func (l *Log) settle(checkpoint []byte) error {
	name := filepath.Join(l.dir, aheadName)
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("settle log: %w", err)
	}
	a, err := readAhead(text)
	if err == nil && a.last > 0 {
		err = l.checkAhead(a, checkpoint)
	}
	if err != nil {
		return &LogError{l.dir, "its write-ahead file is not to be used: " + err.Error()}
	}
	for _, f := range a.files {
		if f.Name == "checkpoint" {
			continue // it was explained
		}
		have, err := readOptional(filepath.Join(l.dir, f.Name))
		if err != nil {
			return err
		}
		if !durable.Left(have, f.Data) {
			return &LogError{l.dir, f.Name + " is not what the write-ahead file says: it was changed"}
		}
	}
	if err := durable.Make(l.dir, a.files, 0o644); err != nil {
		return fmt.Errorf("settle log: %w", err)
	}
	if err := l.prune(a.files); err != nil {
		return err
	}
	if err := durable.Empty(name); err != nil {
		return fmt.Errorf("settle log: %w", err)
	}
	l.memory.pending = nil
	return nil
}

// checkAhead says whether records can be made: they lead from the checkpoint on disk to one of the log, whose tree
// has the tree of the other in it.
func (l *Log) checkAhead(a ahead, onDisk []byte) error {
	if !a.explains(onDisk) {
		return errors.New("it does not lead from the checkpoint")
	}
	last, err := openCheckpoint(a.checkpoints[len(a.checkpoints)-1], l.key.LogPublic)
	if err != nil {
		return err
	}
	to := []checkpoint{last}
	switch first, err := openCheckpoint(onDisk, l.key.LogPublic); {
	case err == nil:
		to = append(to, first)
	case onDisk != nil && !a.left(onDisk):
		return err
	}
	files := map[string][]byte{}
	for _, f := range a.files {
		files[f.Name] = f.Data
	}
	t := &tree{log: &Log{dir: l.dir, memory: &memory{pending: files}}, size: last.size, tiles: map[string][]byte{}}
	for _, cp := range to {
		if root, err := tlog.TreeHash(cp.size, t); err != nil || root != cp.root {
			return errors.Join(fmt.Errorf("its tree of %d entries is not that of the checkpoint", cp.size), err)
		}
	}
	return nil
}

// commit makes an entry count with one wait for the disk. What a run does for each of its drives leaves its files to
// be made with those of the others, at the run's end; anything else leaves the log at rest, as others take copies of it.
func (t *tree) commit(cp checkpoint, kind string, written []durable.Named) error {
	l, m := t.log, t.log.memory
	if len(m.pending) > 0 && m.ahead >= settleAhead {
		if err := l.settle(m.onDisk); err != nil {
			return err
		}
	}
	if len(m.pending) == 0 {
		m.onDisk, m.pending = t.checkpoint, map[string][]byte{}
	}
	length, err := durable.Append(filepath.Join(l.dir, aheadName), written)
	if err != nil {
		m.pending, m.text = nil, nil // what is there has to be looked at
		return fmt.Errorf("append to log: %w", err)
	}
	for _, f := range written {
		merge(m.pending, f)
	}
	m.ahead, m.text, m.head, m.known.seen = length, m.pending["checkpoint"], cp, cp
	t.size, t.root, t.checkpoint, t.tiles = cp.size, cp.root, m.text, map[string][]byte{}
	switch kind {
	case kindSession, kindIntent, kindResult:
		return nil
	}
	return l.settle(m.onDisk)
}

// read reads a file of the log, which may be pending.
func (l *Log) read(name string) ([]byte, error) {
	if data, ok := l.memory.pending[name]; ok {
		return data, nil
	}
	return os.ReadFile(filepath.Join(l.dir, name))
}

// prune removes the partial tiles that those just written replace: kept, they would grow with the
// square of the entries.
func (l *Log) prune(written []durable.Named) error {
	for _, f := range written {
		if !strings.HasPrefix(f.Name, "tile/") {
			continue
		}
		base, _, partial := strings.Cut(f.Name, ".p/")
		if !partial {
			if err := os.RemoveAll(filepath.Join(l.dir, base+".p")); err != nil {
				return fmt.Errorf("tidy log: %w", err)
			}
			continue
		}
		old, err := filepath.Glob(filepath.Join(l.dir, base+".p", "*"))
		if err != nil {
			return fmt.Errorf("tidy log: %w", err)
		}
		for _, o := range old {
			if o == filepath.Join(l.dir, f.Name) {
				continue
			}
			if err := os.Remove(o); err != nil {
				return fmt.Errorf("tidy log: %w", err)
			}
		}
	}
	return nil
}
