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
// It waits for the disk twice: for all contents at once, which a file system with a journal puts there in one go
// when nobody asks earlier, and for the name. head is called while the files are made.
func Commit(files map[string][]byte, name string, head func() ([]byte, error), perm fs.FileMode) (err error) {
	type headed struct {
		data []byte
		err  error
	}
	heading := make(chan headed, 1)
	go func() {
		data, err := head()
		heading <- headed{data, err}
	}()
	written, dirs := []*os.File{}, map[string]bool{}
	defer func() {
		for _, f := range written {
			err = errors.Join(err, f.Close())
		}
	}()
	for file, data := range files {
		f, err := create(file, data, perm)
		if err != nil {
			<-heading
			return err
		}
		written = append(written, f)
		dirs[filepath.Dir(file)] = true
	}
	h := <-heading
	if h.err != nil {
		return h.err
	}
	next, err := temp(name, h.data, perm)
	if err != nil {
		return err
	}
	written = append(written, next)
	if err := syncAll(written, dirs); err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	if err := os.Rename(next.Name(), name); err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return SyncDir(filepath.Dir(name))
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
