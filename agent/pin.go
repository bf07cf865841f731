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

func (a *Agent) pinOf(d sanitize.DrivePlan, what string) (string, error) {
	if a.pin == nil {
		return "", &PINError{d, what, nil}
	}
	pin, err := a.pin(d)
	if err != nil || pin == "" {
		return "", &PINError{d, what, err}
	}
	return pin, nil
}

// keepPIN puts what was given into the job's secrets; what is there from an earlier attempt stays.
func (a *Agent) keepPIN(job string, d sanitize.DrivePlan) error {
	file := a.driveFile(job, d.ID, secretsFile)
	what, wanted := d.PINWanted()
	if !wanted {
		return nil
	}
	if has, err := sanitize.HasPIN(file, d); has || err != nil {
		return err
	}
	pin, err := a.pinOf(d, what)
	if err != nil {
		return err
	}
	return sanitize.KeepPIN(file, d, pin)
}
