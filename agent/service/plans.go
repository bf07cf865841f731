package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/internal/strict"
	"github.com/expunge-dev/expunge/sanitize"
)

// plansDir has a directory for each plan that was made for somebody: plan.json and approval-N.json.
const plansDir = "plans"

// plansKept is how long plans are kept after they have expired. What was started has its plan with the job.
const plansKept = 7 * 24 * time.Hour

// maxPlans is how many plans are kept at once: more is somebody's mistake.
const maxPlans = 10_000

// Plan makes a plan for whoever asks, whose name is in it.
func (s *Service) Plan(ctx context.Context, r api.PlanRequest) (api.Plan, error) {
	const action = "plans.make"
	if err := s.may(ctx, api.Operate, action, strings.Join(r.Drives, " ")); err != nil {
		return api.Plan{}, err
	}
	x := Action{Action: action, Object: bounded(strings.Join(r.Drives, " "))}
	p, err := s.plan(ctx, r)
	if err != nil {
		return api.Plan{}, s.refuse(ctx, x, err)
	}
	x.Object, x.PlanDigest = p.ID, p.Digest()
	if err := s.allow(ctx, x); err != nil {
		return api.Plan{}, err
	}
	if !s.Resident {
		return s.Hold(p)
	}
	data, err := sanitize.MarshalPlan(p)
	dir := s.path(filepath.Join(plansDir, p.ID))
	if err == nil {
		err = durable.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = durable.CreateFile(filepath.Join(dir, "plan.json"), data, 0o600)
	}
	if err != nil {
		return api.Plan{}, s.refuse(ctx, x, fmt.Errorf("keep plan: %w", err))
	}
	return s.told(p, nil), nil
}

func (s *Service) plan(ctx context.Context, r api.PlanRequest) (sanitize.Plan, error) {
	if len(r.Drives) == 0 {
		return sanitize.Plan{}, api.NewProblem(api.ExitUsage, "empty", "name the drives by serial number, WWN, id or node: there is no \"all\"", errors.New("no drive is named"))
	}
	entries, err := os.ReadDir(s.path(plansDir))
	switch {
	case !s.Resident: // it keeps none
	case err != nil:
		return sanitize.Plan{}, fmt.Errorf("plans: %w", err)
	case len(entries) >= maxPlans:
		if err := s.prunePlans(); err != nil {
			return sanitize.Plan{}, err
		}
		return sanitize.Plan{}, api.Refusef("too_many_plans", "those that are not started go away a week after they expire", "%d plans are kept, and no more are", len(entries))
	}
	if s.Policy != nil {
		if asked := r.Policy != "" || r.PolicyFile != nil; asked && !samePolicy(r.Request, *s.Policy) {
			return sanitize.Plan{}, api.Refusef("policy_forced", "leave the policy out", "this agent plans under policy %s alone", s.Policy.Name)
		}
		r.Policy, r.PolicyFile = s.Policy.Name, s.Policy.Ref().File
	}
	if r.Requester != "" || len(r.Groups) > 0 {
		return sanitize.Plan{}, &sanitize.RequestError{Field: "requested_by", Why: "the agent says who asks, not the request"}
	}
	if r.AcceptVolatile {
		return sanitize.Plan{}, &sanitize.RequestError{Field: "accept_volatile", Why: "the agent's configuration accepts that, not a request"}
	}
	r.AcceptVolatile = s.volatile() && s.Sink == "" && s.AcceptVolatile
	who := api.PrincipalOf(ctx)
	r.Requester, r.Groups = who.Name, who.Groups
	return s.Agent.Plan(ctx, r.Drives, r.Request)
}

// samePolicy says whether a request names the policy that is in force.
func samePolicy(r sanitize.Request, p sanitize.Policy) bool {
	asked, err := sanitize.PolicyFor(r)
	return err == nil && asked.Digest() == p.Digest()
}

