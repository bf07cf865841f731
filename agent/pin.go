package agent

import (
	"fmt"

	"github.com/expunge-dev/expunge/sanitize"
)

// PINError: the PIN or PSID that a drive's plan wants was not given. Nothing was touched.
type PINError struct {
	Drive sanitize.DrivePlan
	What  string // "PSID"
	Err   error  // why not; may be nil
}

func (e *PINError) Error() string {
	why := ""
	if e.Err != nil {
		why = ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s %s: its %s is wanted and was not given%s", e.Drive.Model, e.Drive.Serial, e.What, why)
}

func (e *PINError) Unwrap() error { return e.Err }

// pinOf asks for the PIN of a drive's plan in a job.
func (a *Agent) pinOf(job string, d sanitize.DrivePlan) (string, error) {
	what, _ := d.PINWanted()
	if a.pin == nil {
		return "", &PINError{d, what, nil}
	}
	pin, err := a.pin(job, d)
	if err != nil || pin == "" {
		return "", &PINError{d, what, err}
	}
	return pin, nil
}
