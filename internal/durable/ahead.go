package durable

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A write-ahead file has records of files that are to be made, one behind another. A record that is on disk
// whole counts: its files can be made at any time, and made again as often as one likes. So one wait for the
// disk is enough for many files:
//
//	Append  adds a record: from here on the files are as good as made, whatever happens
//	Make    makes them, of as many records as there are
//	Empty   takes the records away, which nothing needs any more
//
// After a power cut between the first and the last, Records says what was to be made, and Left whether a file
// is what a cut can leave of it.

// Named is a file: its name in a directory, with slashes, and its contents.
type Named struct {
	Name string
	Data []byte
}

const (
	recordWord = "expunge.ahead/v1 "
	maxNamed   = 1000 // files in a record
)

// ErrDamaged: a record of a write-ahead file is not what was written, and others are behind it. A cut leaves
// no more than the beginning of the last one.
var ErrDamaged = errors.New("write-ahead file is damaged")

// encodeRecord writes a record: how many files, a line for each with its length and name, the contents, and
// the SHA-256 of all this.
func encodeRecord(files []Named) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s%d\n", recordWord, len(files))
	for _, f := range files {
		fmt.Fprintf(&out, "%d %s\n", len(f.Data), f.Name)
	}
	for _, f := range files {
		out.Write(f.Data)
	}
	sum := sha256.Sum256(out.Bytes())
	fmt.Fprintf(&out, "%x\n", sum)
	return out.Bytes()
}

// Append adds a record to a write-ahead file, which is made when it is not there, and returns how long that
// is then. When the error is nil the record is on disk. After one, it may be there or not.
func Append(name string, files []Named) (size int64, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	made := errors.Is(err, fs.ErrNotExist)
	if made {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(encodeRecord(files)); err != nil {
		return 0, fmt.Errorf("write %s: %w", name, err)
	}
	if err := f.Sync(); err != nil {
		return 0, fmt.Errorf("write %s: %w", name, err)
	}
	info, err := f.Stat()
	if err == nil && made {
		err = SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Records reads a write-ahead file: the files of each record that is whole. Behind the last one a cut may have left
// a part of another. The error is ErrDamaged.
func Records(data []byte) (records [][]Named, err error) {
	for len(data) > 0 {
		files, rest, ok := decodeRecord(data)
		if !ok {
			if bytes.Contains(data[1:], []byte("\n"+recordWord)) {
				err = ErrDamaged
			}
			return records, err
		}
		records, data = append(records, files), rest
	}
	return records, nil
}

// decodeRecord takes the first record from a write-ahead file.
func decodeRecord(data []byte) (files []Named, rest []byte, ok bool) {
	at := 0
	line := func() (string, bool) {
		end := bytes.IndexByte(data[at:], '\n')
		if end < 0 {
			return "", false
		}
		text := string(data[at : at+end])
		at += end + 1
		return text, true
	}
	first, _ := line()
	word, isRecord := strings.CutPrefix(first, recordWord)
	count, err := strconv.Atoi(word)
	if !isRecord || err != nil || count < 1 || count > maxNamed {
		return nil, nil, false
	}
	lengths := make([]int, count)
	files = make([]Named, count)
	for i := range files {
		text, _ := line()
		length, name, found := strings.Cut(text, " ")
		if lengths[i], err = strconv.Atoi(length); err != nil || !found || !fs.ValidPath(name) || lengths[i] < 0 || lengths[i] > len(data) {
			return nil, nil, false
		}
		files[i].Name = name
	}
	for i, n := range lengths {
		if n > len(data)-at {
			return nil, nil, false
		}
		files[i].Data = data[at : at+n]
		at += n
	}
	sum := sha256.Sum256(data[:at])
	end := fmt.Sprintf("%x\n", sum)
	if !strings.HasPrefix(string(data[at:min(len(data), at+len(end))]), end) {
		return nil, nil, false
	}
	return files, data[at+len(end):], true
}

// Left says whether a file, of which this was read, may be what a power cut left of one that was written and
// not yet on disk: its beginning, or zeros in place of some of it.
func Left(have, want []byte) bool {
	if len(have) > len(want) {
		return false
	}
	for i, b := range have {
		if b != want[i] && b != 0 {
			return false
		}
	}
	return true
}

// Make makes sure that files are in a directory, with these contents, and on disk: all at once, which a file
// system with a journal does in one go.
func Make(dir string, files []Named, perm fs.FileMode) (err error) {
	var made []*os.File
	dirs := map[string]bool{}
	defer func() {
		for _, f := range made {
			err = errors.Join(err, f.Close())
		}
	}()
	for _, file := range files {
		name := filepath.Join(dir, file.Name)
		f, err := same(name, file.Data)
		if err == nil && f == nil {
			f, err = create(name, file.Data, perm)
		}
		if err != nil {
			return err
		}
		made, dirs[filepath.Dir(name)] = append(made, f), true
	}
	return syncAll(made, dirs)
}

// same opens a file that has these contents already; nil when there is none.
func same(name string, data []byte) (*os.File, error) {
	have, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(have, data) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return os.Open(name)
}

// Empty takes all records from a write-ahead file. A cut may bring them back, until the next is appended.
func Empty(name string) error { return os.Truncate(name, 0) }

// create makes or replaces a file, and makes its directories. Nothing of the file is on disk yet.
func create(name string, data []byte, perm fs.FileMode) (*os.File, error) {
	if err := MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := temp(name, data, perm)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// syncAll puts contents and names on disk together.
func syncAll(files []*os.File, dirs map[string]bool) error {
	errs := make(chan error)
	for _, f := range files {
		go func() {
			err := f.Sync()
			if err != nil {
				err = fmt.Errorf("write %s: %w", f.Name(), err)
			}
			errs <- err
		}()
	}
	for dir := range dirs {
		go func() { errs <- SyncDir(dir) }()
	}
	var err error
	for range len(files) + len(dirs) {
		err = errors.Join(err, <-errs)
	}
	return err
}
