package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

// body reads a request's body, whole and in time, and refuses what is not one JSON document that says each thing once.
func (s *Server) body(w *paced, r *http.Request) ([]byte, *api.Problem) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		w.Header().Set("Connection", "close") // it is not read
		return nil, malformed("body", fmt.Errorf("%s has no body", r.Method))
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout():
		w.Header().Set("Connection", "close")
		return nil, api.NewProblem(api.ExitUsage, "too_slow", "", fmt.Errorf("the body was not there within %s", s.options.BodyTime))
	case err != nil:
		w.Header().Set("Connection", "close")
		return nil, malformed("body", errors.New("the body broke off"))
	case len(data) > bodyLimit:
		w.Header().Set("Connection", "close")
		return nil, api.NewProblem(api.ExitUsage, "too_large", "", fmt.Errorf("the body is larger than %d bytes", bodyLimit))
	}
	_ = w.control.SetReadDeadline(time.Time{})
	if len(data) == 0 {
		return nil, nil
	}
	if !isJSON(r.Header.Values("Content-Type")) {
		return nil, api.NewProblem(api.ExitUsage, "media_type", "", errors.New("the body must be application/json, in UTF-8, and say so in one Content-Type"))
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, api.NewProblem(api.ExitUsage, "media_type", "", errors.New("the body must not have a Content-Encoding"))
	}
	if at, err := once(data); err != nil {
		return nil, malformed(at, err)
	}
	return data, nil
}

func malformed(at string, err error) *api.Problem {
	p := api.NewProblem(api.ExitUsage, "malformed", "", fmt.Errorf("%s: %w", at, err))
	p.Errors = []api.FieldProblem{{Location: at, Message: err.Error()}}
	return p
}

func isJSON(types []string) bool {
	if len(types) != 1 {
		return false
	}
	kind, parameters, err := mime.ParseMediaType(types[0])
	charset, has := parameters["charset"]
	return err == nil && kind == "application/json" && (!has || strings.EqualFold(charset, "utf-8"))
}

// with is a request with this body.
func with(r *http.Request, body []byte) *http.Request {
	r = r.WithContext(r.Context())
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return r
}
