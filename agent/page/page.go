// Package page is what people see of an agent in a browser: one page that says how it is, what needs
// somebody, and how far its drives are.
//
// It decides nothing and changes nothing: every word about an outcome is the Service's, there is no
// form and no script, and whoever has lost it needs only the command line. What could not be read is
// said to be unknown, and never left out.
//
// A surprise: the page knows no moment but its own. A rate is the average of a stage.
package page

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
)

//go:embed assets
var assets embed.FS

// policy lets the page load its own style and sign, and nothing else; it runs nothing, sends nothing
// and is in no frame.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const (
	patience    = 10 * time.Second // with a Service that does not answer
	looks       = 4                // at a part of a Service at once: what hangs holds up no more
	whileBusy   = 15               // seconds between refreshes while drives are worked on
	whileIdle   = 60
	longestList = 500 // rows of trouble and of certificates
)

// Page serves the page of one Service.
type Page struct {
	svc   api.Service
	at    map[string]http.HandlerFunc // by path: all that the page has
	turns map[string]chan struct{}    // by part
	now   func() time.Time
	slot  func(devices.Drive) string
}

// New makes the page of an agent: GET / and its assets, /style.css and /icon.svg. Who asks is in the
// request's context (api.Principal), which the Service is given.
func New(svc api.Service) *Page {
	return (&Page{svc: svc, now: time.Now, slot: slotOf}).begin()
}

// slotOf is the slot that a drive is in, as people find it; "" where nobody tells.
func slotOf(d devices.Drive) string {
	if d.Enclosure == nil {
		return ""
	}
	return d.Enclosure.String()
}

func (p *Page) begin() *Page {
	p.turns = map[string]chan struct{}{}
	for _, part := range []string{"health", "drives", "jobs", "certificates"} {
		p.turns[part] = make(chan struct{}, looks)
	}
	p.at = map[string]http.HandlerFunc{"/": p.serve, "/style.css": asset("style.css", "text/css; charset=utf-8"), "/icon.svg": asset("icon.svg", "image/svg+xml")}
	return p
}

// Has says whether the page has something at a path. Whoever serves it answers for all others.
func (p *Page) Has(path string) bool { return p.at[path] != nil }

// ServeHTTP answers GET and HEAD of the paths that the page has, and nothing else.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	serve := p.at[r.URL.Path]
	switch {
	case serve == nil:
		refuse(w, api.ExitNotFound, "not_found", fmt.Errorf("nothing is at %.200q", r.URL.Path))
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		refuse(w, api.ExitUsage, "method_not_allowed", fmt.Errorf("%s is not possible at %s: GET, HEAD is", r.Method, r.URL.Path))
	default:
		serve(w, r)
	}
}

// refuse answers by a problem, as whoever serves the page does.
func refuse(w http.ResponseWriter, exit int, code string, why error) {
	p := api.NewProblem(exit, code, "", why)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // to a browser that may have gone
}

func asset(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := assets.ReadFile("assets/" + name)
		if err != nil {
			refuse(w, api.ExitInternal, "internal", err)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(data) // to a browser that may have gone
	}
}

func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	s := p.look(r.Context())
	v := p.view(s, r.URL.Query().Get("refresh") == "off")
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		refuse(w, api.ExitInternal, "internal", fmt.Errorf("write the page: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if v.Refresh > 0 {
		w.Header().Set("Refresh", strconv.Itoa(v.Refresh))
	}
	w.WriteHeader(s.status())
	_, _ = w.Write(b.Bytes()) // to a browser that may have gone
}

// state is what a Service said, each part with why it could not be told.
type state struct {
	health       part[api.Health]
	drives       part[api.Drives]
	jobs         part[[]api.Job]
	certificates part[[]api.Certificate]
}

type part[T any] struct {
	value T
	err   error
}

// asked is a part that was asked for.
type asked[T any] struct {
	answer chan part[T]
	begun  chan struct{} // closed when its turn has come
}

// ask asks for one part when its turn has come. A Service that ignores its time limit is left to itself, at most a few times.
func ask[T any](ctx context.Context, turn chan struct{}, what func(context.Context) (T, error)) asked[T] {
	a := asked[T]{make(chan part[T], 1), make(chan struct{})}
	go func() {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return // whoever asked is told so
		}
		close(a.begun)
		defer func() { <-turn }()
		value, err := what(ctx)
		a.answer <- part[T]{value, err}
	}()
	return a
}

// wait waits for an answer until ctx ends, as long as for those who asked before and are not answered yet.
func (a asked[T]) wait(ctx context.Context) part[T] {
	select {
	case p := <-a.answer:
		return p
	case <-ctx.Done():
	}
	select {
	case p := <-a.answer: // at the last moment
		return p
	default:
	}
	select {
	case <-a.begun:
		return part[T]{err: fmt.Errorf("no answer within %v", patience)}
	default:
		return part[T]{err: fmt.Errorf("it has not answered %d others who asked, within %v", looks, patience)}
	}
}

// look asks the Service for everything at once.
func (p *Page) look(ctx context.Context) state {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	health := ask(ctx, p.turns["health"], p.svc.Health)
	drives := ask(ctx, p.turns["drives"], p.svc.Drives)
	jobs := ask(ctx, p.turns["jobs"], p.svc.Jobs)
	certificates := ask(ctx, p.turns["certificates"], p.svc.Certificates)
	return state{health.wait(ctx), drives.wait(ctx), jobs.wait(ctx), certificates.wait(ctx)}
}

// status is that of HTTP: the first part's when no part could be read, such as 403 to who may not read.
func (s state) status() int {
	for _, err := range []error{s.health.err, s.drives.err, s.jobs.err, s.certificates.err} {
		if err == nil {
			return http.StatusOK
		}
	}
	return api.ProblemOf(s.health.err).Status
}

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{"text": text, "pair": pair}).ParseFS(assets, "assets/page.html"))

// pair is what could not be read, and why.
func pair(what, why string) map[string]string { return map[string]string{"what": what, "why": why} }
