package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// Problem is an error as the interface tells it (RFC 9457): Code is stable, the words are not.
type Problem struct {
	Type       string           `json:"type"` // a URI that names the code
	Title      string           `json:"title"`
	Status     int              `json:"status"` // of HTTP
	Detail     string           `json:"detail"`
	Code       string           `json:"code"`
	ExitStatus int              `json:"exit_status"`
	Hint       string           `json:"hint,omitempty"`
	Reasons    []devices.Reason `json:"reasons,omitempty"` // why drives were refused
	Errors     []FieldProblem   `json:"errors,omitempty"`  // what is wrong with a request, and where
	err        error
}

// FieldProblem is what is wrong with one member of a request.
type FieldProblem struct {
	Location string `json:"location"` // "body.drives[0]"
	Message  string `json:"message"`
}

func (p *Problem) Error() string { return p.Detail }
func (p *Problem) Unwrap() error { return p.err }

// problemURI is what the type of a problem begins with. Nothing need be there: it is a name.
const problemURI = "https://github.com/expunge-dev/expunge/problems/"

// HintLog says what to do about a log that is gone, shorter, or another.
const HintLog = "delete nothing: copy the state elsewhere as it is, then put the whole log directory back as it was last, from a sink or a backup, and look with: expunge audit. " +
	"Where there is no such copy, keep this state (its certificates stay valid) and go on with a new --state, which begins a new log"

// HintHalted says what ends a halt.
const HintHalted = "somebody who may approve ends it, at the running agent: expunge halt --end (PUT /v1/halt {\"halted\": false})"

// HintStopped says what becomes of a job that a halt stopped; job is "" where nobody knows which.
func HintStopped(held *agent.HaltedError, job string) string {
	watch, resume := "expunge watch "+job, "expunge jobs resume "+job
	if job == "" {
		watch, resume = "expunge watch", "expunge jobs lists what can be resumed"
	}
	if held.Over {
		return "an agent goes on with it: " + watch + "; without an agent: " + resume
	}
	return "an agent goes on with it when somebody ends the halt: expunge halt --end; without an agent, then: " + resume
}

// NewProblem makes a problem of one error.
func NewProblem(exit int, code, hint string, err error) *Problem {
	status := statusOf(exit, code)
	return &Problem{Type: problemURI + code, Title: http.StatusText(status), Status: status, Detail: err.Error(), Code: code, ExitStatus: exit, Hint: hint, err: err}
}

// Refusef is a refusal by the agent itself: nothing was touched.
func Refusef(code, hint, format string, args ...any) *Problem {
	return NewProblem(ExitRefused, code, hint, fmt.Errorf(format, args...))
}

// CodeNotBegun is the code of an act that was not begun because its answer could not be kept, and of nothing else: whoever is told so knows
// that nothing was done.
const CodeNotBegun = "not_begun"

// CodeAudit is the code of an act that was not begun because it could not be recorded, and of nothing else; CodeNotRecorded that of one
// that was done all the same: stopping something.
const (
	CodeAudit       = "audit"
	CodeNotRecorded = "not_recorded"
)

// statuses are those of codes that mean something to HTTP.
var statuses = map[string]int{
	"unauthorized": http.StatusUnauthorized, "forbidden": http.StatusForbidden, "key_missing": http.StatusBadRequest, "key_reused": http.StatusConflict,
	"busy": http.StatusConflict, "too_many_requests": http.StatusTooManyRequests, "too_many_keys": http.StatusTooManyRequests, "halted": http.StatusServiceUnavailable, "stopping": http.StatusServiceUnavailable,
	"method_not_allowed": http.StatusMethodNotAllowed, "too_large": http.StatusRequestEntityTooLarge, "media_type": http.StatusUnsupportedMediaType, "no_room": http.StatusInsufficientStorage,
	CodeNotBegun: http.StatusInsufficientStorage, "too_slow": http.StatusRequestTimeout, "not_acceptable": http.StatusNotAcceptable, "malformed": http.StatusBadRequest,
	"headers_too_large": http.StatusRequestHeaderFieldsTooLarge,
}

