package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/expunge-dev/expunge/agent/api"
)

func (s *Server) registerDrives(a huma.API) {
	handle(s, a, operation{method: "GET", path: "/v1/drives", id: "list-drives", action: "drives.list", may: mayRead, summary: "List the drives of the host",
		text: "Every drive of the host, with what keeps one from being sanitized, as `expunge list --json` shows them, and what may have drives that cannot be reached one by one."},
		func(ctx context.Context, _ *struct{}) (*out[api.Drives], error) {
			d, err := s.service.Drives(ctx)
			d.Items, d.NotReached = list(d.Items), list(d.NotReached)
			return body(d, err)
		})
	handle(s, a, operation{method: "POST", path: "/v1/drives/{drive}/locate", id: "locate-drive", action: "drives.locate", may: mayOperate, act: true, summary: "Switch the light of a drive's slot",
		text: "So that people find the drive. It touches nothing of the drive itself."},
		func(ctx context.Context, in *locateIn) (*out[api.Located], error) {
			return body(s.service.Locate(ctx, in.Drive, in.Body))
		})
}

func (s *Server) registerPlans(a huma.API) {
	handle(s, a, operation{method: "POST", path: "/v1/plans", id: "make-plan", action: "plans.make", may: mayOperate, act: true, status: http.StatusCreated, summary: "Plan what shall be done to drives",
		text: "Names the drives, chooses techniques, and refuses what may not be touched, with the reasons. Nothing is written to a drive. The plan is kept until it expires; its digest is what is approved and confirmed. An empty list of drives is an error, never all of them."},
		func(ctx context.Context, in *planIn) (*created[api.Plan], error) {
			p, err := s.service.Plan(ctx, in.Body)
			if err != nil {
				return nil, err
			}
			return &created[api.Plan]{at("plans", p.ID), p}, nil
		})
	handle(s, a, operation{method: "GET", path: "/v1/plans/{id}", id: "get-plan", action: "plans.read", may: mayRead, summary: "Show a plan",
		text: "The plan, the approvals that it has, and the job that it was started as."},
		func(ctx context.Context, in *onlyPlan) (*out[api.Plan], error) {
			return body(s.service.Planned(ctx, in.ID))
		})
	handle(s, a, operation{method: "POST", path: "/v1/plans/{id}/approvals", id: "approve-plan", action: "plans.approve", may: mayApprove, act: true, summary: "Hand in an approval of a plan",
		text: "The body is a DSSE envelope: an approval that was signed with the approver's own key. The agent judges it by the keys of its configuration. Who hands it in need not be who signed it."},
		func(ctx context.Context, in *approvalIn) (*out[api.Plan], error) {
			return body(s.service.Approve(ctx, in.ID, in.Body))
		})
}

func (s *Server) registerJobs(a huma.API) {
	handle(s, a, operation{method: "POST", path: "/v1/jobs", id: "start-job", action: "jobs.start", may: mayOperate, act: true, status: http.StatusAccepted, summary: "Start a plan: this destroys data",
		text: "Answered when the job is on disk, or refused: then nothing was touched. A plan that was started before has one job, which is answered again. What becomes of it is told at its Location and by its events."},
		func(ctx context.Context, in *startIn) (*created[api.Job], error) {
			j, err := s.service.Start(ctx, in.Body)
			if err != nil {
				return nil, err
			}
			return &created[api.Job]{at("jobs", j.ID), j}, nil
		})
	handle(s, a, operation{method: "GET", path: "/v1/jobs", id: "list-jobs", action: "jobs.list", may: mayRead, summary: "List jobs", text: "All jobs that the agent keeps, as they stand."},
		func(ctx context.Context, _ *struct{}) (*out[jobItems], error) {
			j, err := s.service.Jobs(ctx)
			return body(jobItems{list(j)}, err)
		})
	handle(s, a, operation{method: "GET", path: "/v1/jobs/{id}", id: "get-job", action: "jobs.read", may: mayRead, summary: "Show a job",
		text: "How each drive of the job stands, also those that planning refused. `exit_status` is that of the command line: only 0 is success."},
		func(ctx context.Context, in *onlyJob) (*out[api.Job], error) {
			return body(s.service.Job(ctx, in.ID))
		})
	handle(s, a, operation{method: "POST", path: "/v1/jobs/{id}/cancel", id: "cancel-job", action: "jobs.cancel", may: mayOperate, act: true, roomless: true, summary: "Stop a job",
		text: "Stops what the host does for the job, so that it can be resumed, and says which drives carry out commands that nothing stops. It is done also where its answer cannot be kept, for want of room or because what is kept under the key is damaged (Expunge-Answer-Kept: no); asked again it is done again then."},
		func(ctx context.Context, in *cancelIn) (*out[api.Cancelled], error) {
			return body(s.service.Cancel(ctx, in.ID))
		})
	handle(s, a, operation{method: "POST", path: "/v1/jobs/{id}/resume", id: "resume-job", action: "jobs.resume", may: mayOperate, act: true, status: http.StatusAccepted, summary: "Go on with a job that stopped",
		text: "Goes on where the job's journals end, by the same plan."},
		func(ctx context.Context, in *resumeIn) (*created[api.Job], error) {
			var r api.ResumeRequest
			if in.Body != nil {
				r = *in.Body
			}
			j, err := s.service.Resume(ctx, in.ID, r)
			if err != nil {
				return nil, err
			}
			return &created[api.Job]{at("jobs", j.ID), j}, nil
		})
	handle(s, a, operation{method: "POST", path: "/v1/jobs/{id}/abandon", id: "abandon-job", action: "jobs.abandon", may: mayOperate, act: true, summary: "Give a job up",
		text: "Of a job that nobody is at work on. Its unfinished drives are certified as failed: they hold data."},
		func(ctx context.Context, in *abandonIn) (*out[api.Job], error) {
			return body(s.service.Abandon(ctx, in.ID, in.Body))
		})
	handle(s, a, operation{method: "GET", path: "/v1/jobs/{id}/events", id: "watch-job", action: "jobs.events", may: mayRead, watch: true, summary: "Follow a job", text: eventsText}, s.events, describeEvents(a))
}

