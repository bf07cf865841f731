//go:build !linux

package devices

import (
	"errors"
	"fmt"
)

// openUevents: other systems have no such socket.
func openUevents() (messages, error) {
	return nil, fmt.Errorf("listen to kernel events: only Linux has them: %w", errors.ErrUnsupported)
}
