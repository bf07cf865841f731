package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrSlot: the contents do not fit into the file that is there.
var ErrSlot = errors.New("it does not fit into what is reserved for it")

// Overwrite puts contents over those of a file that is there and stays as long as it is, filled up with fill. Where a file
// system writes in place, it needs no room, so that it can be done on a full disk. A cut in the middle leaves a mixture of both:
// it is for contents of which a reader can tell that.
func Overwrite(name string, data []byte, fill byte) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write %s in place: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("write %s in place: %w", name, err)
	}
	if !info.Mode().IsRegular() || int64(len(data)) > info.Size() {
		return fmt.Errorf("write %s in place: %w", name, ErrSlot)
	}
	whole := make([]byte, info.Size())
	for i := copy(whole, data); i < len(whole); i++ {
		whole[i] = fill
	}
	_, err = f.WriteAt(whole, 0)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write %s in place: %w", name, err)
	}
	return nil
}

// Sync makes a file that somebody wrote durable, contents and name.
func Sync(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return SyncDir(filepath.Dir(name))
}
