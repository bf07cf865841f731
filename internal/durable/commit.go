package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Commit makes files that nothing counts yet, and then replaces name, which makes them count, by what head
// returns. When it returns nil all of them survive a power cut. When it is cut, name is the old file, or the
// new one with all others there; of the others any may be there then, whole, or after a power cut empty.
//
// It waits for the disk twice: for all contents at once, and for the name. head is called meanwhile.
func Commit(files map[string][]byte, name string, head func() ([]byte, error), perm fs.FileMode) error {
	type next struct {
		name string
		err  error
	}
	heading := make(chan next, 1)
	go func() {
		data, err := head()
		if err != nil {
			heading <- next{err: err}
			return
		}
		tmp, err := writeTemp(name, data, perm)
		heading <- next{tmp, err}
	}()
	err := createAll(files, perm)
	h := <-heading
	if err = errors.Join(err, h.err); err == nil {
		err = os.Rename(h.name, name)
	}
	if err == nil {
		return SyncDir(filepath.Dir(name))
	}
	if h.name != "" {
		err = errors.Join(err, os.Remove(h.name))
	}
	return err
}

// createAll makes files, first all of them and then all durable, which a file system with a journal does in one go.
func createAll(files map[string][]byte, perm fs.FileMode) (err error) {
	made, dirs := []*os.File{}, map[string]bool{}
	defer func() {
		for _, f := range made {
			err = errors.Join(err, f.Close())
		}
	}()
	for name, data := range files {
		f, err := create(name, data, perm)
		if err != nil {
			return err
		}
		made, dirs[filepath.Dir(name)] = append(made, f), true
	}
	return syncAll(made, dirs)
}

// create makes a file and its directories. Nothing of it is on disk yet.
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
