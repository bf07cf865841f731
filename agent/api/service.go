package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"strings"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// Service is an agent, here or in another process. Whoever calls it is in the context (Principal); an
// error is, or can be made, a *Problem (ProblemOf).
type Service interface {
	// Drives lists every drive of the host, and what it has that cannot be reached.
	Drives(ctx context.Context) (Drives, error)
	// Plan says what would be done, and keeps that for whoever approves and starts it.
	Plan(ctx context.Context, r PlanRequest) (Plan, error)
	// Planned returns a plan that was made before.
	Planned(ctx context.Context, id string) (Plan, error)
	// Approve adds a signed approval to a plan.
	Approve(ctx context.Context, id string, approval attest.Envelope) (Plan, error)
	// Start begins a job. It returns when the job is on disk, or refused. A plan that was started before has one job: that
	// is returned.
	Start(ctx context.Context, r StartRequest) (Job, error)
	Jobs(ctx context.Context) ([]Job, error)
	Job(ctx context.Context, id string) (Job, error)
	// Cancel stops what the host does for a job, resumably, and says which drives go on by themselves.
	Cancel(ctx context.Context, id string) (Cancelled, error)
	// Resume goes on with a job that stopped.
	Resume(ctx context.Context, id string, r ResumeRequest) (Job, error)
	// Abandon gives a job up that nobody is at work on: its unfinished drives are certified as failed.
	Abandon(ctx context.Context, id string, r AbandonRequest) (Job, error)
	// Events replays what was recorded of a job after a cursor ("" is from the beginning), and follows it until the job has
	// ended or nobody is at work on it; the last event is of type job.
	Events(ctx context.Context, id, after string) iter.Seq2[Event, error]
	Certificates(ctx context.Context) ([]Certificate, error)
	// Certificate returns the bytes of a job's drive.
	Certificate(ctx context.Context, job string, drive devices.ID) ([]byte, error)
	// Halt stops the agent from beginning anything destructive, or lets it again.
	Halt(ctx context.Context, r HaltRequest) (Halt, error)
	// Halted is whether it is halted now.
	Halted(ctx context.Context) (Halt, error)
	Health(ctx context.Context) (Health, error)
	// Locate switches the light of a drive's slot.
	Locate(ctx context.Context, drive string, r LocateRequest) (Located, error)
}

// Drives is every drive of a host.
type Drives struct {
	Items      []devices.Drive      `json:"items"`
	NotReached []devices.NotReached `json:"not_reached"`
	AsOf       string               `json:"as_of"` // when the host was looked at, RFC 3339
}

// PlanRequest names drives, and says what is wanted of them. An empty list is an error, never "all".
type PlanRequest struct {
	Drives []string `json:"drives"`
	sanitize.Request
}

// Plan is a plan with what it needs to be started.
type Plan struct {
	ID     string `json:"id"`
	Digest string `json:"digest"` // hex SHA-256: what is confirmed and approved
	sanitize.Plan
	// ApprovalsNeeded is how many approvals must be there, by different people; Approvals those that are.
	ApprovalsNeeded int        `json:"approvals_needed"`
	Approvals       []Approved `json:"approvals"`
	Job             string     `json:"job,omitempty"` // that it was started as
}

// UnmarshalJSON reads what the agent said. The id stands once in it, and is the plan's, too.
func (p *Plan) UnmarshalJSON(data []byte) error {
	type plain Plan
	if err := json.Unmarshal(data, (*plain)(p)); err != nil {
		return err
	}
	p.Plan.ID = p.ID
	return nil
}

// Approved is an approval that was accepted.
type Approved struct {
	Approver string `json:"approver"` // the name that the configuration gives the key
	KeyID    string `json:"keyid"`
	Expires  string `json:"expires"` // RFC 3339
	By       string `json:"by"`      // who handed it in
}

// StartRequest starts a plan, by its digest and the number of its drives, so that nobody starts another than they saw.
type StartRequest struct {
	PlanID       string `json:"plan_id"`
	PlanDigest   string `json:"plan_digest"`
	ExpectDrives int    `json:"expect_drives"`
	// PINs gives by drive id the PINs and PSIDs that the plan wants. They are kept in no record.
	PINs map[devices.ID]string `json:"pins,omitempty"`
}

// ResumeRequest is what a job may need to go on.
type ResumeRequest struct {
	PINs map[devices.ID]string `json:"pins,omitempty"`
}

