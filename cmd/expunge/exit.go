package main

import (
	"errors"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// The exit codes.
const (
	exitOK          = api.ExitOK
	exitInternal    = api.ExitInternal
	exitUsage       = api.ExitUsage
	exitNotFound    = api.ExitNotFound
	exitPermission  = api.ExitPermission
	exitRefused     = api.ExitRefused
	exitCannot      = api.ExitCannot
	exitFailed      = api.ExitFailed
	exitUnproven    = api.ExitUnproven
	exitExceptions  = api.ExitExceptions
	exitInterrupted = api.ExitInterrupted
	exitInvalid     = api.ExitInvalid
	exitPolicy      = api.ExitPolicy
	exitOutcome     = api.ExitOutcome
	exitSignal      = api.ExitSignal
)

// exitTable is what README and man page print.
const exitTable = `  0    all that was asked for is done and proven
  1    internal error, no room for state or files, or sanitized but no certificate could be made (certificate reissue)
  2    usage; nothing was selected (with a trace of goroutines on standard error: a fault of the program, and only "expunge jobs" tells what was done)
  3    drive, job or certificate not found, or the name is ambiguous
  4    permission, or a file system that is read-only
  5    refused by a safety rule, by policy, or for want of confirmation; nothing was touched
  6    the drive cannot do it
  7    failed: the drive holds data
  8    unproven or unknown: treat the drive as holding data
  9    done with exceptions, or some drives done and some refused
  10   still running or interrupted, or it may be, as "expunge jobs" tells; can be resumed
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
	system bool // the system refused it: what is told of it is made better when it is printed
}

func (p *problem) Error() string { return p.err.Error() }
func (p *problem) Unwrap() error { return p.err }

func usage(hint string, err error) *problem {
	return &problem{code: exitUsage, name: "usage", err: err, hint: hint}
}

// problemOf gives any error its exit code. What nobody thought of is internal.
func problemOf(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errStopped):
		return (&course{may: anything, tells: jobsTell}).end() // whoever knows the command's course knows better
	case errors.Is(err, virtual.ErrNotRack):
		return &problem{code: exitUsage, name: "not_a_rack", err: err, hint: "make one with: expunge rack create DIR"}
	}
	told := api.ProblemOf(err)
	return &problem{code: told.ExitStatus, name: told.Code, err: err, hint: told.Hint, system: told.Code == "permission" || told.Code == "no_room" || told.Code == "read_only"}
}
