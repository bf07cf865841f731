package main

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// The exit codes. They are part of the interface: a code is never given a second meaning.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitPermission  = 4
	exitRefused     = 5
	exitCannot      = 6
	exitFailed      = 7
	exitUnproven    = 8
	exitExceptions  = 9
	exitInterrupted = 10
	exitInvalid     = 11
	exitPolicy      = 12
	exitOutcome     = 13
	exitSignal      = 130
)

// exitTable is what README and man page print.
const exitTable = `  0    all that was asked for is done and proven
  1    internal error, or sanitized but no certificate could be made (certificate reissue)
  2    usage; nothing was selected
  3    drive, job or certificate not found, or the name is ambiguous
  4    permission
  5    refused by a safety rule, by policy, or for want of confirmation; nothing was touched
  6    the drive cannot do it
  7    failed: the drive holds data
  8    unproven or unknown: treat the drive as holding data
  9    done with exceptions, or some drives done and some refused
  10   still running or interrupted; can be resumed
  11   certificate invalid, or a log that contradicts itself
  12   certificate or log authentic, but not what was asked for (unknown key, simulation, list of drives, something due is missing)
  13   certificate authentic, and it certifies something other than "sanitized"
  130  a signal, before anything began, or before every certificate was judged
`

// problem is an error with its exit code and what to do about it.
type problem struct {
	code   int
	name   string // stable, for --json
	err    error
	hint   string
	silent bool // what was printed says it already
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

func usage(hint string, err error) *problem {
	return &problem{code: exitUsage, name: "usage", err: err, hint: hint}
}

// problemOf gives any error its exit code. What nobody thought of is internal.
func problemOf(err error) *problem {
	var (
		p         *problem
		request   *sanitize.RequestError
		selecting *devices.SelectError
		owner     *agent.OwnerError
		key       *attest.KeyFileError
		log       *attest.LogError
		format    *sanitize.PlanFormatError
		refused   *agent.RefusedError
		inUse     *devices.InUseError
		corrupt   *journal.CorruptError
		pin       *agent.PINError
		record    *attest.RecordError
		light     *devices.LightError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errStopped):
		return &problem{code: exitSignal, name: "signal", err: errors.New("stopped by a signal; nothing was begun")}
	case errors.As(err, &request):
		return &problem{code: exitUsage, name: "usage", err: err, hint: "expunge plan --help lists what is possible"}
	case errors.As(err, &selecting):
		return &problem{code: selectCode(selecting), name: selecting.Reason.Code, err: err, hint: selecting.Reason.Hint}
	case errors.As(err, &owner):
		return &problem{code: exitUsage, name: "foreign_state", err: err, hint: "give each host and each rack a --state of its own"}
	case errors.As(err, &key):
		return &problem{code: exitPermission, name: "key_file", err: err, hint: key.Hint}
	case errors.As(err, &log):
		return &problem{code: exitInternal, name: "log", err: err, hint: "keep the directory as it is; a new --state begins a new log"}
	case errors.As(err, &format):
		return &problem{code: exitUsage, name: "plan_format", err: err, hint: "make one with: expunge plan -o FILE"}
	case errors.As(err, &pin):
		return &problem{code: exitRefused, name: "pin_missing", err: err, hint: "--pin-file FILE gives it; a PSID is printed on the drive's label"}
	case errors.As(err, &record):
		return &problem{code: exitRefused, name: record.Code, err: err, hint: record.Hint}
	case errors.As(err, &refused), errors.As(err, &inUse):
		return &problem{code: exitRefused, name: "refused", err: err}
	case errors.As(err, &corrupt):
		return &problem{code: exitUnproven, name: "journal", err: err, hint: "keep the file; sanitize the drive in a new job"}
	case errors.Is(err, sanitize.ErrPlanEdited), errors.Is(err, sanitize.ErrPlanExpired), errors.Is(err, sanitize.ErrPlanForeign),
		errors.Is(err, sanitize.ErrPlanChanged), errors.Is(err, agent.ErrJobBusy):
		return &problem{code: exitRefused, name: "refused", err: err}
	case errors.Is(err, devices.ErrNoEnclosure):
		return &problem{code: exitCannot, name: "no_enclosure", err: err, hint: "find it by the serial number on its label; slots are those of enclosures with SES (kernel module ses) and of PCI"}
	case errors.Is(err, devices.ErrNoLight):
		return &problem{code: exitCannot, name: "no_light", err: err, hint: "find it by its slot: expunge show"}
	case errors.As(err, &light) && !errors.Is(err, fs.ErrPermission):
		return &problem{code: exitCannot, name: "light", err: err, hint: "whether it is lit is not known: look, and find the drive by its slot and the serial number on its label"}
	case errors.Is(err, devices.ErrWrongPassword):
		return &problem{code: exitCannot, name: "wrong_password", err: err, hint: "after five wrong ones a drive takes none until its power is cycled; --master for its master password"}
	case errors.Is(err, agent.ErrNoJob):
		return &problem{code: exitNotFound, name: "not_found", err: err, hint: "expunge jobs lists them"}
	case errors.Is(err, virtual.ErrNotRack):
		return &problem{code: exitUsage, name: "not_a_rack", err: err, hint: "make one with: expunge rack create DIR"}
	case errors.Is(err, agent.ErrNoRoom), errors.Is(err, syscall.ENOSPC):
		return &problem{code: exitInternal, name: "no_room", err: err, hint: "make room there, or choose another --state"}
	case errors.Is(err, syscall.EROFS):
		return &problem{code: exitPermission, name: "read_only", err: err, hint: "the state must be writable: choose another --state"}
	case errors.Is(err, fs.ErrPermission):
		return &problem{code: exitPermission, name: "permission", err: err, hint: "run as root, or choose another --state"}
	case errors.Is(err, devices.ErrNotFound), errors.Is(err, devices.ErrAmbiguous):
		return &problem{code: exitNotFound, name: "not_found", err: err, hint: "expunge list shows all drives"}
	}
	return &problem{code: exitInternal, name: "internal", err: err}
}