// Planned returns a plan that was made before.
func (s *Service) Planned(ctx context.Context, id string) (api.Plan, error) {
	if err := s.may(ctx, api.Read, "plans.read", id); err != nil {
		return api.Plan{}, err
	}
	p, approvals, err := s.keptPlan(id)
	if err != nil {
		return api.Plan{}, err
	}
	return s.told(p, approvals), nil
}

// planID is what the id of a plan looks like.
var planID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// keptPlan reads a plan and its approvals.
func (s *Service) keptPlan(id string) (sanitize.Plan, []keptApproval, error) {
	missing := api.NewProblem(api.ExitNotFound, "not_found", "make one: expunge plan (POST /v1/plans)", fmt.Errorf("%q: no such plan", bounded(id)))
	if !planID.MatchString(id) {
		return sanitize.Plan{}, nil, missing
	}
	if !s.Resident {
		p, held := s.holds(id)
		if !held {
			return p, nil, missing
		}
		return p, nil, nil
	}
	dir := s.path(filepath.Join(plansDir, id))
	data, err := os.ReadFile(filepath.Join(dir, "plan.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return sanitize.Plan{}, nil, missing
	}
	if err != nil {
		return sanitize.Plan{}, nil, fmt.Errorf("read plan %s: %w", id, err)
	}
	p, err := sanitize.ParsePlan(data)
	if err == nil && p.ID != id {
		err = sanitize.ErrPlanEdited
	}
	if err != nil {
		return sanitize.Plan{}, nil, fmt.Errorf("plan %s: %w", id, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return sanitize.Plan{}, nil, fmt.Errorf("read approvals: %w", err)
	}
	var approvals []keptApproval
	for _, e := range entries {
		f := filepath.Join(dir, e.Name())
		if !strings.HasPrefix(e.Name(), "approval-") {
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			return sanitize.Plan{}, nil, fmt.Errorf("read approval: %w", err)
		}
		var a keptApproval
		if err := strict.Decode(data, &a); err != nil {
			return sanitize.Plan{}, nil, fmt.Errorf("approval %s is damaged: %w", filepath.Base(f), err)
		}
		approvals = append(approvals, a)
	}
	return p, approvals, nil
}

// told is a plan for those who ask.
func (s *Service) told(p sanitize.Plan, kept []keptApproval) api.Plan {
	told := api.Plan{ID: p.ID, Digest: p.Digest(), Plan: p, ApprovalsNeeded: s.needed(p), Approvals: []api.Approved{}}
	for _, v := range s.valid(p, kept) {
		told.Approvals = append(told.Approvals, api.Approved{Approver: v.approver.Name, KeyID: v.approver.Key.ID, Expires: v.approval.Expires, By: v.kept.By})
	}
	if s.Agent.WasRun(p) {
		told.Job = agent.JobOf(p)
	}
	return told
}

// prunePlans takes plans away that can be started no more.
func (s *Service) prunePlans() error {
	entries, err := os.ReadDir(s.path(plansDir))
	if err != nil {
		return fmt.Errorf("plans: %w", err)
	}
	for _, e := range entries {
		p, _, err := s.keptPlan(e.Name())
		if err != nil {
			info, statErr := e.Info()
			if statErr != nil || time.Since(info.ModTime()) < plansKept {
				continue
			}
		}
		if err == nil && s.clock().Before(p.Expires.Add(plansKept)) {
			continue
		}
		if err := os.RemoveAll(s.path(filepath.Join(plansDir, e.Name()))); err != nil {
			return fmt.Errorf("take plan %s away: %w", e.Name(), err)
		}
	}
	return nil
}

// keptApproval is an approval as it is kept: who handed it in, and the envelope as it came.
type keptApproval struct {
	By       string          `json:"by"`
	At       time.Time       `json:"at"`
	Envelope attest.Envelope `json:"envelope"`
}

func (k keptApproval) encode() ([]byte, error) {
	data, err := json.MarshalIndent(k, "", "  ")
	return append(data, '\n'), err
}
