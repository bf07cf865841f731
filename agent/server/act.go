package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/expunge-dev/expunge/agent/api"
)

// keyHeader names an act, so that it can be asked for again (draft-ietf-httpapi-idempotency-key-header-07).
const keyHeader = "Idempotency-Key"

// act answers a POST. What was begun goes on when the connection breaks.
func (s *Server) act(w http.ResponseWriter, r *http.Request, who api.Principal, body []byte) *api.Problem {
	key, p := keyOf(r)
	if p != nil {
		return p
	}
	a, err := s.keys.do(r.Context(), who.Name, key, s.keys.request(r, body), func() *answer {
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		a := newAnswer()
		s.safely(a, with(r.WithContext(ctx), body))
		return a
	})
	if err != nil {
		return told(r.Context(), err)
	}
	a.send(w)
	return nil
}

// safely has the mux answer; a panic is an internal error.
func (s *Server) safely(a *answer, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("an act made the server panic", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			*a = *newAnswer()
			refuse(a, internal())
		}
	}()
	s.mux.ServeHTTP(a, r)
}

// keyOf is a request's Idempotency-Key.
func keyOf(r *http.Request) (string, *api.Problem) {
	values := r.Header.Values(keyHeader)
	if len(values) != 1 || values[0] == "" {
		return "", keyProblem(errors.New("one header " + keyHeader + " is needed, new for each act"))
	}
	key := values[0]
	if len(key) > keyLimit {
		return "", keyProblem(fmt.Errorf("%s is longer than %d characters", keyHeader, keyLimit))
	}
	for _, c := range []byte(key) {
		if c < ' ' || c > '~' {
			return "", keyProblem(errors.New(keyHeader + " has characters that are not printable ASCII"))
		}
	}
	return key, nil
}

func keyProblem(err error) *api.Problem {
	return api.NewProblem(api.ExitUsage, "key_missing", "any random text will do, such as a UUID", err)
}