func selectCode(e *devices.SelectError) int {
	switch e.Reason.Code {
	case "empty", "duplicate":
		return exitUsage
	case "partition", "file", "directory":
		return exitRefused
	}
	return exitNotFound
}

// driveCode is the exit code of one drive of a run.
func driveCode(r agent.DriveResult) int {
	var certificate *agent.CertificateError
	if errors.As(r.Err, &certificate) {
		return exitInternal
	}
	switch r.Outcome {
	case sanitize.Sanitized:
		if r.Err != nil || r.Certificate == "" {
			return exitInternal
		}
		return exitOK
	case sanitize.Exceptions:
		return exitExceptions
	case sanitize.Failed:
		return exitFailed
	case sanitize.Interrupted:
		return exitInterrupted
	case sanitize.RefusedRun:
		return exitRefused
	}
	return exitUnproven
}

// refusedCode is the exit code of a drive that was refused when it was planned.
func refusedCode(r sanitize.Refused) int {
	switch {
	case r.Cannot:
		return exitCannot
	case r.Reasons[0].Code == "permission":
		return exitPermission
	}
	return exitRefused
}

// worst combines the codes of several drives: 1 > 8 > 7 > 10 > 9 > 6 > 5, and 9 when some are
// done and the others were refused.
func worst(codes []int) int {
	has := map[int]bool{}
	for _, c := range codes {
		has[c] = true
	}
	for _, c := range []int{exitInternal, exitUnproven, exitFailed, exitInterrupted, exitExceptions} {
		if has[c] {
			return c
		}
	}
	refused := []int{exitCannot, exitRefused, exitPermission}
	for _, c := range refused {
		if has[c] && has[exitOK] {
			return exitExceptions
		}
	}
	for _, c := range refused {
		if has[c] {
			return c
		}
	}
	return exitOK
}
