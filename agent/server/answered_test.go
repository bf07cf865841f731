package server

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
)

// answers keeps what Options.Answered is told.
type answers struct {
	mu   sync.Mutex
	list []string
}

func (a *answers) told(route string, status int, problem string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, fmt.Sprint(route, " ", status, " ", problem))
}

func (a *answers) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := a.list
	a.list = nil
	return list
}

// What an operator would lose: what is asked of the agent and how it answers, in series as few as there are routes.
func TestEveryAnswerIsTold(t *testing.T) {
	var told answers
	s := &scripted{}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "m") })
	v := serve(t, Options{Service: s, Page: paged{http.NotFoundHandler()}, Metrics: metrics, Answered: told.told})
	asked := func(want, method, at, body string, header ...string) {
		t.Helper()
		v.ask(t, method, at, body, header...)
		eventually(t, want, func() bool { told.mu.Lock(); defer told.mu.Unlock(); return len(told.list) > 0 })
		if got := told.take(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s %s: told of %q, want %q", method, at, got, want)
		}
	}
	asked("GET /v1/jobs/{id} 200 ", "GET", "/v1/jobs/j1", "")
	asked("GET /v1/metrics 200 ", "GET", "/v1/metrics", "")
	asked("GET /v1/jobs/{id}/events 200 ", "GET", "/v1/jobs/j1/events", "")
	asked("GET /v1/jobs/{id}/events 422 usage", "GET", "/v1/jobs/j1/events?format=xml", "")
	asked("POST /v1/jobs 202 ", "POST", "/v1/jobs", goodStart, withKey("a"))
	asked("POST /v1/jobs 409 key_reused", "POST", "/v1/jobs", `{"plan_id":"other","plan_digest":"d","expect_drives":1}`, withKey("a"))
	asked("POST /v1/jobs 400 key_missing", "POST", "/v1/jobs", goodStart)
	asked("GET /v1/jobs 422 usage", "GET", "/v1/jobs?all=1", "")
	asked("GET /v1/jobs 403 cross_site", "GET", "/v1/jobs", "", "Origin: https://elsewhere")
	// Whatever somebody makes up is one route: also by what is none, and methods of their own.
	asked("none 404 not_found", "GET", "/v1/nothing/1", "")
	asked("none 404 not_found", "GET", "/v1/nothing/2", "")
	asked("none 405 method_not_allowed", "BREW", "/v1/jobs/j1", "")
	asked("none 405 method_not_allowed", "HEAD", "/v1/jobs/j1", "")
	asked("none 404 not_found", "GET", "/made/up", "")
	asked("GET / 404 ", "GET", "/a.css", "") // the page's own answer, which is no problem
	// What the service refuses, also to those who only look, and what it fails at.
	s.set(func() { s.fail = api.NewProblem(api.ExitNotFound, "job_not_found", "", errBroken) })
	asked("GET /v1/jobs/{id} 404 job_not_found", "GET", "/v1/jobs/j2", "")
	asked("GET /v1/jobs/{id}/events 404 job_not_found", "GET", "/v1/jobs/j2/events", "")
	asked("POST /v1/jobs/{id}/cancel 404 job_not_found", "POST", "/v1/jobs/j2/cancel", "", withKey("b"))
	s.set(func() { s.fail, s.boom = nil, true })
	asked("GET /v1/drives 500 internal", "GET", "/v1/drives", "")
	v = serveWith(t, testServer(t, Options{Service: s, Answered: told.told}))
	asked("GET /v1/drives 403 forbidden", "GET", "/v1/drives", "")
}

// What an operator would lose: how many follow events, of whom each can be a fleet that waits.
func TestWatchersAreTold(t *testing.T) {
	var gone, now atomic.Int64
	s := &scripted{events: waiting(&gone)}
	v := serve(t, Options{Service: s, Watching: func() func() {
		now.Add(1)
		return func() { now.Add(-1) }
	}})
	var open []*http.Response
	for _, format := range []string{"sse", "ndjson"} {
		a, err := v.Get("http://agent/v1/jobs/j/events?format=" + format)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		open = append(open, a)
	}
	v.ask(t, "GET", "/v1/jobs/j/events?format=xml", "") // is none
	if n := now.Load(); n != 2 {
		t.Errorf("%d watch", n)
	}
	open[0].Body.Close()
	eventually(t, "one has gone", func() bool { return now.Load() == 1 })
	v.stop()
	if n := now.Load(); n != 0 {
		t.Errorf("%d watch when the server has stopped", n)
	}
}
