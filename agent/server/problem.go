package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/expunge-dev/expunge/agent/api"
)

// problem is an api.Problem as huma answers with it.
type problem api.Problem

func (p *problem) Error() string               { return p.Detail }
func (p *problem) GetStatus() int              { return p.Status }
func (p *problem) ContentType(_ string) string { return problemType }

const problemType = "application/problem+json"

// huma has these as variables of its package, and no other way: errors of its own in our form, and members whose case differs are
// not ours.
func init() { huma.NewError, huma.ValidateStrictCasing = ofHuma, true }

// ofHuma is an error that huma found in a request.
func ofHuma(status int, message string, errs ...error) huma.StatusError {
	exit, code := api.ExitUsage, "usage"
	switch status {
	case 0: // what the document is made of
		return &problem{}
	case http.StatusBadRequest:
		code = "malformed"
	case http.StatusNotFound:
		exit, code = api.ExitNotFound, "not_found"
	case http.StatusRequestTimeout:
		code = "too_slow"
	case http.StatusNotAcceptable:
		code = "not_acceptable"
	case http.StatusRequestEntityTooLarge:
		code = "too_large"
	case http.StatusUnsupportedMediaType:
		code = "media_type"
	}
	if status >= http.StatusInternalServerError {
		return (*problem)(api.NewProblem(api.ExitInternal, "internal", "", errors.New("internal error")))
	}
	p := api.NewProblem(exit, code, "docs/openapi.yaml says what is possible", errors.New(message))
	for _, err := range errs {
		var detail *huma.ErrorDetail
		// Its value stays here: it can be a PIN.
		if errors.As(err, &detail) {
			p.Errors = append(p.Errors, api.FieldProblem{Location: detail.Location, Message: detail.Message})
		} else if err != nil {
			p.Errors = append(p.Errors, api.FieldProblem{Location: "request", Message: err.Error()})
		}
	}
	if len(p.Errors) > 0 {
		p.Detail = fmt.Sprintf("%s: %s: %s", message, p.Errors[0].Location, p.Errors[0].Message)
	}
	return (*problem)(p)
}

// told is an error of the service as it is answered. A status that HTTP has no error for is internal.
func told(ctx context.Context, err error) *api.Problem {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return api.NewProblem(api.ExitInterrupted, "stopping", "ask again when it is there again", errors.New("the agent is being stopped"))
	}
	p := api.ProblemOf(err)
	if p.Status < http.StatusBadRequest || p.Status > 599 {
		whole := *p
		whole.Status = http.StatusInternalServerError
		return &whole
	}
	return p
}

// failed is told for huma.
func failed(ctx context.Context, err error) error { return (*problem)(told(ctx, err)) }

// refuse answers with a problem.
func refuse(w http.ResponseWriter, p *api.Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"status":500,"code":"internal","exit_status":1}`) // strings and numbers always marshal
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	switch {
	case p.Code == "too_many_keys":
		h.Set("Retry-After", "3600")
	case p.Status == http.StatusTooManyRequests, p.Code == "busy":
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // whoever is gone has no use for it
}

func forbidden(format string, args ...any) *api.Problem {
	return api.NewProblem(api.ExitPermission, "forbidden", "the agent's configuration gives roles, under access", fmt.Errorf(format, args...))
}
