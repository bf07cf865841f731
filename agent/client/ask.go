package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"syscall"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// ErrNotRunning: nobody listens where the agent should be. Nothing was asked of it.
var ErrNotRunning = errors.New("no agent is running there")

const unsure = "what was asked may have been done; ask how it stands"

// MayBeDone says whether what an agent was asked to do may have been done although there is an error: the connection broke, the answer is
// none, or the context ended. Every other error is the agent's own, or of a request that never reached it.
// After a broken connection an error is the agent's own only where the agent says that it is what came of the act.
func MayBeDone(err error) bool {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code == "connection" || p.Code == "garbled"
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// attempts is how often something is asked when connections break, with longer and longer pauses between.
const attempts = 5

// get asks for something.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var into T
	data, err := c.ask(ctx, http.MethodGet, path, nil, "", http.StatusOK, "")
	if err == nil {
		err = c.decode(data, &into)
	}
	return into, err
}

// act has something done, however often it has to be asked for: a key says that it is the same act, or it is idempotent by itself.
func act[T any](ctx context.Context, c *Client, method, path string, body any, status int) (T, error) {
	return actUnless[T](ctx, c, method, path, body, status, "")
}

// actUnless is act for what is not asked for again once it may have been done: unless is the hint of the error that is returned then.
func actUnless[T any](ctx context.Context, c *Client, method, path string, body any, status int, unless string) (T, error) {
	var into T
	var (
		data []byte
		key  string
		err  error
	)
	if body != nil {
		data, err = json.Marshal(body)
	}
	if err == nil && method == http.MethodPost {
		key, err = newKey(ctx)
	}
	if err != nil {
		return into, fmt.Errorf("ask the agent: %w", err)
	}
	answer, err := c.ask(ctx, method, path, data, key, status, unless)
	if err == nil {
		err = c.decode(answer, &into)
	}
	return into, err
}

// decode reads an answer. Members that are not known here are passed over: they are added over time.
func (c *Client) decode(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return c.garbled(err)
	}
	return nil
}

// garbled is an answer that is none. What was asked may have been done.
func (c *Client) garbled(err error) error {
	return api.NewProblem(api.ExitInternal, "garbled", "", fmt.Errorf("the agent at %s answered what is no answer: %w", c.where, err))
}

// ask asks until there is an answer, and returns the body of one with the wanted status. Where unless is not empty it does not ask again
// once what was asked may have been done, and that is the hint of its error.
func (c *Client) ask(ctx context.Context, method, path string, body []byte, key string, want int, unless string) ([]byte, error) {
	var last error
	for n := range attempts {
		if n > 0 {
			if err := pause(ctx, time.Duration(n*n)*50*time.Millisecond); err != nil {
				return nil, errors.Join(err, last)
			}
		}
		data, again, own, err := c.once(ctx, method, path, body, key, want)
		if p := (*api.Problem)(nil); unless != "" && MayBeDone(err) && errors.As(err, &p) {
			return nil, api.NewProblem(p.ExitStatus, p.Code, unless, err)
		}
		again = again || n > 0 && passing(err)
		if err != nil && !own && method != http.MethodGet && last != nil && MayBeDone(last) && !MayBeDone(err) {
			// Something was asked over a connection that broke, and what is said now is not what came of it: it may have been done.
			err = api.NewProblem(api.ExitInternal, "connection", unsure, fmt.Errorf("%v; since then %v", last, err))
		}
		if err == nil || !again || ctx.Err() != nil {
			return data, err
		}
		last = err
	}
	return nil, last
}

// keptHeader is "yes" of an answer that says what came of an act, however often that was asked for. Without it, an error is of one request.
const keptHeader = "Expunge-Answer-Kept"

// once asks one time; again says whether asking another time can help; own, whether an error is what came of the act itself.
func (c *Client) once(ctx context.Context, method, path string, body []byte, key string, want int) (data []byte, again, own bool, err error) {
	a, err := c.send(ctx, method, path, body, key, "")
	if err != nil {
		return nil, !errors.Is(err, ErrNotRunning), false, err
	}
	defer a.Body.Close()
	data, err = io.ReadAll(io.LimitReader(a.Body, answerLimit+1))
	if err != nil {
		return nil, true, false, c.broken(err)
	}
	if len(data) > answerLimit {
		return nil, false, false, c.garbled(fmt.Errorf("it has more than %d bytes", answerLimit))
	}
	if a.StatusCode != want {
		err := c.problem(a, data)
		return nil, passing(err), a.Header.Get(keptHeader) == "yes", err
	}
	if kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, false, false, c.garbled(fmt.Errorf("it is of the type %q", a.Header.Get("Content-Type")))
	}
	return data, false, false, nil
}

// passing says whether an error is one of the moment, so that asking again can help.
func passing(err error) bool {
	var p *api.Problem
	if !errors.As(err, &p) {
		return false
	}
	switch p.Code {
	case "connection", "not_running", "stopping", "too_many_requests", "busy":
		return true
	}
	return false
}

// send sends a request, and returns an answer of whatever status.
func (c *Client) send(ctx context.Context, method, path string, body []byte, key, accept string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	a, err := c.http.Do(r)
	if err != nil {
		return nil, c.broken(err)
	}
	return a, nil
}

// broken is an error of a connection.
func (c *Client) broken(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("ask the agent at %s: %w", c.where, err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return api.NewProblem(api.ExitNotFound, "not_running", "start one with: expunge serve", &notRunning{c.where, err})
	case errors.Is(err, fs.ErrPermission):
		return api.NewProblem(api.ExitPermission, "permission", "the agent's socket is for those of its group", fmt.Errorf("ask the agent at %s: %w", c.where, err))
	}
	return api.NewProblem(api.ExitInternal, "connection", unsure, fmt.Errorf("ask the agent at %s: %w", c.where, err))
}

// notRunning says where nobody is.
type notRunning struct {
	where string
	err   error
}

func (e *notRunning) Error() string {
	why := "nobody listens there"
	if errors.Is(e.err, fs.ErrNotExist) {
		why = "there is no such socket"
	}
	return fmt.Sprintf("no agent is running at %s: %s", e.where, why)
}
func (e *notRunning) Unwrap() []error { return []error{ErrNotRunning, e.err} }

// problem is what the agent says is wrong.
func (c *Client) problem(a *http.Response, data []byte) error {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" {
		return c.garbled(fmt.Errorf("its status is %s and its type %q", a.Status, a.Header.Get("Content-Type")))
	}
	p := &api.Problem{}
	if err := json.Unmarshal(data, p); err != nil {
		return c.garbled(err)
	}
	return c.checked(p)
}

// checked is a problem that says something: one without a code, or with the exit status of success, is no answer.
func (c *Client) checked(p *api.Problem) error {
	if p == nil || p.Code == "" || p.Detail == "" || p.ExitStatus <= api.ExitOK {
		return c.garbled(errors.New("a problem that says nothing"))
	}
	return p
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
