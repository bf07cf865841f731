package tcg

import (
	"errors"
	"fmt"
)

// Status is a method's status code (Core 5.1.5).
type Status uint8

// The status codes that somebody acts on.
const (
	NotAuthorized       Status = 0x01
	SPBusy              Status = 0x03 // another session holds the security provider
	SPFailed            Status = 0x04
	SPDisabled          Status = 0x05
	SPFrozen            Status = 0x06
	NoSessionsAvailable Status = 0x07 // as many sessions are open as the TPer has
	InvalidParameter    Status = 0x0c
	TPerMalfunction     Status = 0x0f
	AuthorityLockedOut  Status = 0x12 // too many wrong PINs: until a power cycle
	Fail                Status = 0x3f
)

var statusNames = map[Status]string{
	NotAuthorized: "not authorized", SPBusy: "SP busy", SPFailed: "SP failed", SPDisabled: "SP disabled", SPFrozen: "SP frozen",
	NoSessionsAvailable: "no sessions available", 0x08: "uniqueness conflict", 0x09: "insufficient space", 0x0a: "insufficient rows",
	InvalidParameter: "invalid parameter", TPerMalfunction: "TPer malfunction", 0x10: "transaction failure", 0x11: "response overflow",
	AuthorityLockedOut: "authority locked out", Fail: "fail",
}

// StatusError is a method's status that is not success.
type StatusError struct {
	Op     string // the method, and on what
	Status Status
}

func (e *StatusError) Error() string {
	if name, ok := statusNames[e.Status]; ok {
		return fmt.Sprintf("%s: TCG status %02xh: %s", e.Op, uint8(e.Status), name)
	}
	return fmt.Sprintf("%s: TCG status %02xh", e.Op, uint8(e.Status))
}

// Refused says whether the TPer did not begin what was asked. Every other status leaves that open: a
// revert that ended in FAIL or a malfunction may have destroyed some of the keys.
func (e *StatusError) Refused() bool {
	switch e.Status {
	case NotAuthorized, SPBusy, SPDisabled, SPFrozen, NoSessionsAvailable, InvalidParameter, AuthorityLockedOut:
		return true
	}
	return false
}

// IsStatus says whether an error is a TPer's answer of that status.
func IsStatus(err error, s Status) bool {
	var e *StatusError
	return errors.As(err, &e) && e.Status == s
}

var (
	// ErrNoAnswer: the TPer has nothing to say: the answer is blank, or nothing is to come. What was
	// sent before may have been done.
	ErrNoAnswer = errors.New("no answer from the TPer")
	// ErrSessionAborted: the TPer closed the session by itself, or it is closed. What was sent before may
	// have been done.
	ErrSessionAborted = errors.New("the session is closed")
	// ErrTruncated: the answer says that it is longer than what came.
	ErrTruncated = errors.New("the answer is cut short")
)
