package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The drives are files in memory.
const (
	memory = "/dev/shm"
	prefix = "expunge-bench-"
)

// room is the directory of one run: everything that it makes is in it, and it is locked as long as the
// run lives.
type room struct {
	path string
	work string // a directory on a disk, which belongs to it
	lock *os.File
}

// workLink leads from a room to its work, so that a later run finds what it has to clear.
const workLink = "work"

// newRoom makes it, after what a run that was killed has left was cleared away.
func newRoom() (*room, error) {
	left, err := filepath.Glob(filepath.Join(memory, prefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if r, err := lockRoom(path); err == nil {
			if err := r.clear(); err != nil {
				return nil, fmt.Errorf("clear what a run before has left: %w", err)
			}
		}
	}
	path, err := os.MkdirTemp(memory, prefix)
	if err != nil {
		return nil, err
	}
	r, err := lockRoom(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	if r.work, err = os.MkdirTemp("", prefix); err == nil {
		err = os.Symlink(r.work, filepath.Join(path, workLink))
	}
	if err != nil {
		return nil, errors.Join(err, r.clear())
	}
	return r, nil
}

func lockRoom(path string) (*room, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), dir.Close())
	}
	r := &room{path: path, lock: dir}
	if link, err := os.Readlink(filepath.Join(path, workLink)); err == nil && strings.HasPrefix(filepath.Base(link), prefix) {
		r.work = link
	}
	return r, nil
}

// clear detaches the loop devices over its files and removes it.
func (r *room) clear() error {
	err := detachBelow(r.path)
	if r.work != "" {
		err = errors.Join(err, os.RemoveAll(r.work))
	}
	return errors.Join(err, os.RemoveAll(r.path), r.lock.Close())
}

// free is how many bytes of memory files can be made without harm to others.
func free() (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil {
		return 0, fmt.Errorf("ask %s for its free space: %w", memory, err)
	}
	room := int64(fs.Bavail) * fs.Bsize
	// A file system in memory may promise more than there is.
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(data), "MemAvailable:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0, errors.New("/proc/meminfo does not tell MemAvailable")
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("MemAvailable: %w", err)
	}
	return min(room, kib<<10), nil
}

// So much is left to others, and no drive is smaller.
const (
	leave    = 1 << 30
	smallest = 4 << 20
)

// sizeOf decides how large each of n drives is, in whole requests of 4 MiB.
func (o Options) sizeOf(n int, free int64) (int64, error) {
	total := int64(1 << 30)
	switch {
	case o.MiB > 0:
		total = o.MiB << 20
	case o.Quick:
		total = max(16<<20, int64(n)*smallest)
	case n > 1:
		total = max(2<<30, int64(n)*smallest)
	}
	for o.MiB == 0 && total > free-leave && total/2 >= int64(n)*smallest {
		total /= 2
	}
	if total > free-leave {
		return 0, fmt.Errorf("drives of %d MiB in all need more than %s can give (%d MiB are free, %d are left to others)", total>>20, memory, free>>20, leave>>20)
	}
	return total / int64(n) / smallest * smallest, nil
}
