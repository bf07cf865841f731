//go:build unix

package durable

import (
	"errors"
	"path/filepath"
	"testing"
)

// Two writers of one job would interleave its journal.
func TestLockExcludes(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(name); !errors.Is(err, ErrLocked) {
		t.Fatalf("second claim: %v, want ErrLocked", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	second, err := WaitLock(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Fatal(err)
	}
}
