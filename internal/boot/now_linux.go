package boot

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Now is this moment. Its ID is "" when the kernel does not tell it.
func Now() Moment {
	var ts unix.Timespec
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return Moment{}
	}
	return Moment{ID: strings.TrimSpace(string(id)), Up: time.Duration(ts.Nano())}
}