// AbandonRequest says why a job is given up, for the certificates.
type AbandonRequest struct {
	Why string `json:"why"`
}

// Cancelled says what cancelling a job stopped, and what it cannot stop.
type Cancelled struct {
	Job    string           `json:"job"`
	Drives []CancelledDrive `json:"drives"` // those that had not come to an end
}

// CancelledDrive is a drive of a cancelled job.
type CancelledDrive struct {
	ID     devices.ID `json:"id"`
	Serial string     `json:"serial"`
	// Stopped: the host works on it no more. Otherwise the drive carries out a command that nothing stops, of a sanitize not even a
	// loss of power, and goes on with it until it is done; or its job has not let go of it yet.
	Stopped bool   `json:"stopped"`
	Message string `json:"message"`
}

// HaltRequest halts the agent, or ends that.
type HaltRequest struct {
	Halted bool   `json:"halted"`
	Reason string `json:"reason,omitempty"`
}

// Halt is whether the agent is halted, by whom and since when.
type Halt struct {
	HaltRequest
	By    string `json:"by,omitempty"`
	Since string `json:"since,omitempty"` // RFC 3339
	// GoesOn lists the drives that carry out commands which nothing stops, or may do so still since their jobs stopped, and those whose
	// jobs have not stopped yet, here or in other processes.
	GoesOn []CancelledDrive `json:"goes_on"`
	// Problems is what could not be done of a halt that holds all the same: to record it, to keep it for the next start, to tell all that
	// goes on. There are none when all was done.
	Problems []devices.Reason `json:"problems,omitempty"`
}

// NotTold is the problem of a halt of which not all can be told that goes on.
func NotTold(err error) devices.Reason {
	return devices.Reason{Code: "not_told", Message: "not all that goes on can be told: " + err.Error(), Hint: "expunge list, and expunge jobs, tell more"}
}

// Incomplete is the problems of a halt that holds, as an error; nil when there are none.
func (h Halt) Incomplete() error {
	if len(h.Problems) == 0 {
		return nil
	}
	var words, hints []string
	for _, r := range h.Problems {
		words, hints = append(words, r.Message), append(hints, r.Hint)
	}
	return NewProblem(ExitInternal, h.Problems[0].Code, strings.Join(hints, "\n"), errors.New("the agent is halted; "+strings.Join(words, "; ")))
}

// Health is how the agent is.
type Health struct {
	Status    string `json:"status"` // ok, halted, degraded
	Version   string `json:"version"`
	Simulated bool   `json:"simulated"`
	Halted    bool   `json:"halted"`
	// SafeToPowerOff: nothing is at work, and the journals and certificates of all jobs are on stable media where the configuration
	// wants them. PowerOff says why not.
	SafeToPowerOff bool             `json:"safe_to_power_off"`
	PowerOff       []devices.Reason `json:"power_off"`
	Problems       []devices.Reason `json:"problems"` // of a degraded agent
	Running        int              `json:"running_jobs"`
	Drives         int              `json:"running_drives"`
	HotPlug        string           `json:"hot_plug"` // how changes of the host are noticed: "kernel" (its messages), "names" (looked at every few seconds), and why not the former
	Started        string           `json:"started"`  // RFC 3339
}

// Certificate is one that the agent keeps.
type Certificate struct {
	Job     string     `json:"job"`
	ID      devices.ID `json:"id"`
	Serial  string     `json:"serial"`
	Model   string     `json:"model"`
	Outcome string     `json:"outcome"` // from verified bytes, with ", validation_rejected", ", validation_escalated" or ", withdrawn" behind it where that is so; "invalid" when they are not
	File    string     `json:"file"`
	SHA256  string     `json:"sha256"`
	Issued  string     `json:"issued"` // RFC 3339
}

// LocateRequest is whether the light of a slot shall be on.
type LocateRequest struct {
	On bool `json:"on"`
}

// LocatedOf is a drive whose light was switched.
func LocatedOf(d devices.Drive, on bool) Located {
	return Located{d.ID, d.Serial, d.Model, d.Nodes, d.Enclosure, map[bool]string{true: "on", false: "off"}[on]}
}

// Located is the slot whose light was switched.
type Located struct {
	ID        devices.ID         `json:"id"`
	Serial    string             `json:"serial"`
	Model     string             `json:"model"`
	Nodes     []string           `json:"nodes"`
	Enclosure *devices.Enclosure `json:"enclosure,omitempty"` // the slot
	Light     string             `json:"light"`               // on, off
}
