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

// keptHeader is "no" of an answer to an act that was done and whose answer is not kept, and "yes" of one that is kept and is what came of the
// act. A refusal without it is of one request: an earlier one of the same key may have been carried out.
const keptHeader = "Expunge-Answer-Kept"

// act answers a POST. What was begun goes on when the connection breaks.
func (s *Server) act(w http.ResponseWriter, r *http.Request, who api.Principal, op operation, body []byte) *api.Problem {
	key, p := keyOf(r)
	if p != nil {
		return p
	}
	a, err := s.keys.do(r.Context(), op.roomless, who.Name, key, s.keys.request(r, body), func() *answer {
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		defer cancel()
		defer context.AfterFunc(s.life, cancel)()
		return s.ask(r.WithContext(ctx), who, op, body)
	})
	if err != nil {
		return told(r.Context(), err)
	}
	a.send(w)
	return nil
}

type passedKey struct{}

// passOn says that a request is the service's to answer now: what that refuses it writes down itself.
func passOn(ctx context.Context) {
	if passed, ok := ctx.Value(passedKey{}).(*bool); ok {
		*passed = true
	}
}

// ask has the mux answer. What is refused before it passes the request on is noted; a panic is an internal error.
func (s *Server) ask(r *http.Request, who api.Principal, op operation, body []byte) *answer {
	passed := false
	r = with(r.WithContext(context.WithValue(r.Context(), passedKey{}, &passed)), body)
	a := newAnswer()
	func() {
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("what was asked made the server panic", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				a = newAnswer()
				refuse(a, internal())
			}
		}()
		s.mux.ServeHTTP(a, r)
	}()
	if p := a.problem(); p != nil && !passed {
		s.note(who, op, r, p)
	}
	return a
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
