// Package durable is os with fsync: when a call returns nil, what it made survives a power cut,
// name and contents both.
//
// After an error nothing is promised about the new contents, but a file that was there before
// WriteFile is still whole: either the old one or the new one. A failed fsync is never retried,
// because the kernel may have dropped the dirty pages and then reports success (the "fsyncgate"
// behaviour of Linux).
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces name by a file with this content: temporary file in the same directory,
// write, fsync, rename, fsync of the directory. Readers see the old file or the new one.
func WriteFile(name string, data []byte, perm fs.FileMode) error {
	tmp, err := writeTemp(name, data, perm)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return SyncDir(filepath.Dir(name))
}

// CreateFile makes a file that was not there before, whole or not at all; the error is
// fs.ErrExist when there is one already.
func CreateFile(name string, data []byte, perm fs.FileMode) error {
	tmp, err := writeTemp(name, data, perm)
	if err != nil {
		return err
	}
	// link(2) fails when the target exists, which rename(2) does not.
	linked := os.Link(tmp, name)
	if err := errors.Join(linked, os.Remove(tmp)); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// writeTemp makes a file beside name whose contents are on disk.
func writeTemp(name string, data []byte, perm fs.FileMode) (tmp string, err error) {
	f, err := temp(name, data, perm)
	if err != nil {
		return "", err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return "", errors.Join(unwritten(name, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// temp is a new file beside name with its contents, which may not be on disk yet.
func temp(name string, data []byte, perm fs.FileMode) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp")
	if err != nil {
		return nil, unwritten(name, err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(perm)); err != nil {
		return nil, errors.Join(unwritten(name, err), f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// unwritten is an error of writing name, which says nothing of the temporary file.
func unwritten(name string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &fs.PathError{Op: "write", Path: name, Err: err}
}

// Mkdir makes one directory that was not there before; the error is fs.ErrExist when it was.
func Mkdir(name string, perm fs.FileMode) error {
	if err := os.Mkdir(name, perm); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// MkdirAll makes a directory and the parents that are missing. Directories that are there
// already keep their permissions.
func MkdirAll(name string, perm fs.FileMode) error {
	name = filepath.Clean(name)
	if info, err := os.Stat(name); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("make directory %s: a file of that name is in the way", name)
		}
		return nil
	}
	if parent := filepath.Dir(name); parent != name {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := Mkdir(name, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", name, err)
	}
	return nil
}
