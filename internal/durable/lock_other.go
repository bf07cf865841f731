//go:build !unix

package durable

import "errors"

// ErrLocked: another process, or another part of this one, holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock is a claim on a file; there is none on this system.
type Lock struct{}

// TryLock is possible on Unix systems only: without locks nothing is written.
func TryLock(name string) (*Lock, error) { return nil, errors.ErrUnsupported }

// WaitLock is possible on Unix systems only.
func WaitLock(name string) (*Lock, error) { return nil, errors.ErrUnsupported }

// Named is possible on Unix systems only.
func (l *Lock) Named() (bool, error) { return false, errors.ErrUnsupported }

// Unlock gives the claim up.
func (l *Lock) Unlock() error { return nil }
