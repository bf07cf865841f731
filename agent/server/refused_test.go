package server

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/page"
	"github.com/expunge-dev/expunge/internal/peercred"
)

// toldOf keeps what Options.Refused is told.
type toldOf struct {
	mu   sync.Mutex
	list []string
}

func (x *toldOf) refused(who api.Principal, action, path string, p *api.Problem) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list = append(x.list, strings.Join([]string{who.Name, who.Via, action, path, p.Code}, " "))
}

func (x *toldOf) take() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := strings.Join(x.list, "; ")
	x.list = nil
	return all
}

// What an auditor would lose: who tried what, where the service never heard of it.
func TestEveryRefusalOfAnActIsTold(t *testing.T) {
	var told toldOf
	s := &scripted{}
	v := serve(t, Options{Service: s, Refused: told.refused, Page: page.New(s), BodyTime: 50 * time.Millisecond})
	me := fmt.Sprintf("uid:%d unix ", os.Geteuid())
	if r := v.ask(t, "POST", "/v1/jobs", goodStart, withKey("used")); r.status != 202 || told.take() != "" {
		t.Fatalf("%+v", r)
	}
	for name, x := range map[string]struct {
		method, at, body string
		header           []string
		want             string
	}{
		"no key":           {"POST", "/v1/jobs", goodStart, []string{keyHeader + ": "}, "jobs.start /v1/jobs key_missing"},
		"a key of another": {"POST", "/v1/jobs/j1/cancel", "", []string{withKey("used")}, "jobs.cancel /v1/jobs/j1/cancel key_reused"},
		"not JSON":         {"POST", "/v1/plans", "{", nil, "plans.make /v1/plans malformed"},
		"no body":          {"POST", "/v1/plans", "", nil, "plans.make /v1/plans malformed"},
		"unknown member":   {"POST", "/v1/jobs/j1/abandon", `{"why":"x","force":true}`, nil, "jobs.abandon /v1/jobs/j1/abandon usage"},
		"unknown query":    {"POST", "/v1/jobs/j1/resume?force=1", "", nil, "jobs.resume /v1/jobs/j1/resume usage"},
		"not an approval":  {"POST", "/v1/plans/p1/approvals", `{"payload":7}`, nil, "plans.approve /v1/plans/p1/approvals usage"},
		"a form":           {"POST", "/v1/drives/S/locate", "on=1", []string{"Content-Type: text/plain"}, "drives.locate /v1/drives/S/locate media_type"},
		"large":            {"POST", "/v1/jobs", `{"plan_id":"` + strings.Repeat("p", 1<<20) + `"}`, nil, "jobs.start /v1/jobs too_large"},
		"large headers":    {"POST", "/v1/jobs", goodStart, []string{"X-Large: " + strings.Repeat("x", headerLimit)}, "jobs.start /v1/jobs headers_too_large"},
		"another site":     {"POST", "/v1/jobs", goodStart, []string{"Origin: https://elsewhere"}, "jobs.start /v1/jobs cross_site"},
		"halt of a site":   {"PUT", "/v1/halt", `{"halted":false,"reason":"x"}`, []string{"Sec-Fetch-Site: cross-site"}, "halt /v1/halt cross_site"},
		"halt, malformed":  {"PUT", "/v1/halt", `{"halted":true,"halted":false,"reason":"x"}`, nil, "halt /v1/halt malformed"},
		"halt, invalid":    {"PUT", "/v1/halt", `{"halted":"no"}`, nil, "halt /v1/halt usage"},
		"nothing there":    {"POST", "/v1/nothing", "{}", nil, "no such operation /v1/nothing not_found"},
		"other method":     {"DELETE", "/v1/jobs/j1", "", nil, "no such operation /v1/jobs/j1 method_not_allowed"},
		"the page":         {"POST", "/", "", nil, "no such operation / method_not_allowed"},
		"no such GET":      {"GET", "/v1/nothing", "", nil, ""},
		"GET of a site":    {"GET", "/v1/drives", "", []string{"Origin: https://elsewhere"}, ""},
	} {
		want := ""
		if x.want != "" {
			want = me + x.want
		}
		r := v.ask(t, x.method, x.at, x.body, append([]string{withKey(strings.ReplaceAll(name, " ", "-"))}, x.header...)...)
		if got := told.take(); got != want || r.status < 400 {
			t.Errorf("%s: %d, told of %q, want %q", name, r.status, got, want)
		}
	}
	s.seen()
	// What the service refuses it tells itself.
	s.set(func() { s.fail = api.Refusef("mounted", "", "it is in use") })
	for _, x := range [][3]string{{"POST", "/v1/jobs", goodStart}, {"PUT", "/v1/halt", `{"halted":true,"reason":"x"}`}} {
		r := v.ask(t, x[0], x[1], x[2], withKey("fresh"))
		if problemIs(t, r, 409, "mounted", api.ExitRefused); told.take() != "" || len(s.seen()) != 1 {
			t.Errorf("%s: told twice", x[1])
		}
	}
	// Half a body.
	c, err := net.Dial("unix", v.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /v1/jobs HTTP/1.1\r\nHost: agent\r\nContent-Type: application/json\r\n%s: k\r\nContent-Length: 100\r\n\r\n{", keyHeader)
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if got := told.take(); got != me+"jobs.start /v1/jobs too_slow" {
		t.Errorf("half a body: %q", got)
	}
}

// Strangers learn nothing, not even what is there, and their connections end.
func TestStrangersLearnNothing(t *testing.T) {
	var told toldOf
	s := &scripted{fail: fmt.Errorf("open /var/lib/expunge/jobs: %w", os.ErrPermission)}
	v := serveWith(t, testServer(t, Options{Service: s, Refused: told.refused}))
	var first string
	for i, x := range [][2]string{{"GET", "/v1/drives"}, {"GET", "/v1/nothing"}, {"GET", "/v1//drives"}, {"DELETE", "/v1/drives"}, {"GET", "/v1/jobs/j-%00"}, {"POST", "/v1/jobs"}, {"GET", "/%0a"}} {
		r := v.ask(t, x[0], x[1], "", "Origin: https://elsewhere")
		problemIs(t, r, 403, "forbidden", api.ExitPermission)
		if i == 0 {
			first = r.body
		}
		if r.body != first || r.header.Get("Allow") != "" || strings.Contains(r.body, "/var/lib") || strings.Contains(r.body, v.path) {
			t.Errorf("%v: %v %s", x, r.header, r.body)
		}
		if told.take() == "" {
			t.Errorf("%v: nobody was told", x)
		}
	}
	for _, line := range []string{"GET /v1/drives", "OPTIONS *"} {
		c, err := net.Dial("unix", v.path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprint(c, line+" HTTP/1.1\r\nHost: agent\r\n\r\n")
		a, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		a.Body.Close()
		if !a.Close || a.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s, the connection ends: %v", line, a.Status, a.Close)
		}
	}
}

// What a user would lose: an answer to what is simply not there.
func TestWhatNoIDHasIsNotFound(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s})
	for _, id := range []string{"j-%00", "%00", "j%0a1", "j%7f", "%ff", "j%C2%85", strings.Repeat("a", pathLimit+1)} {
		for _, e := range endpoints {
			at := e.at
			for _, is := range []string{"naa.5%2F0", "%2Fdev%2Fsda", "p1", "j1", "j2", "d%2F1"} {
				if strings.Contains(at, "/"+is) {
					at = strings.Replace(e.at, "/"+is, "/"+id, 1)
					r := v.ask(t, e.method, at, e.body, withKey("k"))
					problemIs(t, r, 404, "not_found", api.ExitNotFound)
					if len(r.body) > 1000 {
						t.Errorf("%s: an answer of %d bytes", at[:20], len(r.body))
					}
				}
			}
		}
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("the service was called: %q", calls)
	}
}

// Of whom the kernel does not say who they are nobody learns how the agent is made.
func TestWhomTheKernelDoesNotName(t *testing.T) {
	var told toldOf
	s := testServer(t, Options{Service: &scripted{}, Access: everything(t), Refused: told.refused})
	s.credentials = func(c *net.UnixConn) (peercred.Credentials, error) {
		return peercred.Credentials{UID: uint32(os.Geteuid())}, fmt.Errorf("peer of %s: the kernel does not say who it is", c.LocalAddr())
	}
	v := serveWith(t, s)
	r := v.ask(t, "GET", "/v1/drives", "")
	p := problemIs(t, r, 401, "unauthorized", api.ExitPermission)
	if strings.Contains(p.Detail, v.path) || told.take() != "unknown unix drives.list /v1/drives unauthorized" {
		t.Errorf("%s", p.Detail)
	}
}
