package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/api"
)

const goodStart = `{"plan_id":"p","plan_digest":"d","expect_drives":1}`

// What a user would lose: something is begun that nobody asked for in so many words.
func TestWhatIsNoRequestNeverReachesTheService(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s})
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, x := range map[string]struct {
		method, at, body string
		header           []string
		status           int
		code             string
		exit             int
		location         string
	}{
		"unknown path":           {"GET", "/v1/nothing", "", nil, 404, "not_found", 3, ""},
		"unknown path posted":    {"POST", "/v1/nothing", "{}", nil, 404, "not_found", 3, ""},
		"unclean path":           {"GET", "/v1/./drives", "", nil, 404, "not_found", 3, ""},
		"two slashes":            {"GET", "/v1//drives", "", nil, 404, "not_found", 3, ""},
		"empty id":               {"GET", "/v1/jobs/", "", nil, 404, "not_found", 3, ""},
		"wrong method":           {"DELETE", "/v1/jobs/j", "", nil, 405, "method_not_allowed", 2, ""},
		"HEAD":                   {"PATCH", "/v1/jobs", "", nil, 405, "method_not_allowed", 2, ""},
		"OPTIONS":                {"OPTIONS", "/v1/jobs", "", nil, 405, "method_not_allowed", 2, ""},
		"a body of GET":          {"GET", "/v1/drives", "{}", nil, 400, "malformed", 2, "body"},
		"unknown query":          {"GET", "/v1/drives?al=1", "", nil, 422, "usage", 2, "query.al"},
		"unreadable query":       {"GET", "/v1/health?x=%zz;", "", nil, 400, "malformed", 2, ""},
		"unreadable cursor":      {"GET", "/v1/jobs/j/events?after=%zz", "", nil, 400, "malformed", 2, ""},
		"unknown format":         {"GET", "/v1/jobs/j/events?format=xml", "", nil, 422, "usage", 2, "query.format"},
		"no key":                 {"POST", "/v1/jobs", goodStart, []string{keyHeader + ": "}, 400, "key_missing", 2, ""},
		"long key":               {"POST", "/v1/jobs", goodStart, []string{withKey(strings.Repeat("k", 256))}, 400, "key_missing", 2, ""},
		"key beyond ASCII":       {"POST", "/v1/jobs", goodStart, []string{withKey("kéy")}, 400, "key_missing", 2, ""},
		"no body":                {"POST", "/v1/jobs", "", nil, 400, "malformed", 2, ""},
		"not JSON":               {"POST", "/v1/jobs", "plan_id=p", nil, 400, "malformed", 2, "body"},
		"half a document":        {"POST", "/v1/jobs", goodStart[:20], nil, 400, "malformed", 2, ""},
		"two documents":          {"POST", "/v1/jobs", goodStart + goodStart, nil, 400, "malformed", 2, "body"},
		"something behind":       {"POST", "/v1/jobs", goodStart + "x", nil, 400, "malformed", 2, "body"},
		"null":                   {"POST", "/v1/jobs", "null", nil, 422, "usage", 2, "body"},
		"a list":                 {"POST", "/v1/jobs", "[]", nil, 422, "usage", 2, "body"},
		"twice":                  {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1,"plan_id":"q"}`, nil, 400, "malformed", 2, "body.plan_id"},
		"twice by escapes":       {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1,"pl\u0061n_id":"q"}`, nil, 400, "malformed", 2, "body.plan_id"},
		"twice below":            {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1,"pins":{"a":"1","a":"2"}}`, nil, 400, "malformed", 2, "body.pins.a"},
		"in another case":        {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1,"PLAN_ID":"q"}`, nil, 422, "usage", 2, "body.PLAN_ID"},
		"unknown member":         {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1,"force":true}`, nil, 422, "usage", 2, "body.force"},
		"unknown member below":   {"POST", "/v1/plans", `{"drives":["S"],"given":{"colour":"red"}}`, nil, 422, "usage", 2, "body.given.colour"},
		"missing member":         {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d"}`, nil, 422, "usage", 2, "body"},
		"wrong type":             {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":"1"}`, nil, 422, "usage", 2, "body.expect_drives"},
		"wrong type in a list":   {"POST", "/v1/plans", `{"drives":["S",1]}`, nil, 422, "usage", 2, "body.drives[1]"},
		"a PIN that is a number": {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1,"pins":{"a":73519}}`, nil, 422, "usage", 2, "body.pins.a"},
		"half a drive":           {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1.5}`, nil, 422, "usage", 2, "body.expect_drives"},
		"too many drives":        {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1e30}`, nil, 422, "usage", 2, "body"},
		"beyond all numbers":     {"POST", "/v1/jobs", `{"plan_id":"p","plan_digest":"d","expect_drives":1e999}`, nil, 400, "malformed", 2, "body"},
		"not UTF-8":              {"POST", "/v1/jobs", "{\"plan_id\":\"\xff\"}", nil, 400, "malformed", 2, "body"},
		"deep":                   {"POST", "/v1/jobs", deep, nil, 400, "malformed", 2, ""},
		"a member of nothing":    {"POST", "/v1/jobs/j/cancel", `{"force":true}`, nil, 422, "usage", 2, "body.force"},
		"large":                  {"POST", "/v1/jobs", `{"plan_id":"` + strings.Repeat("p", 1<<20) + `"}`, nil, 413, "too_large", 2, ""},
		"a form":                 {"POST", "/v1/jobs", goodStart, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "media_type", 2, ""},
		"text":                   {"POST", "/v1/jobs", goodStart, []string{"Content-Type: text/plain"}, 415, "media_type", 2, ""},
		"no type":                {"POST", "/v1/jobs", goodStart, []string{"Content-Type: "}, 415, "media_type", 2, ""},
		"another charset":        {"POST", "/v1/jobs", goodStart, []string{"Content-Type: application/json; charset=latin1"}, 415, "media_type", 2, ""},
		"compressed":             {"POST", "/v1/jobs", goodStart, []string{"Content-Encoding: gzip"}, 415, "media_type", 2, ""},
		"large headers":          {"GET", "/v1/drives", "", []string{"X-Large: " + strings.Repeat("x", headerLimit)}, 431, "headers_too_large", 2, ""},
		"another site":           {"GET", "/v1/drives", "", []string{"Sec-Fetch-Site: cross-site"}, 403, "cross_site", 4, ""},
		"another host of a site": {"POST", "/v1/jobs", goodStart, []string{"Sec-Fetch-Site: same-site"}, 403, "cross_site", 4, ""},
		"another origin":         {"POST", "/v1/jobs", goodStart, []string{"Origin: https://elsewhere"}, 403, "cross_site", 4, ""},
		"no origin":              {"POST", "/v1/jobs", goodStart, []string{"Origin: null"}, 403, "cross_site", 4, ""},
		"an origin without TLS":  {"POST", "/v1/jobs", goodStart, []string{"Origin: http://agent"}, 403, "cross_site", 4, ""},
	} {
		t.Run(name, func(t *testing.T) {
			header := append([]string{withKey("k" + strings.ReplaceAll(name, " ", "-"))}, x.header...)
			r := v.ask(t, x.method, x.at, x.body, header...)
			p := problemIs(t, r, x.status, x.code, x.exit)
			if x.location != "" && (len(p.Errors) == 0 || p.Errors[0].Location != x.location) {
				t.Errorf("location: %+v, want %s", p.Errors, x.location)
			}
			if strings.Contains(r.body, "73519") {
				t.Errorf("the PIN is in the answer: %s", r.body)
			}
			if r.header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("other sites may read it")
			}
		})
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Fatalf("the service was called: %v", calls)
	}
	// Our own page may ask.
	if r := v.ask(t, "GET", "/v1/drives", "", "Sec-Fetch-Site: same-origin", "Origin: https://agent"); r.status != 200 {
		t.Errorf("same origin: %d %s", r.status, r.body)
	}
}

func TestErrorsOfTheServiceAreProblems(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s})
	for i, x := range []struct {
		err    error
		status int
		code   string
		exit   int
	}{
		{api.Refusef("mounted", "unmount it", "it is in use"), 409, "mounted", api.ExitRefused},
		{api.NewProblem(api.ExitRefused, "halted", "", errBroken), 503, "halted", api.ExitRefused},
		{api.NewProblem(api.ExitNotFound, "not_found", "", errBroken), 404, "not_found", api.ExitNotFound},
		{errBroken, 500, "internal", api.ExitInternal},
		{fmt.Errorf("plan: %w", &api.Problem{Detail: "without a status", Code: "odd", Title: "Internal Server Error", Type: "/problems/odd"}), 500, "odd", 0},
	} {
		s.set(func() { s.fail = x.err })
		problemIs(t, v.ask(t, "GET", "/v1/drives", ""), x.status, x.code, x.exit)
		problemIs(t, v.ask(t, "POST", "/v1/jobs", goodStart, withKey(fmt.Sprint(i))), x.status, x.code, x.exit)
		problemIs(t, v.ask(t, "GET", "/v1/jobs/j/events", ""), x.status, x.code, x.exit)
	}
	s.set(func() { s.fail, s.boom = nil, true })
	for _, r := range []reply{v.ask(t, "GET", "/v1/drives", ""), v.ask(t, "POST", "/v1/jobs", goodStart, withKey("boom"))} {
		problemIs(t, r, 500, "internal", api.ExitInternal)
		if strings.Contains(r.body, "goroutine") || strings.Contains(r.body, "index out of range") {
			t.Errorf("the client sees the inside: %s", r.body)
		}
	}
}

// What a user would lose: the agent, to somebody who says half a sentence and waits.
func TestSlowBodiesAreCutOff(t *testing.T) {
	s := &scripted{}
	v := serve(t, Options{Service: s, BodyTime: 50 * time.Millisecond})
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
	defer a.Body.Close()
	if a.StatusCode != http.StatusRequestTimeout || a.Header.Get("Content-Type") != problemType || !a.Close {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if calls := s.seen(); len(calls) != 0 {
		t.Errorf("the service was called: %v", calls)
	}
}

// The same of a body that nobody reads, because its sender may not ask.
func TestSlowBodiesOfStrangersAreCutOff(t *testing.T) {
	srv := testServer(t, Options{Service: &scripted{}, BodyTime: 50 * time.Millisecond})
	v := serveWith(t, srv)
	c, err := net.Dial("unix", v.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /v1/jobs HTTP/1.1\r\nHost: agent\r\nContent-Length: 100\r\n\r\n{")
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if said, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(said), "HTTP/1.1 403") {
		t.Errorf("%v, %q", err, said)
	}
}

func TestOneUserCannotTakeEverything(t *testing.T) {
	t.Run("all connections", func(t *testing.T) { takes(t, Options{Requests: 2, Connections: 4, PeerShare: 100}) })
	t.Run("a peer's", func(t *testing.T) { takes(t, Options{Requests: 2, Connections: 100, PeerShare: 4}) })
}

func takes(t *testing.T, o Options) {
	hold := make(chan struct{})
	s := &scripted{hold: hold}
	o.Service = s
	v := serve(t, o)
	answers := make(chan reply, 2)
	for range 2 {
		go func() {
			r, _ := v.try("GET", "/v1/drives", "")
			answers <- r
		}()
	}
	eventually(t, "two requests are under way", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.calls) == 2
	})
	r := v.ask(t, "GET", "/v1/jobs", "")
	problemIs(t, r, 429, "too_many_requests", api.ExitRefused)
	if r.header.Get("Retry-After") == "" {
		t.Error("when to come back is not said")
	}
	// Three connections are open; the fourth is taken, a fifth is closed unheard.
	var held []net.Conn
	refused := func() bool {
		c, err := net.Dial("unix", v.path)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err = c.Read(make([]byte, 1))
		held = append(held, c)
		late, ok := err.(net.Error)
		return !ok || !late.Timeout()
	}
	eventually(t, "a connection is refused", refused)
	if len(held) > 4 {
		t.Errorf("%d connections were taken", len(held))
	}
	close(hold)
	for range 2 {
		if r := <-answers; r.status != 200 {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	for _, c := range held {
		c.Close()
	}
	eventually(t, "there is room again", func() bool { return !refused() })
	for _, c := range held {
		c.Close()
	}
}

// What a user would lose: half a page that looks whole.
func TestHalfAnAnswerIsNotWhole(t *testing.T) {
	o := Options{Service: &scripted{}, Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("drives_total 7\n", 1000))
		var none []int
		_ = none[len(w.Header())]
	})}
	v := serve(t, o)
	if r, err := v.try("GET", "/v1/metrics", ""); err == nil {
		t.Errorf("%d, %d bytes", r.status, len(r.body))
	}
	if r := v.ask(t, "GET", "/v1/jobs", ""); r.status != 200 {
		t.Errorf("afterwards: %+v", r)
	}
}
