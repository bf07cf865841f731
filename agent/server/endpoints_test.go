package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/page"
	"github.com/expunge-dev/expunge/devices"
)

func withKey(k string) string { return keyHeader + ": " + k }

// endpoints are all that is served, with what the service hears of it.
var endpoints = []struct {
	method, at, body string
	call             string
	status           int
	role             api.Role
}{
	{"GET", "/v1/drives", "", "drives", 200, api.Read},
	{"POST", "/v1/drives/naa.5%2F0/locate", `{"on":true}`, "locate naa.5/0 true", 200, api.Operate},
	{"POST", "/v1/drives/%2Fdev%2Fsda/locate", `{"on":false}`, "locate /dev/sda false", 200, api.Operate},
	{"POST", "/v1/plans", `{"drives":["S1","S2"],"method":"purge"}`, "plan S1,S2 purge", 201, api.Operate},
	{"GET", "/v1/plans/p1", "", "planned p1", 200, api.Read},
	{"POST", "/v1/plans/p1/approvals", `{"payload":"e30=","payloadType":"t","signatures":[{"keyid":"k","sig":"s"}]}`, "approve p1 e30=", 200, api.Approve},
	{"POST", "/v1/jobs", `{"plan_id":"p1","plan_digest":"d1","expect_drives":2,"pins":{"d":"1234"}}`, "start p1 d1 2 map[d:1234]", 202, api.Operate},
	{"GET", "/v1/jobs", "", "jobs", 200, api.Read},
	{"GET", "/v1/jobs/j1", "", "job j1", 200, api.Read},
	{"POST", "/v1/jobs/j1/cancel", "", "cancel j1", 200, api.Operate},
	{"POST", "/v1/jobs/j1/resume", `{"pins":{"d":"1"}}`, "resume j1 map[d:1]", 202, api.Operate},
	{"POST", "/v1/jobs/j2/resume", "", "resume j2 map[]", 202, api.Operate},
	{"POST", "/v1/jobs/j1/abandon", `{"why":"lost"}`, "abandon j1 lost", 200, api.Operate},
	{"GET", "/v1/jobs/j1/events?after=c1", "", "events j1 c1", 200, api.Read},
	{"GET", "/v1/certificates", "", "certificates", 200, api.Read},
	{"GET", "/v1/certificates/j1/d%2F1", "", "certificate j1 d/1", 200, api.Read},
	{"PUT", "/v1/halt", `{"halted":true,"reason":"drill"}`, "halt true drill", 200, api.Operate},
	{"GET", "/v1/halt", "", "halted", 200, api.Read},
	{"GET", "/v1/health", "", "health", 200, api.Read},
}

func TestEveryEndpointReachesTheService(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s})
	for i, e := range endpoints {
		r := v.ask(t, e.method, e.at, e.body, withKey(fmt.Sprint("k", i)))
		if calls := s.seen(); r.status != e.status || !slices.Equal(calls, []string{e.call}) {
			t.Errorf("%s %s: %d %s, calls %v", e.method, e.at, r.status, r.body, calls)
		}
		if s.who.Name != fmt.Sprintf("uid:%d", os.Geteuid()) || s.who.Via != "unix" || !s.who.May(api.Approve) {
			t.Fatalf("who asks: %+v", s.who)
		}
		if want := map[int]string{201: "/v1/plans/p1", 202: "/v1/jobs/j"}[r.status]; !strings.HasPrefix(r.header.Get("Location"), want) {
			t.Errorf("%s: Location %q", e.at, r.header.Get("Location"))
		}
	}
	if r := v.ask(t, "GET", "/v1/certificates/j1/d", ""); r.body != "{\"not\" : \"reformatted\"}\n\n" {
		t.Errorf("certificate: %q", r.body)
	}
	if r := v.ask(t, "GET", "/v1/jobs", ""); r.body != "{\"items\":[]}\n" {
		t.Errorf("no jobs: %q", r.body)
	}
}

// What a user would lose: automation that was written for one of both.
func TestDrivesAreThoseOfTheCommandLine(t *testing.T) {
	hours := int64(7)
	drives := []devices.Drive{{ID: "a<b>&c", Serial: "S\u2028", Nodes: []string{"/dev/sda"}, PowerOnHours: &hours, Reasons: []devices.Reason{{Code: "x", Message: "<&>"}}}, {}}
	v := serve(t, Options{Service: &scripted{drives: drives}})
	var got struct{ Items json.RawMessage }
	if err := json.Unmarshal([]byte(v.ask(t, "GET", "/v1/drives", "").body), &got); err != nil {
		t.Fatal(err)
	}
	var want, line bytes.Buffer
	e := json.NewEncoder(&want) // as the command line's
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(drives); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&line, want.Bytes()); err != nil || line.String() != string(got.Items) {
		t.Fatalf("got  %s\nwant %s, %v", got.Items, line.String(), err)
	}
}

