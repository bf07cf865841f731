package service

import (
	"context"
	"fmt"
	"slices"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// again judges a job that is to be gone on with by the configuration in force now, not by the one that it was started under. What it
// returns is why no drive of it may be begun on any more; nil when nothing speaks against that. Drives that were begun on are
// brought to their end all the same: half an erase helps nobody. Caps are not judged again: the job has counted.
func (s *Service) again(job string, p sanitize.Plan) *sanitize.Refusal {
	if !s.Resident {
		return nil // who owns the state is bound by no configuration
	}
	if s.Policy != nil && p.Policy.SHA256 != s.Policy.Digest() {
		return &sanitize.Refusal{Reasons: []devices.Reason{{Code: "policy_changed", Hint: "make a new plan",
			Message: fmt.Sprintf("the plan was made under policy %s, which is not in force any more, and the drive was not touched before", p.Policy.Name)}}}
	}
	need := s.needed(p)
	if need == 0 {
		return nil
	}
	by, err := s.Agent.StartedBy(job)
	if have := s.stand(p, by); err != nil || have < need {
		return &sanitize.Refusal{Reasons: []devices.Reason{{Code: "approval_required", Hint: "make a new plan, and have it approved",
			Message: fmt.Sprintf("of the approvals that the job was started by, %d count by the approvers there are now, and it needs %d; the drive was not touched before", have, need)}}}
	}
	return nil
}

// stand is how many of the approvals that a job was started by are of people who are approvers now. Whether one has expired is not
// asked again: it let the job begin, and what the job has not begun on expires with its plan.
func (s *Service) stand(p sanitize.Plan, by agent.Started) int {
	names := map[string]bool{}
	for _, e := range by.Approvals {
		signer, err := e.Signer()
		at := slices.IndexFunc(s.Approvers, func(a Approver) bool { return err == nil && a.Key.ID == signer })
		if at < 0 {
			continue
		}
		who := s.Approvers[at]
		a, err := attest.OpenApproval(e, who.Key)
		own := !s.OwnApproval && (slices.Contains(who.Principals, p.Request.Requester) || slices.Contains(who.Principals, by.By))
		if err == nil && !own && a.PlanID == p.ID && a.PlanSHA256 == p.Digest() {
			names[who.Name] = true
		}
	}
	return len(names)
}

// barred writes down that drives of a job are not begun on any more.
func (s *Service) barred(job string, p sanitize.Plan, why *sanitize.Refusal) {
	j, err := s.Agent.Job(job)
	untouched := slices.ContainsFunc(j.Drives, func(r agent.DriveResult) bool {
		return !r.Finished() && !r.Unreadable() && (r.Evidence == nil || r.Evidence.IntentLeaf == "")
	})
	if err != nil || !untouched {
		return
	}
	itself := api.WithPrincipal(context.Background(), api.Principal{Name: "agent", Via: "local"})
	_ = s.refuse(itself, Action{Action: "jobs.begin_drives", Object: job, PlanDigest: p.Digest()}, api.Refusef(why.Reasons[0].Code, why.Reasons[0].Hint, "%w", why))
}
