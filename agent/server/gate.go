package server

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/expunge-dev/expunge/agent/api"
)

// answer lets a request through to what answers it, or refuses it.
func (s *Server) answer(plain http.ResponseWriter, r *http.Request) {
	w := pace(plain, s.options.Stall)
	if told := s.options.Answered; told != nil {
		defer func() { told(w.route, cmp.Or(w.status, http.StatusOK), w.problem()) }()
	}
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a request made the server panic", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			if w.begun {
				// The connection ends, so that nobody takes half an answer for a whole one.
				if c, _, err := w.control.Hijack(); err == nil {
					_ = c.Close() // nothing more can be said on it
				}
				return
			}
			refuse(w, internal())
		}
	}()
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if r.ContentLength != 0 {
		// Also where it is refused unread: then net/http reads what is left. Without a connection, as in tests, there is no deadline to set.
		_ = w.control.SetReadDeadline(time.Now().Add(s.options.BodyTime))
	}
	if p := s.admit(w, r); p != nil {
		refuse(w, p)
	}
}

func internal() *api.Problem {
	return api.NewProblem(api.ExitInternal, "internal", "the agent's log says more", errors.New("internal error"))
}

// admit answers a request, or says why not.
func (s *Server) admit(w *paced, r *http.Request) *api.Problem {
	who, unknown := s.principal(r)
	op, allow := s.route(r)
	w.route = op.route()
	p := s.enter(w, r, who, unknown, op, allow)
	if p != nil {
		s.note(who, op, r, p)
	}
	return p
}

// enter is admit of somebody who asks for an operation, or for none, where other methods are allowed. Strangers are refused before
// anything else is: they do not learn what is there, and their connections end.
func (s *Server) enter(w *paced, r *http.Request, who api.Principal, unknown error, op operation, allow string) *api.Problem {
	if unknown != nil {
		w.Header().Set("Connection", "close")
		return api.NewProblem(api.ExitPermission, "unauthorized", "", unknown)
	}
	if len(who.Roles) == 0 {
		w.Header().Set("Connection", "close")
		return forbidden("%s has no roles here", who.Name)
	}
	if p := plain(r); p != nil {
		return p
	}
	if p := crossSite(r, op.page != nil); p != nil {
		return p
	}
	switch {
	case op.may == nil && allow != "":
		w.Header().Set("Allow", allow)
		return api.NewProblem(api.ExitUsage, "method_not_allowed", "", fmt.Errorf("%s is not possible at %s: %s is", r.Method, r.URL.Path, allow))
	case op.may == nil:
		return notFound(r)
	case !op.permits(who):
		return forbidden("%s has not the role %s", who.Name, op.needs())
	}
	count, most := s.requests, s.options.Requests
	if op.watch {
		count, most = s.watchers, s.options.Watchers
	}
	if !op.always {
		if !count.take(who.Name, 0) {
			return api.NewProblem(api.ExitRefused, "too_many_requests", "", fmt.Errorf("%s has %d of these at once already", who.Name, most))
		}
		defer count.give(who.Name)
	}
	r = r.WithContext(api.WithPrincipal(r.Context(), who))
	switch {
	case op.page != nil:
		op.page.ServeHTTP(w, r)
		return nil
	case op.watch:
		s.mux.ServeHTTP(w, s.judgedAgain(r))
		return nil
	}
	body, p := s.body(w, r)
	if p != nil {
		return p
	}
	if op.act {
		return s.act(w, r, who, op, body)
	}
	s.ask(r, who, op, body).send(w)
	return nil
}

// note tells Options.Refused of a refusal that is written down: of whoever may not, and of whatever would have changed something.
// The names of actions are few, whatever is asked for: by them repeated tries are known.
func (s *Server) note(who api.Principal, op operation, r *http.Request, p *api.Problem) {
	looks := r.Method == http.MethodGet || r.Method == http.MethodHead
	if s.options.Refused == nil || looks && p.Code != "forbidden" && p.Code != "unauthorized" {
		return
	}
	action := op.action
	if action == "" {
		action = "no such operation"
	}
	s.options.Refused(who, action, r.URL.EscapedPath(), p)
}

// plain refuses what no client of ours sends.
func plain(r *http.Request) *api.Problem {
	size := len(r.Method) + len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	if size > headerLimit {
		return api.NewProblem(api.ExitUsage, "headers_too_large", "", fmt.Errorf("the request's headers are larger than %d bytes", headerLimit))
	}
	if at := r.URL.EscapedPath(); at == "" || at[0] != '/' || path.Clean(at) != strings.TrimSuffix(at, "/") && at != "/" || !nameable(r.URL.Path) {
		return notFound(r)
	}
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil { // what is in it would be passed over
		return api.NewProblem(api.ExitUsage, "malformed", "", fmt.Errorf("the query cannot be read: %w", err))
	}
	return nil
}

// nameable says whether a path, without its escapes, can have the ids of anything: they are short text without control characters.
func nameable(at string) bool {
	return len(at) <= pathLimit && utf8.ValidString(at) && !strings.ContainsFunc(at, unicode.IsControl)
}

func notFound(r *http.Request) *api.Problem {
	return api.NewProblem(api.ExitNotFound, "not_found", "docs/openapi.yaml says what is there", fmt.Errorf("nothing is at %.200q", r.URL.Path))
}

// route is which operation a request asks for; where it is none, which methods are allowed there.
func (s *Server) route(r *http.Request) (op operation, allow string) {
	if page := s.options.Page; page != nil && page.Has(r.URL.Path) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return operation{action: "page", may: mayRead, page: page}, ""
		}
		return operation{}, "GET, HEAD"
	}
	h, pattern := s.mux.Handler(r)
	op, ok := s.operations[pattern]
	switch {
	case ok && r.Method != http.MethodHead:
		return op, ""
	case ok:
		return operation{}, http.MethodGet
	case pattern != "":
		return operation{}, ""
	}
	// The mux's own answer says whether the path has other methods.
	a := newAnswer()
	h.ServeHTTP(a, r)
	return operation{}, a.header.Get("Allow")
}

// crossSite refuses what a page of another site made a browser send: with it goes the browser's certificate. To look at the page by
// a link is no harm.
func crossSite(r *http.Request, page bool) *api.Problem {
	site := r.Header.Get("Sec-Fetch-Site")
	link := page && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	foreign := site != "" && site != "same-origin" && site != "none" && !link
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		foreign = foreign || err != nil || u.Scheme != "https" || u.Host != r.Host
	}
	if !foreign {
		return nil
	}
	return api.NewProblem(api.ExitPermission, "cross_site", "", errors.New("the request comes from another site"))
}
