package devices

import (
	"errors"
	"fmt"
	"syscall"
)

// IsGone says whether an error of I/O means that the drive no longer answers, as against a block
// that it cannot read or write. ENOSPC is one of them: a device has no room to run out of, so it
// became smaller.
func IsGone(err error) bool {
	return errors.Is(err, ErrGone) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENOSPC)
}

// wrapGone marks such an error as ErrGone.
func wrapGone(err error) error {
	if err == nil || errors.Is(err, ErrGone) || !IsGone(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrGone, err)
}