func (s *Server) registerAgent(a huma.API) {
	handle(s, a, operation{method: "GET", path: "/v1/certificates", id: "list-certificates", action: "certificates.list", may: mayRead, summary: "List certificates", text: "All certificates that the agent keeps."},
		func(ctx context.Context, _ *struct{}) (*out[certificateItems], error) {
			c, err := s.service.Certificates(ctx)
			return body(certificateItems{list(c)}, err)
		})
	handle(s, a, operation{method: "GET", path: "/v1/certificates/{job}/{drive}", id: "get-certificate", action: "certificates.read", may: mayRead, summary: "Get a certificate",
		text: "The bytes of the certificate, as they were signed: `expunge-verify` judges them. docs/certificate.md describes them."},
		func(ctx context.Context, in *certificateIn) (*certificateOut, error) {
			data, err := s.service.Certificate(ctx, in.Job, in.Drive)
			if err != nil {
				return nil, err
			}
			return &certificateOut{"application/json", data}, nil
		}, raw("application/json", "A certificate bundle, as docs/certificate.md describes it.", huma.TypeObject))
	handle(s, a, operation{method: "GET", path: "/v1/halt", id: "get-halt", action: "halt.read", may: mayRead, summary: "Whether the agent is halted", text: "By whom, since when and why, and which drives go on by themselves, or whose jobs have not stopped yet."},
		func(ctx context.Context, _ *struct{}) (*out[api.Halt], error) { return halted(s.service.Halted(ctx)) })
	handle(s, a, operation{method: "PUT", path: "/v1/halt", id: "set-halt", action: "halt", may: []api.Role{api.Operate, api.Approve}, always: true, summary: "Halt the agent, or end that",
		text: "A halted agent begins nothing that destroys data. To halt it needs the role operate, to end that the role approve. What a drive does by itself goes on: the answer lists those, and the drives whose jobs have not stopped yet, here or in other processes. A halt that could not be recorded or kept holds all the same: its answer has `problems`."},
		func(ctx context.Context, in *haltIn) (*out[api.Halt], error) {
			return halted(s.service.Halt(ctx, in.Body))
		})
	handle(s, a, operation{method: "GET", path: "/v1/health", id: "get-health", action: "health", may: mayRead, summary: "How the agent is", text: "Whether it works, is halted or degraded, and whether the host can be switched off."},
		func(ctx context.Context, _ *struct{}) (*out[api.Health], error) { return body(s.service.Health(ctx)) })
	handle(s, a, operation{method: "GET", path: "/v1/openapi.yaml", id: "get-openapi", action: "openapi", may: mayRead, summary: "This document", text: "OpenAPI 3.1."},
		func(context.Context, *struct{}) (*documentOut, error) {
			return &documentOut{"application/yaml", s.document}, nil
		},
		raw("application/yaml", "This document.", huma.TypeString))
	if h := s.options.Metrics; h != nil {
		beside(s, a, operation{method: "GET", path: "/v1/metrics", id: "get-metrics", action: "metrics", may: mayRead, page: h, summary: "What Prometheus scrapes",
			text: "Metrics in Prometheus' text format; docs/metrics.md lists them, and says how to scrape them. Counters begin at zero when the agent starts. What could not be read is absent, never zero, and `expunge_scrape_ok` is 0 then."},
			raw("text/plain", "Metrics in Prometheus' text format.", huma.TypeString))
	}
}

// halted is what is answered of a halt: one that holds says itself what could not be done of it.
func halted(h api.Halt, err error) (*out[api.Halt], error) {
	if h.Halted && len(h.Problems) > 0 {
		err = nil
	}
	return body(h, err)
}

// raw describes an answer that is no form of this interface.
func raw(kind, text, of string) func(*huma.Operation) {
	return func(o *huma.Operation) {
		o.Responses = map[string]*huma.Response{"200": {Description: text, Content: map[string]*huma.MediaType{kind: {Schema: &huma.Schema{Type: of, Description: text}}}}}
	}
}
