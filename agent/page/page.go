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

// page serves the page of one Service.
type page struct {
	svc   api.Service
	turns map[string]chan struct{} // by part
	now   func() time.Time
	slot  func(devices.Drive) string
}

// New makes the page of an agent: GET / and its assets, /style.css and /icon.svg. Who asks is in the
// request's context (api.Principal), which the Service is given.
func New(svc api.Service) http.Handler {
	return (&page{svc: svc, now: time.Now, slot: slotOf}).handler()
}

// slotOf is the slot that a drive is in, as people find it; "" where nobody tells.
func slotOf(d devices.Drive) string {
	if d.Enclosure == nil {
		return ""
	}
	return d.Enclosure.String()
}

func (p *page) handler() http.Handler {
	p.turns = map[string]chan struct{}{}
	for _, part := range []string{"health", "drives", "jobs", "certificates"} {
		p.turns[part] = make(chan struct{}, looks)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serve)
	mux.HandleFunc("GET /style.css", asset("style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /icon.svg", asset("icon.svg", "image/svg+xml"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		mux.ServeHTTP(w, r)
	})
}

func asset(name, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := assets.ReadFile("assets/" + name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(data) // to a browser that may have gone
	}
}

func (p *page) serve(w http.ResponseWriter, r *http.Request) {
	s := p.look(r.Context())
	v := p.view(s, r.URL.Query().Get("refresh") == "off")
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		http.Error(w, "write the page: "+err.Error(), http.StatusInternalServerError)
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

// ask asks for one part. A Service that ignores its time limit is left to itself, at most a few times.
func ask[T any](ctx context.Context, turn chan struct{}, what func(context.Context) (T, error)) <-chan part[T] {
	answer := make(chan part[T], 1)
	select {
	case turn <- struct{}{}:
	default:
		answer <- part[T]{err: fmt.Errorf("it has not answered %d others who asked", looks)}
		return answer
	}
	go func() {
		defer func() { <-turn }()
		value, err := what(ctx)
		answer <- part[T]{value, err}
	}()
	return answer
}

func wait[T any](ctx context.Context, answer <-chan part[T]) part[T] {
	select {
	case p := <-answer:
		return p
	case <-ctx.Done():
	}
	select {
	case p := <-answer: // at the last moment
		return p
	default:
		return part[T]{err: fmt.Errorf("no answer within %v", patience)}
	}
}

// look asks the Service for everything at once.
func (p *page) look(ctx context.Context) state {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	health := ask(ctx, p.turns["health"], p.svc.Health)
	drives := ask(ctx, p.turns["drives"], p.svc.Drives)
	jobs := ask(ctx, p.turns["jobs"], p.svc.Jobs)
	certificates := ask(ctx, p.turns["certificates"], p.svc.Certificates)
	return state{wait(ctx, health), wait(ctx, drives), wait(ctx, jobs), wait(ctx, certificates)}
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
