package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
)

// operation is what a method does at a path.
type operation struct {
	method, path  string
	id            string // in the document
	action        string // in the audit file, as the service calls it there
	summary, text string
	may           []api.Role // whoever has one of them
	status        int        // of success, 200 if it is 0
	act           bool       // needs an Idempotency-Key
	roomless      bool       // an act that is done also without room to keep its answer
	watch         bool       // goes on
	always        bool       // also where somebody has too many requests under way
	page          http.Handler
}

func (o operation) permits(p api.Principal) bool { return slices.ContainsFunc(o.may, p.May) }

// route is the pattern that requests are counted by.
func (o operation) route() string {
	switch {
	case o.may == nil:
		return "none"
	case o.path == "":
		return "GET /"
	}
	return o.method + " " + o.path
}

// needs are the roles in words.
func (o operation) needs() string {
	var names []string
	for _, r := range o.may {
		names = append(names, string(r))
	}
	return strings.Join(names, " or ")
}

var (
	mayRead    = []api.Role{api.Read}
	mayOperate = []api.Role{api.Operate}
	mayApprove = []api.Role{api.Approve}
)

// What requests are made of.
type (
	nothing  struct{}
	onlyPlan struct {
		ID string `path:"id" doc:"id of the plan"`
	}
	onlyJob struct {
		ID string `path:"id" doc:"id of the job"`
	}
	planIn struct {
		Body api.PlanRequest
	}
	approvalIn struct {
		ID   string `path:"id" doc:"id of the plan"`
		Body attest.Envelope
	}
	startIn struct {
		Body api.StartRequest
	}
	cancelIn struct {
		ID   string `path:"id" doc:"id of the job"`
		Body *nothing
	}
	resumeIn struct {
		ID   string `path:"id" doc:"id of the job"`
		Body *api.ResumeRequest
	}
	abandonIn struct {
		ID   string `path:"id" doc:"id of the job"`
		Body api.AbandonRequest
	}
	locateIn struct {
		Drive string `path:"drive" doc:"id, serial number, WWN or node of the drive"`
		Body  api.LocateRequest
	}
	haltIn        struct{ Body api.HaltRequest }
	certificateIn struct {
		Job   string     `path:"job" doc:"id of the job"`
		Drive devices.ID `path:"drive" doc:"id of the drive"`
	}
)

// What answers are made of.
type (
	out[T any]     struct{ Body T }
	created[T any] struct {
		Location string `header:"Location" doc:"where what was made is found"`
		Body     T
	}
	certificateOut struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
	documentOut struct {
		ContentType string `header:"Content-Type"`
		Body        []byte
	}
	items[T any] struct {
		Items []T `json:"items"`
	}
	jobItems         items[api.Job]
	certificateItems items[api.Certificate]
)

// register makes the routes, and the description of them.
func (s *Server) register() *huma.OpenAPI {
	schemas := huma.NewMapRegistry("#/components/schemas/", schemaName)
	schemas.RegisterTypeAlias(reflect.TypeFor[problem](), reflect.TypeFor[api.Problem]())
	form := huma.Format{Marshal: marshal, Unmarshal: json.Unmarshal}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0", Info: &huma.Info{Title: "expunge agent", Version: "v1", Description: documentText},
			Components: &huma.Components{Schemas: schemas},
		},
		Formats:                      map[string]huma.Format{"application/json": form, "json": form},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	a := humago.New(s.mux, config)
	s.registerDrives(a)
	s.registerPlans(a)
	s.registerJobs(a)
	s.registerAgent(a)
	return a.OpenAPI()
}

// marshal writes JSON as --json does, without its indentation.
func marshal(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// described is an operation as the document has it.
func (o operation) described() huma.Operation {
	return huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Summary: o.summary, Description: o.text + "\n\nNeeds the role " + o.needs() + ".",
		DefaultStatus: o.status, MaxBodyBytes: -1, BodyReadTimeout: -1, // the gate has read it
	}
}

// beside adds an operation that another handler answers, past huma, which only describes it.
func beside(s *Server, a huma.API, o operation, more ...func(*huma.Operation)) {
	h := o.described()
	for _, f := range more {
		f(&h)
	}
	h.Responses["default"] = &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{
		problemType: {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "")},
	}}
	a.OpenAPI().AddOperation(&h)
	pattern := o.method + " " + o.path
	s.operations[pattern] = o
	s.mux.Handle(pattern, o.page)
}

// handle adds an operation.
func handle[I, O any](s *Server, a huma.API, o operation, do func(context.Context, *I) (*O, error), more ...func(*huma.Operation)) {
	h := o.described()
	if o.act {
		limit, least := keyLimit, 1
		h.Parameters = append(h.Parameters, &huma.Param{Name: keyHeader, In: "header", Required: true, Description: keyText, Schema: &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &limit}})
	}
	for _, f := range more {
		f(&h)
	}
	s.operations[o.method+" "+o.path] = o
	huma.Register(a, h, func(ctx context.Context, in *I) (*O, error) {
		passOn(ctx)
		answer, err := do(ctx, in)
		if err != nil {
			return nil, failed(ctx, err)
		}
		return answer, nil
	})
}

// body is what is answered with nothing beside it.
func body[T any](v T, err error) (*out[T], error) {
	if err != nil {
		return nil, err
	}
	return &out[T]{v}, nil
}

// list is never null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

func at(elements ...string) string {
	for i, e := range elements {
		elements[i] = url.PathEscape(e)
	}
	return "/v1/" + strings.Join(elements, "/")
}
