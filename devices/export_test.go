package devices

import "time"

// Impatient makes listings wait no longer than this for a drive.
func (h *Host) Impatient(wait time.Duration) { h.asked.patience = wait }
