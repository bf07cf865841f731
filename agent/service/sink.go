package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
)

// sink is a directory elsewhere than the state that evidence is copied to, under its names in the state. It is used from one
// goroutine at a time.
type sink struct {
	dir, state, owner string
	simulated         bool

	root    os.FileInfo       // of the directory, when its marker was seen last; nil before that
	copies  map[string]copied // by file of the state
	logs    map[string]copiedLog
	written int // how many files were copied, or compared
}

// copied is the copy of a file, and both as they were when they were the same.
type copied struct {
	name     string // of the copy
	from, to os.FileInfo
}

// A sink has a marker that says whose it is, and the state a note that it was used: where something else is mounted there, or
// nothing, what is asked for is not the sink.
const (
	sinkMarker = "expunge-sink.json" // in the sink
	sinkNote   = "sink.json"         // in the state
	sinkSchema = "expunge/sink/v1"
)

type sinkMark struct {
	Schema string `json:"schema"`
	Of     string `json:"of"` // in the marker, the host or rack; in the note, the directory
}

// ready says whether the sink is the one that was copied to. One that was never used is made.
func (k *sink) ready() error {
	if durable.Volatile(k.dir) && !k.simulated {
		return fmt.Errorf("sink %s is kept in memory", k.dir)
	}
	if err := apart(k.dir, k.state); err != nil {
		return err
	}
	note, err := readMark(filepath.Join(k.state, sinkNote))
	if err != nil {
		return err
	}
	used := note.Of == k.dir
	if !used {
		if err := durable.MkdirAll(k.dir, 0o700); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
	}
	root, err := os.Stat(k.dir)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	mark, err := readMark(filepath.Join(k.dir, sinkMarker))
	switch emptied := k.root != nil && os.SameFile(k.root, root); {
	case err != nil:
		return err
	case mark.Of == k.owner:
	case mark.Of != "":
		return fmt.Errorf("sink %s is that of another state: each needs one of its own", k.dir)
	case used && !emptied:
		return fmt.Errorf("what is at %s is not the sink that was copied to before, which has a file %s: mount it; or, to begin another sink, remove %s", k.dir, sinkMarker, filepath.Join(k.state, sinkNote))
	default:
		if err := writeMark(filepath.Join(k.dir, sinkMarker), k.owner); err != nil {
			return err
		}
	}
	if !used {
		if err := writeMark(filepath.Join(k.state, sinkNote), k.dir); err != nil {
			return err
		}
	}
	k.root = root
	return nil
}

var errTogether = errors.New("what is lost with one is lost with the other")

// apart says whether a sink and the state have nothing of each other, wherever links lead. A sink need not be there yet. The error is
// errTogether when one is in the other.
func apart(dir, state string) error {
	to, err := resolved(dir)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	from, err := resolved(state)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	if within(to, from) {
		return fmt.Errorf("sink %s is in the state directory: %w", dir, errTogether)
	}
	if within(from, to) {
		return fmt.Errorf("the state directory is in sink %s: %w", dir, errTogether)
	}
	return nil
}

// within says whether a path is a directory, or below it.
func within(name, dir string) bool {
	below, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(below)
}

// resolved is a path without links, as far as it is there.
func resolved(name string) (string, error) {
	name, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, there := os.Lstat(name); there == nil {
			return "", fmt.Errorf("%s is a link that leads nowhere", name)
		}
		var parent string
		parent, err = resolved(filepath.Dir(name))
		real = filepath.Join(parent, filepath.Base(name))
	}
	return real, err
}

func readMark(name string) (sinkMark, error) {
	var m sinkMark
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = strict.Decode(data, &m)
	}
	if err == nil && (m.Schema != sinkSchema || m.Of == "") {
		err = errors.New("it is damaged or of another version")
	}
	if err != nil {
		return sinkMark{}, fmt.Errorf("sink: %s: %w", name, err)
	}
	return m, nil
}

func writeMark(name, of string) error {
	data, err := json.Marshal(sinkMark{sinkSchema, of})
	if err == nil {
		err = durable.WriteFile(name, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	return nil
}

// at is where a file or directory of the state is in the sink.
func (k *sink) at(name string) (string, error) {
	below, err := filepath.Rel(k.state, name)
	if err != nil {
		return "", fmt.Errorf("sink: %w", err)
	}
	return filepath.Join(k.dir, below), nil
}

// keep sees to it that the sink has a file of the state, which is so now. Of one that is as it was, and whose copy is, nothing is read.
func (k *sink) keep(name string, now os.FileInfo) error {
	if have, known := k.copies[name]; known && unchanged(now, have.from) && have.there() {
		return nil
	}
	delete(k.copies, name)
	k.written++
	to, err := k.at(name)
	if err != nil {
		return err
	}
	if there, err := os.Stat(to); err == nil && os.SameFile(there, now) {
		return fmt.Errorf("sink: %s is the state's own file, by a link or a mount, and no copy of it", to)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	if have, err := os.ReadFile(to); err != nil || !bytes.Equal(have, data) {
		if err := durable.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		if err := durable.WriteFile(to, data, 0o600); err != nil {
			return fmt.Errorf("sink: %w", err)
		}
	} else if err := durable.Sync(to); err != nil { // by whom it was written is not known
		return fmt.Errorf("sink: %w", err)
	}
	info, err := os.Stat(to)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	switch have, err := os.ReadFile(to); {
	case err != nil:
		return fmt.Errorf("sink: %w", err)
	case os.SameFile(info, now):
		return fmt.Errorf("sink: %s is the state's own file", to)
	case !bytes.Equal(have, data):
		return errors.New("sink: " + to + " reads back otherwise than it was written")
	}
	k.copies[name] = copied{to, now, info}
	return nil
}

// there says whether a copy is what it was.
func (c copied) there() bool {
	info, err := os.Stat(c.name)
	return err == nil && unchanged(info, c.to)
}