func statusOf(exit int, code string) int {
	if s := statuses[code]; s != 0 {
		return s
	}
	switch exit {
	case ExitUsage:
		return http.StatusUnprocessableEntity
	case ExitNotFound:
		return http.StatusNotFound
	case ExitPermission:
		return http.StatusForbidden
	case ExitRefused, ExitCannot, ExitInterrupted, ExitFailed, ExitUnproven:
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// ProblemOf gives any error its code and exit status. What nobody thought of is internal.
func ProblemOf(err error) *Problem {
	var (
		p         *Problem
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
		approval  *agent.ApprovalError
		light     *devices.LightError
		halted    *agent.HaltedError

		unreadable *agent.UnreadableJobError
		unread     *agent.UnreadableJournalError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &unreadable), errors.As(err, &unread):
		return NewProblem(ExitRefused, ReasonUnreadableJob, hintUnreadable, err)
	case errors.As(err, &request):
		return NewProblem(ExitUsage, "usage", "expunge plan --help lists what is possible", err)
	case errors.As(err, &selecting):
		return NewProblem(selectCode(selecting), selecting.Reason.Code, selecting.Reason.Hint, err)
	case errors.As(err, &owner):
		return NewProblem(ExitUsage, "foreign_state", "give each host and each rack a --state of its own", err)
	case errors.As(err, &key):
		return NewProblem(ExitPermission, "key_file", key.Hint, err)
	case errors.As(err, &log):
		return NewProblem(ExitInternal, "log", HintLog, err)
	case errors.As(err, &format):
		return NewProblem(ExitUsage, "plan_format", "make one with: expunge plan -o FILE", err)
	case errors.As(err, &pin):
		return NewProblem(ExitRefused, "pin_missing", "--pin-file FILE gives it; a PSID is printed on the drive's label", err)
	case errors.As(err, &record):
		return NewProblem(ExitRefused, record.Code, record.Hint, err)
	case errors.As(err, &halted) && halted.Over: // nothing keeps anybody from beginning any more: it stopped what ran
		return NewProblem(ExitInterrupted, "halted", HintStopped(halted, ""), err)
	case errors.As(err, &halted):
		return NewProblem(ExitRefused, "halted", HintHalted, err)
	case errors.As(err, &approval):
		return NewProblem(ExitRefused, "approval_required", "a running agent (expunge serve) takes approvals and runs it then; nothing was touched", err)
	case errors.As(err, &refused):
		p := NewProblem(ExitRefused, "refused", "make a new plan when what is told of each drive is put right", err)
		for _, d := range refused.Drives {
			for _, r := range d.Reasons {
				r.Message = d.Drive.Model + " " + d.Drive.Serial + ": " + r.Message
				p.Reasons = append(p.Reasons, r)
			}
		}
		return p
	case errors.As(err, &inUse):
		return NewProblem(ExitRefused, "refused", "", err)
	case errors.As(err, &corrupt):
		return NewProblem(ExitUnproven, "journal", "keep the file; sanitize the drive in a new job", err)
	case errors.Is(err, sanitize.ErrPlanEdited), errors.Is(err, sanitize.ErrPlanExpired), errors.Is(err, sanitize.ErrPlanForeign), errors.Is(err, sanitize.ErrPlanEmpty),
		errors.Is(err, sanitize.ErrPlanChanged):
		return NewProblem(ExitRefused, "refused", "", err)
	case errors.Is(err, agent.ErrJobBusy):
		return NewProblem(ExitRefused, "busy", "ask again when it is not; expunge jobs tells", err)
	case errors.Is(err, devices.ErrChanged):
		return NewProblem(ExitNotFound, "changed", "list again; after locate, look which lights are on", err)
	case errors.Is(err, devices.ErrNoEnclosure):
		return NewProblem(ExitCannot, "no_enclosure", "find it by the serial number on its label; slots are those of enclosures with SES (kernel module ses) and of PCI", err)
	case errors.Is(err, devices.ErrNoLight):
		return NewProblem(ExitCannot, "no_light", "find it by its slot: expunge show", err)
	case errors.As(err, &light) && !errors.Is(err, fs.ErrPermission):
		return NewProblem(ExitCannot, "light", "whether it is lit is not known: look, and find the drive by its slot and the serial number on its label", err)
	case errors.Is(err, devices.ErrWrongPassword):
		return NewProblem(ExitCannot, "wrong_password", "after five wrong ones a drive takes none until its power is cycled; --master for its master password", err)
	case errors.Is(err, agent.ErrNoJob):
		return NewProblem(ExitNotFound, "not_found", "expunge jobs lists them", err)
	case errors.Is(err, agent.ErrNoRoom), errors.Is(err, syscall.ENOSPC):
		return NewProblem(ExitInternal, "no_room", "make room there, or choose another --state", err)
	case errors.Is(err, syscall.EROFS):
		return NewProblem(ExitPermission, "read_only", "the state must be writable: choose another --state", err)
	case errors.Is(err, fs.ErrPermission):
		return NewProblem(ExitPermission, "permission", "run as root, or choose another --state", err)
	case errors.Is(err, devices.ErrNotFound), errors.Is(err, devices.ErrAmbiguous):
		return NewProblem(ExitNotFound, "not_found", "expunge list shows all drives", err)
	}
	return NewProblem(ExitInternal, "internal", "", err)
}

func selectCode(e *devices.SelectError) int {
	switch e.Reason.Code {
	case "empty", "duplicate":
		return ExitUsage
	case "partition", "file", "directory":
		return ExitRefused
	}
	return ExitNotFound
}