// What a user would lose: somebody does what nobody gave them.
func TestRolesArePerOperation(t *testing.T) {
	for _, role := range append([]api.Role{""}, api.Roles...) {
		s := &scripted{}
		o := Options{Service: s, Access: everything(t, api.Read)}
		if role == "" {
			o.Access = nil
		} else {
			o.Access = everything(t, role)
		}
		var told []string
		o.Refused = func(who api.Principal, action, path string, p *api.Problem) {
			told = append(told, who.Name+" "+action+" "+path+" "+p.Code)
		}
		srv := testServer(t, o)
		v := serveWith(t, srv)
		if role == "" { // a stranger does not even learn what is there
			problemIs(t, v.ask(t, "GET", "/v1/nothing", ""), 403, "forbidden", api.ExitPermission)
			told = nil
		}
		for i, e := range endpoints {
			r := v.ask(t, e.method, e.at, e.body, withKey(fmt.Sprint("k", i)), "X-Roles: operate", "Authorization: Bearer root")
			may := role == e.role || e.at == "/v1/halt" && e.method == "PUT" && role == api.Approve
			if calls := s.seen(); may != (r.status == e.status) || may != (len(calls) == 1) {
				t.Errorf("%q %s %s: %d %s, calls %v", role, e.method, e.at, r.status, r.body, calls)
			}
			if len(told) == 1 == may {
				t.Errorf("%q %s %s: told of %q", role, e.method, e.at, told)
			}
			told = nil
			if !may {
				problemIs(t, r, 403, "forbidden", api.ExitPermission)
				if !strings.Contains(r.body, fmt.Sprintf("uid:%d", os.Geteuid())) {
					t.Errorf("who is refused is not said: %s", r.body)
				}
			}
		}
	}
}

// Whoever has no roles is told of under few names, whatever they ask for: not each of their tries may fill a disk.
func TestForbiddenActionsAreFew(t *testing.T) {
	var mu sync.Mutex
	actions := map[string]bool{}
	v := serveWith(t, testServer(t, Options{Service: &scripted{}, Page: page.New(&scripted{}), Refused: func(_ api.Principal, action, _ string, _ *api.Problem) {
		mu.Lock()
		defer mu.Unlock()
		actions[action] = true
	}}))
	for i := range 5 {
		for _, at := range []string{"/v1/nowhere/%d", "/%d", "/?%d", "/v1/jobs/%d", "/v1/metrics?%d"} {
			problemIs(t, v.ask(t, "GET", fmt.Sprintf(at, i), ""), 403, "forbidden", api.ExitPermission)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(actions) != 3 || !actions["jobs.read"] || !actions["page"] || !actions["no such operation"] {
		t.Errorf("%v", actions)
	}
}

// problemIs checks that an answer is a problem of RFC 9457.
func problemIs(t *testing.T, r reply, status int, code string, exit int) api.Problem {
	t.Helper()
	var p api.Problem
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Errorf("%d %q: %v", r.status, r.body, err)
		return p
	}
	if r.status != status || p.Status != status || p.Code != code || p.ExitStatus != exit || p.Title != http.StatusText(status) || p.Detail == "" || !strings.HasSuffix(p.Type, "/problems/"+code) {
		t.Errorf("want %d %s %d: got %d, %+v", status, code, exit, r.status, p)
	}
	if kind := r.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", code, kind)
	}
	return p
}

// paged is a page of two paths.
type paged struct{ http.Handler }

func (paged) Has(path string) bool { return path == "/" || path == "/a.css" }

// What a program would lose: why it is refused, where the path is not the API's.
func TestBesideThePageEveryErrorIsAProblem(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s, Page: page.New(s)})
	for at, kind := range map[string]string{"/": "text/html; charset=utf-8", "/style.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml"} {
		for _, method := range []string{"GET", "HEAD"} {
			if r := v.ask(t, method, at, ""); r.status != 200 || r.header.Get("Content-Type") != kind {
				t.Errorf("%s %s: %d %s", method, at, r.status, r.header.Get("Content-Type"))
			}
		}
		r := v.ask(t, "POST", at, "")
		if problemIs(t, r, 405, "method_not_allowed", api.ExitUsage); r.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%v", r.header)
		}
	}
	for _, at := range []string{"/v2/jobs", "/jobs", "/style.css/", "/assets/style.css", "/v1", "/v1x/jobs", "/index.html"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			problemIs(t, v.ask(t, method, at, ""), 404, "not_found", api.ExitNotFound)
		}
	}
}

func TestMetricsAndPageNeedRead(t *testing.T) {
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, text, " ", r.URL.Path, " ", api.PrincipalOf(r.Context()).May(api.Read))
		})
	}
	o := Options{Service: &scripted{}, Metrics: says("metrics"), Page: paged{says("page")}}
	v := serve(t, o)
	for at, want := range map[string]string{"/v1/metrics": "metrics /v1/metrics true", "/": "page / true", "/a.css": "page /a.css true"} {
		if r := v.ask(t, "GET", at, ""); r.status != 200 || r.body != want {
			t.Errorf("%s: %d %q", at, r.status, r.body)
		}
	}
	for _, at := range []string{"/v1", "/v1/", "/v1/drives/", "/v1/nothing", "/a/../v1/metrics"} {
		if r := v.ask(t, "GET", at, ""); strings.Contains(r.body, "page") {
			t.Errorf("%s is the page's", at)
		} else {
			problemIs(t, r, 404, "not_found", api.ExitNotFound)
		}
	}
	problemIs(t, v.ask(t, "POST", "/", ""), 405, "method_not_allowed", api.ExitUsage)
	o.Access = everything(t, api.Operate)
	v = serve(t, o)
	problemIs(t, v.ask(t, "GET", "/v1/metrics", ""), 403, "forbidden", api.ExitPermission)
	problemIs(t, v.ask(t, "GET", "/", ""), 403, "forbidden", api.ExitPermission)
	v = serve(t, Options{Service: &scripted{}})
	problemIs(t, v.ask(t, "GET", "/v1/metrics", ""), 404, "not_found", api.ExitNotFound)
	problemIs(t, v.ask(t, "GET", "/", ""), 404, "not_found", api.ExitNotFound)
}
