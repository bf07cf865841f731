package attest

import (
	"errors"
	"fmt"
	"time"
)

// ApprovalType is the predicate of an approval.
const ApprovalType = "https://github.com/expunge-dev/expunge/approval/v1"

// ApprovalLongest is how long an approval may hold: as long as a plan may be used.
const ApprovalLongest = 24 * time.Hour

// Approval is the predicate by which a person permits one plan to be carried out, signed by that person's own key. It is judged
// where the plan is started, and kept with the job.
type Approval struct {
	By         Person   `json:"by"`     // by the approver's own word; who it is, the key says
	Drives     int      `json:"drives"` // how many the plan has
	Expires    string   `json:"expires"`
	PlanID     string   `json:"plan_id"`
	PlanSHA256 string   `json:"plan_sha256"` // the plan's digest
	Reason     string   `json:"reason,omitempty"`
	Signers    []string `json:"signers"` // id of the approver's key
	Simulated  bool     `json:"simulated"`
	Time       Time     `json:"time"`
}

func (a Approval) check() error {
	signed, err := time.Parse(time.RFC3339, a.Time.Claimed)
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	until, err := time.Parse(time.RFC3339, a.Expires)
	if err != nil {
		return fmt.Errorf("expires: %w", err)
	}
	if err := a.By.check(); err != nil {
		return err
	}
	return checkRules([]rule{
		{len(a.Signers) == 1 && isHash(a.Signers[0]), "the signer is not named"},
		{isHash(a.PlanSHA256) && a.PlanID != "" && !tooLong(a.PlanID), "the plan is not named by id and digest"},
		{a.Drives > 0, "it approves of no drive"},
		{!tooLong(a.Reason), "a reason is too long"},
		{a.Time.Claimed == signed.UTC().Format(time.RFC3339) && a.Expires == until.UTC().Format(time.RFC3339), "a time is not UTC in seconds"},
		{until.After(signed) && until.Sub(signed) <= ApprovalLongest, "it holds longer than a plan may be used, or not at all"},
	})
}

func (a Approval) subjects() []Subject { return []Subject{{"plan/v1", Digest{a.PlanSHA256}}} }

// SignApproval signs an approval with the approver's key. Signers is filled in.
func SignApproval(a Approval, key *Key) (Envelope, error) {
	a.Signers = []string{key.ID}
	if err := a.check(); err != nil {
		return Envelope{}, fmt.Errorf("approval refused: %w", err)
	}
	payload, err := Canonical(Statement[Approval]{Type: StatementType, PredicateType: ApprovalType, Predicate: a, Subject: a.subjects()})
	if err != nil {
		return Envelope{}, fmt.Errorf("approval: %w", err)
	}
	return seal(payload, key)
}

// Signer is the id of the key that the envelope says it is signed with: a hint by which to find the key, and proof of nothing.
func (e Envelope) Signer() (string, error) { return e.signer() }

// OpenApproval checks an approval that a key signed. Whether it fits a plan, and holds now, is for the caller to judge.
func OpenApproval(e Envelope, key Public) (Approval, error) {
	a, err := openSigned[Approval](e, key, ApprovalType)
	if err == nil && a.Signers[0] != key.ID {
		err = errors.New("the signature is not the one that it names")
	}
	if err != nil {
		return Approval{}, fmt.Errorf("approval: %w", err)
	}
	return a, nil
}
