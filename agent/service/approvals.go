package service

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// Approver is somebody whose approvals count.
type Approver struct {
	Name string
	Key  attest.Public
	// Principals are the names by which the approver asks this agent for things: what these asked for, the approver cannot approve.
	Principals []string
}

// maxApprovals is how many approvals a plan can have.
const maxApprovals = 16

func (s *Service) checkApprovers() error {
	names, keys := map[string]bool{}, map[string]bool{}
	for _, a := range s.Approvers {
		switch {
		case a.Name == "" || a.Key.ID == "":
			return errors.New("an approver has no name or no key")
		case names[a.Name] || keys[a.Key.ID]:
			return fmt.Errorf("approver %s: its name or its key is another's, too", a.Name)
		}
		names[a.Name], keys[a.Key.ID] = true, true
	}
	if s.Required > len(s.Approvers) {
		return fmt.Errorf("%d approvals are required, and there are %d approvers", s.Required, len(s.Approvers))
	}
	return nil
}

// needed is how many approvals a plan must have.
func (s *Service) needed(p sanitize.Plan) int { return max(s.Required, p.ApprovalsNeeded()) }

// validApproval is one that counts.
type validApproval struct {
	approver Approver
	approval attest.Approval
	kept     keptApproval
}

// valid are the approvals that count for a plan now, one of each approver.
func (s *Service) valid(p sanitize.Plan, kept []keptApproval) []validApproval {
	var list []validApproval
	for _, k := range kept {
		approver, a, err := s.judgeApproval(p, k.Envelope)
		if err == nil && !slices.ContainsFunc(list, func(v validApproval) bool { return v.approver.Name == approver.Name }) {
			list = append(list, validApproval{approver, a, k})
		}
	}
	return list
}

// judgeApproval says whose approval it is, and whether it counts for a plan now.
func (s *Service) judgeApproval(p sanitize.Plan, e attest.Envelope) (Approver, attest.Approval, error) {
	hint := "sign it with the key of an approver that the agent's configuration names: expunge approve --help"
	signer, err := e.Signer()
	if err != nil {
		return Approver{}, attest.Approval{}, api.Refusef("approval_invalid", hint, "approval: %w", err)
	}
	at := slices.IndexFunc(s.Approvers, func(a Approver) bool { return a.Key.ID == signer })
	if at < 0 {
		return Approver{}, attest.Approval{}, api.Refusef("approval_unknown", hint, "it is signed by a key that is no approver's")
	}
	who := s.Approvers[at]
	a, err := attest.OpenApproval(e, who.Key)
	if err != nil {
		return who, a, api.NewProblem(api.ExitRefused, "approval_invalid", hint, err)
	}
	until, errUntil := time.Parse(time.RFC3339, a.Expires)
	from, errFrom := time.Parse(time.RFC3339, a.Time.Claimed)
	now := s.clock()
	switch {
	case errors.Join(errUntil, errFrom) != nil:
		return who, a, api.NewProblem(api.ExitRefused, "approval_invalid", hint, errors.Join(errUntil, errFrom))
	case a.PlanID != p.ID || a.PlanSHA256 != p.Digest() || a.Drives != len(p.Drives) || a.Simulated != p.Simulated:
		return who, a, api.Refusef("approval_foreign", "approve this plan by its digest "+p.Digest(), "it approves of another plan")
	case now.After(until):
		return who, a, api.Refusef("approval_expired", "sign another", "it expired at %s", a.Expires)
	case now.Add(time.Hour).Before(from):
		// A clock that ran backwards must not make an approval hold for ever.
		return who, a, api.Refusef("approval_expired", "set the clocks right, and sign another", "it was signed at %s, which is not yet", a.Time.Claimed)
	case !s.OwnApproval && slices.Contains(who.Principals, p.Request.Requester):
		return who, a, api.Refusef("approval_own", "somebody else has to approve it", "%s asked for this plan, and cannot approve it", who.Name)
	}
	return who, a, nil
}

// Approve keeps an approval with its plan, when it counts.
func (s *Service) Approve(ctx context.Context, id string, e attest.Envelope) (api.Plan, error) {
	const action = "plans.approve"
	if err := s.may(ctx, api.Approve, action, id); err != nil {
		return api.Plan{}, err
	}
	x := Action{Action: action, Object: bounded(id)}
	s.starting.Lock() // what a job was started by does not change while it starts
	defer s.starting.Unlock()
	p, kept, err := s.keptPlan(id)
	if err != nil {
		return api.Plan{}, s.refuse(ctx, x, err)
	}
	x.PlanDigest = p.Digest()
	who, _, err := s.judgeApproval(p, e)
	if err == nil {
		err = p.Usable(p.Host, p.Simulated, s.clock())
	}
	if err == nil && len(kept) >= maxApprovals {
		err = api.Refusef("too_many", "make another plan", "the plan has %d approvals, and takes no more", len(kept))
	}
	if err != nil {
		return api.Plan{}, s.refuse(ctx, x, err)
	}
	for _, v := range s.valid(p, kept) {
		if v.approver.Name == who.Name {
			return s.told(p, kept), nil // approved already
		}
	}
	x.Detail = "approved by " + who.Name
	if err := s.allow(ctx, x); err != nil {
		return api.Plan{}, err
	}
	k := keptApproval{By: api.PrincipalOf(ctx).Name, At: s.clock(), Envelope: e}
	data, err := k.encode()
	if err == nil {
		err = durable.CreateFile(s.path(filepath.Join(plansDir, id, fmt.Sprintf("approval-%02d.json", len(kept)))), data, 0o600)
	}
	if err != nil {
		return api.Plan{}, s.refuse(ctx, x, fmt.Errorf("keep approval: %w", err))
	}
	return s.told(p, append(kept, k)), nil
}

// approved are the approvals by which a plan may be started by somebody now.
func (s *Service) approved(p sanitize.Plan, kept []keptApproval, starter string) ([]attest.Envelope, error) {
	need := s.needed(p)
	var list []attest.Envelope
	for _, v := range s.valid(p, kept) {
		if s.OwnApproval || !slices.Contains(v.approver.Principals, starter) {
			list = append(list, v.kept.Envelope)
		}
	}
	if len(list) < need {
		return nil, api.Refusef("approval_required", "an approver signs: expunge approve "+p.ID, "the plan needs %d approvals, and has %d", need, len(list))
	}
	return list, nil
}
