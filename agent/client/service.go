package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
)

// Drives implements api.Service.
func (c *Client) Drives(ctx context.Context) (api.Drives, error) {
	return get[api.Drives](ctx, c, "/v1/drives")
}

// Plan implements api.Service.
func (c *Client) Plan(ctx context.Context, r api.PlanRequest) (api.Plan, error) {
	return c.plan(act[api.Plan](ctx, c, http.MethodPost, "/v1/plans", r, http.StatusCreated))
}

// Planned implements api.Service.
func (c *Client) Planned(ctx context.Context, id string) (api.Plan, error) {
	return c.plan(get[api.Plan](ctx, c, at("plans", id)))
}

// Approve implements api.Service.
func (c *Client) Approve(ctx context.Context, id string, approval attest.Envelope) (api.Plan, error) {
	return c.plan(act[api.Plan](ctx, c, http.MethodPost, at("plans", id)+"/approvals", approval, http.StatusOK))
}

// plan refuses what cannot be started. The plan within has the id that its digest is made with: JSON says it once.
func (c *Client) plan(p api.Plan, err error) (api.Plan, error) {
	if err == nil && (p.ID == "" || p.Digest == "") {
		err = c.garbled(errors.New("a plan without an id or a digest"))
	}
	p.Plan.ID = p.ID
	return p, err
}

// Start implements api.Service.
func (c *Client) Start(ctx context.Context, r api.StartRequest) (api.Job, error) {
	return c.job(act[api.Job](ctx, c, http.MethodPost, "/v1/jobs", r, http.StatusAccepted))
}

// Jobs implements api.Service.
func (c *Client) Jobs(ctx context.Context) ([]api.Job, error) {
	list, err := get[struct{ Items []api.Job }](ctx, c, "/v1/jobs")
	if err == nil && list.Items == nil {
		err = c.garbled(errors.New("a list without items"))
	}
	return list.Items, err
}

// Job implements api.Service.
func (c *Client) Job(ctx context.Context, id string) (api.Job, error) {
	return c.job(get[api.Job](ctx, c, at("jobs", id)))
}

// job refuses what says neither which job nor how it stands: its exit status could be taken for success.
func (c *Client) job(j api.Job, err error) (api.Job, error) {
	if err == nil && (j.ID == "" || j.State == "") {
		err = c.garbled(errors.New("a job without an id or a state"))
	}
	return j, err
}

// Cancel implements api.Service.
func (c *Client) Cancel(ctx context.Context, id string) (api.Cancelled, error) {
	return act[api.Cancelled](ctx, c, http.MethodPost, at("jobs", id)+"/cancel", nil, http.StatusOK)
}

// Resume implements api.Service.
func (c *Client) Resume(ctx context.Context, id string, r api.ResumeRequest) (api.Job, error) {
	return c.job(act[api.Job](ctx, c, http.MethodPost, at("jobs", id)+"/resume", r, http.StatusAccepted))
}

// Abandon implements api.Service.
func (c *Client) Abandon(ctx context.Context, id string, r api.AbandonRequest) (api.Job, error) {
	return c.job(act[api.Job](ctx, c, http.MethodPost, at("jobs", id)+"/abandon", r, http.StatusOK))
}

// Certificates implements api.Service.
func (c *Client) Certificates(ctx context.Context) ([]api.Certificate, error) {
	list, err := get[struct{ Items []api.Certificate }](ctx, c, "/v1/certificates")
	if err == nil && list.Items == nil {
		err = c.garbled(errors.New("a list without items"))
	}
	return list.Items, err
}

// Certificate implements api.Service.
func (c *Client) Certificate(ctx context.Context, job string, drive devices.ID) ([]byte, error) {
	return c.ask(ctx, http.MethodGet, at("certificates", job, string(drive)), nil, "", http.StatusOK, "")
}

// Halt implements api.Service. The end of a halt has no key, and is not asked for again once it may have been done: somebody else may
// have halted the agent since then, and that would be undone unseen. To halt it twice harms nobody.
func (c *Client) Halt(ctx context.Context, r api.HaltRequest) (api.Halt, error) {
	unless := ""
	if !r.Halted {
		unless = "the halt may have ended: look whether the agent is halted now, by whom and since when, before you end a halt again (expunge health, GET /v1/halt)"
	}
	h, err := actUnless[api.Halt](ctx, c, http.MethodPut, "/v1/halt", r, http.StatusOK, unless)
	if err == nil && h.Halted != r.Halted {
		err = c.garbled(errors.New("the agent is not as it was told to be"))
	}
	if err == nil {
		err = h.Incomplete()
	}
	return h, err
}

// Halted implements api.Service.
func (c *Client) Halted(ctx context.Context) (api.Halt, error) {
	h, err := get[api.Halt](ctx, c, "/v1/halt")
	if err == nil {
		err = h.Incomplete()
	}
	return h, err
}

// Health implements api.Service.
func (c *Client) Health(ctx context.Context) (api.Health, error) {
	h, err := get[api.Health](ctx, c, "/v1/health")
	if err == nil && h.Status == "" {
		err = c.garbled(errors.New("health without a status"))
	}
	return h, err
}

// Locate implements api.Service.
func (c *Client) Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error) {
	return act[api.Located](ctx, c, http.MethodPost, at("drives", drive)+"/locate", r, http.StatusOK)
}
