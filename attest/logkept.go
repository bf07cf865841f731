package attest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/expunge-dev/expunge/internal/durable"
)

// known is how far a log is known to have been: by this process, and by the mark. A log only grows.
type known struct {
	seen, marked checkpoint
	mark         []byte // the text of marked; nil when there is none
}

// Mark names a file, elsewhere than in the log's directory, that Settle keeps the checkpoint in: a log that does not go on from it is none
// that anything is added to. It is called before the log is used.
func (l *Log) Mark(file string) { l.mark = file }

// goesOn says whether the log goes on from what is known of it.
func (l *Log) goesOn(t *tree) error {
	k := &l.memory.known
	if l.mark != "" {
		text, err := readOptional(l.mark)
		switch {
		case err != nil:
			return err
		case text == nil:
			k.mark, k.marked = nil, checkpoint{}
		case !bytes.Equal(text, k.mark):
			cp, err := openCheckpoint(text, l.key.LogPublic)
			if err != nil {
				return &LogError{l.dir, fmt.Sprintf("how far it was is not known: %s is not a checkpoint of it: %v", l.mark, err)}
			}
			k.mark, k.marked = text, cp
		}
	}
	for _, was := range []checkpoint{k.seen, k.marked} {
		if err := t.goesOnFrom(was, "the log"); err != nil {
			return err
		}
	}
	k.seen = checkpoint{size: t.size, root: t.root}
	return nil
}

// goesOnFrom says whether the tree has all of an earlier one in it, in its place. Of what it is is for the error.
func (t *tree) goesOnFrom(was checkpoint, of string) error {
	switch {
	case was.size == 0 || was.size == t.size && was.root == t.root:
		return nil
	case t.size == 0:
		return &LogError{t.log.dir, fmt.Sprintf("the log of this state is missing: %s had %d entries; put it back, from a backup or a sink", of, was.size)}
	case t.size < was.size:
		return &LogError{t.log.dir, fmt.Sprintf("it has %d entries, and %s had %d: put the whole log of this state back, from a backup or a sink", t.size, of, was.size)}
	}
	root, err := tlog.TreeHash(was.size, t)
	if err != nil {
		return &LogError{t.log.dir, err.Error()}
	}
	if root != was.root {
		return &LogError{t.log.dir, fmt.Sprintf("its first %d entries are not those that %s had: put the log of this state back, from a backup or a sink", was.size, of)}
	}
	return nil
}

// keepMark writes the mark anew when the log has more than it says. What it says is on disk before.
func (l *Log) keepMark(t *tree) error {
	if l.mark == "" || t.size == l.memory.known.marked.size {
		return nil
	}
	if err := durable.WriteFile(l.mark, t.checkpoint, 0o644); err != nil {
		return fmt.Errorf("mark log: %w", err)
	}
	return nil
}

// GoesOnFrom says whether a copy of the log, in whole or of an earlier time, can be replaced by the log: the log has all of it. A copy
// whose checkpoint is missing or damaged says nothing. The error is a *LogError when it is of another log, or of more.
func (l *Log) GoesOnFrom(copied fs.FS) error {
	copied, err := withAhead(copied)
	if err != nil {
		return fmt.Errorf("read copy of the log: %w", err)
	}
	data, err := readCheckpoint(copied)
	if err != nil {
		return fmt.Errorf("read copy of the log: %w", err)
	}
	if name, _, _ := strings.Cut(string(data), "\n"); sizeIn(data) > 0 && strings.HasPrefix(name, origin("")) && name != l.Origin() {
		return &LogError{l.dir, fmt.Sprintf("the copy is of another log, %.28s…", name)}
	}
	return l.update(func(t *tree) error {
		cp, err := openCheckpoint(data, l.key.LogPublic)
		if err != nil {
			return nil // the copy is damaged
		}
		return t.goesOnFrom(cp, "the copy")
	})
}

// Stands says whether the log goes on from what is known of it, has so many entries at least, and whether the files of all entries and of
// their hashes are there. What is in them is compared as far as the tree's hash needs it; Check reads all. The error is a *LogError when
// they are not.
func (l *Log) Stands(entries int64) error {
	return l.update(func(t *tree) error {
		if t.size < entries {
			return t.goesOnFrom(checkpoint{size: entries}, "by the journals it")
		}
		for n := int64(0); n<<tileHeight < t.size; n++ {
			width := int(min(1<<tileHeight, t.size-n<<tileHeight))
			for level := -1; level <= 0; level++ {
				name := tileName(tileAt{level, n}, width)
				if _, pending := l.memory.pending[name]; pending {
					continue
				}
				info, err := os.Stat(filepath.Join(l.dir, name))
				if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
					return &LogError{l.dir, name + " is missing: put the log of this state back, from a backup or a sink"}
				}
				if err != nil {
					return fmt.Errorf("read log: %w", err)
				}
			}
		}
		return nil
	})
}
