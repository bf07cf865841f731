//go:build !linux

package devices

import (
	"context"
	"errors"
	"fmt"
)

// OpenNode opens real nodes on Linux only; racks work everywhere.
func OpenNode(_ context.Context, name string, _ Access) (Transport, error) {
	return nil, fmt.Errorf("open node %s: only Linux is supported: %w", name, errors.ErrUnsupported)
}
