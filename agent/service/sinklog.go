package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/expunge-dev/expunge/agent"
)

// logLast are the files of a log that say how long it is. They are copied when all that they speak of is there. In logGrows are files
// that never change, and come only with a change of the former.
var (
	logLast  = []string{"ahead", "checkpoint"}
	logGrows = []string{"envelopes", "tile"}
)

// copiedLog is a log that was copied: as long as these say, and all that never changes of it.
type copiedLog struct {
	last  []os.FileInfo
	files []string
}

// sameLog says whether the log goes on from the one that the sink has, which may be taken for the same then.
func (k *sink) sameLog(a *agent.Agent) error {
	to, err := k.at(a.LogDir())
	if err != nil {
		return err
	}
	if err := a.LogGoesOnFrom(os.DirFS(to)); err != nil {
		return fmt.Errorf("sink: %s is left as it is: %w", to, err)
	}
	return nil
}

// keepTree sees to it that the sink has a directory of the state, such as the log. Nobody should write there meanwhile: when somebody
// has, it is an error, and the next look goes on. Whether what never changes is still in the sink is only looked at when that is to be
// thorough.
func (k *sink) keepTree(dir string, thorough bool) error {
	var last []string
	for _, name := range logLast {
		last = append(last, filepath.Join(dir, name))
	}
	before, err := stats(last)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	was, known := k.logs[dir]
	same := known && slices.EqualFunc(before, was.last, unchanged)
	now, written := copiedLog{last: before}, k.written
	if same {
		now.files = was.files
		for _, name := range now.files {
			if err := k.keepOld(name, thorough); err != nil {
				return err
			}
		}
	}
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case name == dir && errors.Is(err, fs.ErrNotExist):
			return fs.SkipAll
		case err != nil:
			return fmt.Errorf("sink: %w", err)
		case d.IsDir() && same && filepath.Dir(name) == dir && slices.Contains(logGrows, d.Name()):
			return fs.SkipDir
		case d.IsDir() || strings.HasPrefix(d.Name(), ".") || d.Name() == "lock" || slices.Contains(last, name):
			return nil
		}
		if below, _, _ := strings.Cut(strings.TrimPrefix(name, dir+"/"), "/"); slices.Contains(logGrows, below) {
			now.files = append(now.files, name)
			return k.keepOld(name, thorough)
		}
		return k.keepOne(name)
	})
	if err != nil {
		return err
	}
	for i, name := range last {
		if before[i] == nil {
			continue
		}
		if err := k.keepOne(name); err != nil {
			return err
		}
		if !unchanged(k.copies[name].from, before[i]) {
			return fmt.Errorf("sink: %s is being written", name)
		}
	}
	k.logs[dir] = now
	if written == k.written {
		return nil
	}
	return k.prune(dir)
}

func (k *sink) keepOne(name string) error {
	now, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("sink: %w", err)
	}
	return k.keep(name, now)
}

// keepOld is keepOne of a file that never changes.
func (k *sink) keepOld(name string, thorough bool) error {
	if have, known := k.copies[name]; known && (!thorough || have.there()) {
		return nil
	}
	return k.keepOne(name)
}

// prune takes from the copy of a log the partial tiles that wider ones of it have replaced, as the log itself does.
func (k *sink) prune(dir string) error {
	to, err := k.at(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(to, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		tile, partial := strings.CutSuffix(filepath.Dir(name), ".p")
		width, bad := strconv.Atoi(d.Name())
		if d.IsDir() || !partial || bad != nil {
			return nil
		}
		replaced, err := replaced(tile, width)
		if err == nil && replaced {
			err = os.Remove(name)
		}
		if err != nil {
			return fmt.Errorf("sink: %w", err)
		}
		return nil
	})
}

// replaced says whether there is a wider tile than one of so many hashes.
func replaced(tile string, width int) (bool, error) {
	if _, err := os.Stat(tile); err == nil {
		return true, nil
	}
	entries, err := os.ReadDir(tile + ".p")
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		n, err := strconv.Atoi(e.Name())
		return err == nil && n > width
	}), err
}
