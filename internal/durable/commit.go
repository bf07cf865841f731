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
	errs := make(chan error)
	for file, data := range files {
		go func() { errs <- create(file, data, perm) }()
	}
	var tmp string
	data, failed := head()
	if failed == nil {
		tmp, failed = writeTemp(name, data, perm)
	}
	for range files {
		failed = errors.Join(failed, <-errs)
	}
	if failed == nil {
		failed = os.Rename(tmp, name)
	}
	if failed == nil {
		return SyncDir(filepath.Dir(name))
	}
	if tmp != "" {
		failed = errors.Join(failed, os.Remove(tmp))
	}
	return failed
}

// create makes a file and its directories. Contents and name reach the disk together, and in no order.
func create(name string, data []byte, perm fs.FileMode) error {
	dir := filepath.Dir(name)
	if err := MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := temp(name, data, perm)
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return SyncDir(dir)
}
