package api

import (
	"errors"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/sanitize"
)

// The exit statuses. They are part of the interface: a number is never given a second meaning.
const (
	ExitOK          = 0   // all that was asked for is done and proven
	ExitInternal    = 1   // internal error, or sanitized but no certificate could be made
	ExitUsage       = 2   // usage; nothing was selected
	ExitNotFound    = 3   // not found, or ambiguous
	ExitPermission  = 4   // permission
	ExitRefused     = 5   // refused by a safety rule, by policy, or for want of confirmation; nothing was touched
	ExitCannot      = 6   // the drive cannot do it
	ExitFailed      = 7   // the drive holds data
	ExitUnproven    = 8   // unproven or unknown: treat the drive as holding data
	ExitExceptions  = 9   // done with exceptions, or some drives done and some refused
	ExitInterrupted = 10  // still running or interrupted, or it may be; can be resumed
	ExitInvalid     = 11  // certificate invalid
	ExitPolicy      = 12  // certificate authentic, but not what was asked for
	ExitOutcome     = 13  // certificate authentic, and it certifies something other than "sanitized"
	ExitSignal      = 130 // a signal, before anything began
)

// driveExit is the exit code of one drive of a run.
func driveExit(r agent.DriveResult) int {
	var certificate *agent.CertificateError
	if errors.As(r.Err, &certificate) {
		return ExitInternal
	}
	switch r.Outcome {
	case sanitize.Sanitized:
		if r.Err != nil || r.Certificate == "" {
			return ExitInternal
		}
		if len(r.Against) > 0 {
			return ExitUnproven
		}
		return ExitOK
	case sanitize.Exceptions:
		if len(r.Against) > 0 {
			return ExitUnproven
		}
		return ExitExceptions
	case sanitize.Failed:
		return ExitFailed
	case sanitize.Interrupted:
		if unreadable(r) {
			return ExitUnproven // it may have an end
		}
		return ExitInterrupted
	case sanitize.RefusedRun:
		return ExitRefused
	}
	return ExitUnproven
}

// RefusedExit is the exit code of a drive that was refused when it was planned.
func RefusedExit(r sanitize.Refused) int {
	switch {
	case r.Cannot:
		return ExitCannot
	case r.Reasons[0].Code == "permission":
		return ExitPermission
	}
	return ExitRefused
}

// Worst combines the codes of several drives: 1 > 8 > 7 > 10 > 9 > 6 > 5, and 9 when some are
// done and the others were refused.
func Worst(codes []int) int {
	has := map[int]bool{}
	for _, c := range codes {
		has[c] = true
	}
	for _, c := range []int{ExitInternal, ExitUnproven, ExitFailed, ExitInterrupted, ExitExceptions} {
		if has[c] {
			return c
		}
	}
	refused := []int{ExitCannot, ExitRefused, ExitPermission}
	for _, c := range refused {
		if has[c] && has[ExitOK] {
			return ExitExceptions
		}
	}
	for _, c := range refused {
		if has[c] {
			return c
		}
	}
	return ExitOK
}
