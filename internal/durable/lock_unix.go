//go:build unix

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// ErrLocked: another process, or another part of this one, holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock is a claim on a file that ends with the process, however that ends.
type Lock struct{ f *os.File }

// TryLock claims the file, which is made when it is not there. The error is ErrLocked when it is
// claimed already.
func TryLock(name string) (*Lock, error) {
	return lock(name, syscall.LOCK_EX|syscall.LOCK_NB)
}

// WaitLock claims the file as soon as nobody else does.
func WaitLock(name string) (*Lock, error) {
	return lock(name, syscall.LOCK_EX)
}

func lock(name string, how int) (*Lock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return &Lock{f}, nil
}

// Locked says whether somebody claims a file now, without making it. Nobody claims one that is not there.
func Locked(name string) (bool, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, f.Close()
	}
	return false, errors.Join(err, f.Close())
}

// Named says whether the file that is claimed still has its name: the directory may have been moved, or another be in its place.
// The error is why that cannot be looked at.
func (l *Lock) Named() (bool, error) {
	held, err := l.f.Stat()
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	named, err := os.Stat(l.f.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock: %w", err)
	}
	return os.SameFile(held, named), nil
}

// Unlock gives the claim up.
func (l *Lock) Unlock() error { return l.f.Close() }
