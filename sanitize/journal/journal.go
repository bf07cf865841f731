// Package journal keeps an append-only list of records in one file: each is on disk before Append
// returns, and each carries the hash of the line before it.
//
// It knows nothing of drives; what a record means is the caller's. A record that was being written
// when the power went is a torn tail: it was never acknowledged, so it is cut. Anything else that
// does not fit the chain is corruption, and an error.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

// Record is one line of a journal.
type Record struct {
	Seq  int64           `json:"seq"`  // from 1
	Prev string          `json:"prev"` // hex SHA-256 of the line before, with its newline; of nothing for the first
	Time time.Time       `json:"time"` // the host's clock: a claim
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

// Decode reads the record's data into v, strictly.
func (r Record) Decode(v any) error {
	if err := strict.Decode(r.Data, v); err != nil {
		return fmt.Errorf("journal record %d (%s): %w", r.Seq, r.Kind, err)
	}
	return nil
}

// CorruptError says where a journal stops being one. Nothing can be claimed from such a file: keep
// it, and sanitize the drive again in a new job.
type CorruptError struct {
	Name string
	Seq  int64 // of the first record that does not fit
	Why  string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal %s: record %d: %s", e.Name, e.Seq, e.Why)
}

// ErrBroken: an earlier append failed, so what is on disk is not known. Open the file again.
var ErrBroken = errors.New("journal is broken by an earlier write error")

// maxLine bounds a record; a list of extents stays far below it.
const maxLine = 4 << 20

// Journal is an open journal. It has one writer, the goroutine that opened it.
type Journal struct {
	name   string
	f      *os.File
	now    func() time.Time
	head   string
	size   int64
	n      int64
	broken error
}

// Create makes a new journal; the error is fs.ErrExist when there is one. now is the clock for
// the records' claimed times.
func Create(name string, now func() time.Time) (*Journal, error) {
	if err := durable.CreateFile(name, nil, 0o600); err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	j, _, err := Open(name, now)
	return j, err
}

// Open reads a journal, cuts a torn tail and goes on after the last whole record.
func Open(name string, now func() time.Time) (*Journal, []Record, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open journal: %w", err)
	}
	j, records, err := load(f, now)
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return j, records, nil
}

func load(f *os.File, now func() time.Time) (*Journal, []Record, error) {
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, fmt.Errorf("read journal: %w", err)
	}
	parsed, err := Parse(f.Name(), data)
	if err != nil {
		return nil, nil, err
	}
	j := &Journal{name: f.Name(), f: f, now: now, head: parsed.Head, size: parsed.Size, n: int64(len(parsed.Records))}
	if parsed.Size < int64(len(data)) {
		if err := errors.Join(f.Truncate(parsed.Size), f.Sync()); err != nil {
			return nil, nil, fmt.Errorf("cut torn tail of journal %s: %w", f.Name(), err)
		}
	}
	return j, parsed.Records, nil
}

// Parsed is what a journal's bytes hold.
type Parsed struct {
	Records []Record
	Head    string // hex SHA-256 of the last line; of nothing when there are no records
	Size    int64  // bytes of whole records; what follows is a torn tail
}

// Parse checks the chain. It is a pure function of the bytes; name is for errors only. The error
// is a *CorruptError.
func Parse(name string, data []byte) (Parsed, error) {
	p := Parsed{Head: hash(nil)}
	for rest := data; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 || bytes.IndexByte(rest[:end], 0) >= 0 {
			// No newline, or blocks that the file system had allotted but not yet written: torn,
			// provided that no whole record follows.
			if end >= 0 && bytes.IndexByte(rest[end+1:], '\n') >= 0 {
				return Parsed{}, &CorruptError{name, int64(len(p.Records)) + 1, "zero bytes in the middle of the file"}
			}
			return p, nil
		}
		line := rest[:end+1]
		record, err := parseLine(line)
		switch {
		case err != nil:
			return Parsed{}, &CorruptError{name, int64(len(p.Records)) + 1, err.Error()}
		case record.Seq != int64(len(p.Records))+1:
			return Parsed{}, &CorruptError{name, int64(len(p.Records)) + 1, fmt.Sprintf("out of sequence: says it is %d", record.Seq)}
		case record.Prev != p.Head:
			return Parsed{}, &CorruptError{name, record.Seq, "does not follow from the record before it"}
		}
		p.Records = append(p.Records, record)
		p.Head = hash(line)
		p.Size += int64(len(line))
		rest = rest[end+1:]
	}
	return p, nil
}

func parseLine(line []byte) (Record, error) {
	var r Record
	if len(line) > maxLine {
		return r, fmt.Errorf("longer than %d bytes", maxLine)
	}
	if err := strict.Decode(line, &r); err != nil {
		return r, fmt.Errorf("not a record: %w", err)
	}
	// One form per record: what is hashed is what is read.
	again, err := json.Marshal(r)
	if err != nil || !bytes.Equal(append(again, '\n'), line) {
		return r, errors.New("not in the form in which records are written")
	}
	return r, nil
}

func hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// Append adds a record and returns it when it is on disk. After an error the journal takes
// nothing more (ErrBroken): what the failed write left is known only after opening it again.
func (j *Journal) Append(kind string, data any) (Record, error) {
	if j.broken != nil {
		return Record{}, fmt.Errorf("append %s to %s: %w: %w", kind, j.name, ErrBroken, j.broken)
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return Record{}, fmt.Errorf("append %s to %s: %w", kind, j.name, err)
	}
	r := Record{Seq: j.n + 1, Prev: j.head, Time: j.now().UTC().Round(0), Kind: kind, Data: raw}
	line, err := json.Marshal(r)
	if err != nil {
		return Record{}, fmt.Errorf("append %s to %s: %w", kind, j.name, err)
	}
	line = append(line, '\n')
	if len(line) > maxLine {
		return Record{}, fmt.Errorf("append %s to %s: record of %d bytes, at most %d", kind, j.name, len(line), maxLine)
	}
	if _, err = j.f.WriteAt(line, j.size); err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		j.broken = err
		return Record{}, fmt.Errorf("append %s to journal: %w", kind, err)
	}
	j.n, j.head, j.size = r.Seq, hash(line), j.size+int64(len(line))
	return r, nil
}

// Head is the hex SHA-256 of the last line and the number of records: together they pin the
// whole journal.
func (j *Journal) Head() (sha256 string, records int64) { return j.head, j.n }

// Intact says whether the journal's name still is the open file, with all that was written to it. The error says what somebody did:
// took it away, put another in its place, cut it or wrote to it. What was changed in the middle is found when it is opened again.
func (j *Journal) Intact() error {
	open, err := j.f.Stat()
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	named, err := os.Stat(j.name)
	switch {
	case err != nil:
		return fmt.Errorf("journal: %w", err)
	case !os.SameFile(open, named):
		return fmt.Errorf("journal %s: another file is in its place", j.name)
	case open.Size() != j.size && j.broken == nil:
		return fmt.Errorf("journal %s: it has %d bytes, and %d were written", j.name, open.Size(), j.size)
	}
	return nil
}

// Close closes the file. Every record that was acknowledged is on disk already.
func (j *Journal) Close() error { return j.f.Close() }

// Read reads a journal without opening it for writing and leaves a torn tail where it is.
func Read(name string) (Parsed, error) {
	data, err := os.ReadFile(filepath.Clean(name))
	if err != nil {
		return Parsed{}, fmt.Errorf("read journal: %w", err)
	}
	return Parse(name, data)
}
