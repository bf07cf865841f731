package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/agent/server"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a service whose answers say what was asked.
type answering struct {
	mu   sync.Mutex
	asks []string
	fail error
}

func (s *answering) said(ctx context.Context, format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks = append(s.asks, fmt.Sprintf(format, args...)+" "+api.PrincipalOf(ctx).Via)
	return s.fail
}

// reset returns what was asked since the last time; from now on everything fails so.
func (s *answering) reset(fail error) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asks := s.asks
	s.asks, s.fail = nil, fail
	return asks
}

func (s *answering) Drives(ctx context.Context) (api.Drives, error) {
	return api.Drives{Items: []devices.Drive{{ID: "a", Serial: "<S>"}}, NotReached: []devices.NotReached{{Name: "raid"}}}, s.said(ctx, "drives")
}
func (s *answering) plan(id string) api.Plan {
	p := sanitize.Plan{Schema: "x", ID: id, Created: time.Unix(1, 0).UTC(), Drives: []sanitize.DrivePlan{{ID: "a"}}}
	return api.Plan{ID: id, Digest: p.Digest(), Plan: p, ApprovalsNeeded: 2, Approvals: []api.Approved{{Approver: "ann"}}}
}
func (s *answering) Plan(ctx context.Context, r api.PlanRequest) (api.Plan, error) {
	return s.plan("p1"), s.said(ctx, "plan %v %s", r.Drives, r.Method)
}
func (s *answering) Planned(ctx context.Context, id string) (api.Plan, error) {
	return s.plan(id), s.said(ctx, "planned %s", id)
}
func (s *answering) Approve(ctx context.Context, id string, e attest.Envelope) (api.Plan, error) {
	return s.plan(id), s.said(ctx, "approve %s %v", id, e)
}
func (s *answering) job(id string) api.Job {
	return api.Job{ID: id, State: api.JobRunning, ExitStatus: api.ExitInterrupted, Drives: []api.JobDrive{{ID: "a", Outcome: sanitize.Interrupted}}}
}
func (s *answering) Start(ctx context.Context, r api.StartRequest) (api.Job, error) {
	return s.job("j1"), s.said(ctx, "start %v", r)
}
func (s *answering) Jobs(ctx context.Context) ([]api.Job, error) {
	return []api.Job{s.job("j1")}, s.said(ctx, "jobs")
}
func (s *answering) Job(ctx context.Context, id string) (api.Job, error) {
	return s.job(id), s.said(ctx, "job %s", id)
}
func (s *answering) Cancel(ctx context.Context, id string) (api.Cancelled, error) {
	return api.Cancelled{Job: id, Drives: []api.CancelledDrive{{ID: "a", Stopped: true}}}, s.said(ctx, "cancel %s", id)
}
func (s *answering) Resume(ctx context.Context, id string, r api.ResumeRequest) (api.Job, error) {
	return s.job(id), s.said(ctx, "resume %s %v", id, r)
}
func (s *answering) Abandon(ctx context.Context, id string, r api.AbandonRequest) (api.Job, error) {
	return s.job(id), s.said(ctx, "abandon %s %v", id, r)
}
func (s *answering) Events(ctx context.Context, id, after string) iter.Seq2[api.Event, error] {
	err := s.said(ctx, "events %s %s", id, after)
	return func(yield func(api.Event, error) bool) {
		if err != nil {
			yield(api.Event{}, err)
			return
		}
		n, _ := strconv.Atoi(after)
		for n++; n < 5; n++ {
			if !yield(api.Event{Type: api.EventRecord, Seq: int64(n), Cursor: strconv.Itoa(n), Data: json.RawMessage(`{"a":1}`)}, nil) {
				return
			}
		}
		j := s.job(id)
		yield(api.Event{Type: api.EventJob, Whole: &j, Cursor: "5"}, nil)
	}
}
func (s *answering) Certificates(ctx context.Context) ([]api.Certificate, error) {
	return []api.Certificate{{Job: "j1", ID: "a"}}, s.said(ctx, "certificates")
}
func (s *answering) Certificate(ctx context.Context, job string, drive devices.ID) ([]byte, error) {
	return []byte("{ \"as\": \"signed\" }\n"), s.said(ctx, "certificate %s %s", job, drive)
}
func (s *answering) Halt(ctx context.Context, r api.HaltRequest) (api.Halt, error) {
	return api.Halt{HaltRequest: r, By: "ann", GoesOn: []api.CancelledDrive{}}, s.said(ctx, "halt %v", r)
}
func (s *answering) Halted(ctx context.Context) (api.Halt, error) {
	return api.Halt{HaltRequest: api.HaltRequest{Halted: true}, GoesOn: []api.CancelledDrive{}}, s.said(ctx, "halted")
}
func (s *answering) Health(ctx context.Context) (api.Health, error) {
	return api.Health{Status: "ok", PowerOff: []devices.Reason{{Code: "x"}}, Problems: []devices.Reason{}}, s.said(ctx, "health")
}
func (s *answering) Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error) {
	return api.Located{ID: devices.ID(drive), Light: map[bool]string{true: "on", false: "off"}[r.On]}, s.said(ctx, "locate %s %v", drive, r)
}

// calls are all of a service's methods.
var calls = map[string]func(context.Context, api.Service) (any, error){
	"Drives": func(ctx context.Context, s api.Service) (any, error) { return s.Drives(ctx) },
	"Plan": func(ctx context.Context, s api.Service) (any, error) {
		return s.Plan(ctx, api.PlanRequest{Drives: []string{"S1"}, Request: sanitize.Request{Method: sanitize.Purge}})
	},
	"Planned": func(ctx context.Context, s api.Service) (any, error) { return s.Planned(ctx, "p/1") },
	"Approve": func(ctx context.Context, s api.Service) (any, error) {
		return s.Approve(ctx, "p1", attest.Envelope{Payload: "e30=", PayloadType: "t", Signatures: []attest.Signature{{KeyID: "k", Sig: "s"}}})
	},
	"Start": func(ctx context.Context, s api.Service) (any, error) {
		return s.Start(ctx, api.StartRequest{PlanID: "p1", PlanDigest: "d", ExpectDrives: 1, PINs: map[devices.ID]string{"a": "1"}})
	},
	"Jobs":   func(ctx context.Context, s api.Service) (any, error) { return s.Jobs(ctx) },
	"Job":    func(ctx context.Context, s api.Service) (any, error) { return s.Job(ctx, "j?1") },
	"Cancel": func(ctx context.Context, s api.Service) (any, error) { return s.Cancel(ctx, "j1") },
	"Resume": func(ctx context.Context, s api.Service) (any, error) {
		return s.Resume(ctx, "j1", api.ResumeRequest{PINs: map[devices.ID]string{"a": "1"}})
	},
	"Abandon": func(ctx context.Context, s api.Service) (any, error) {
		return s.Abandon(ctx, "j1", api.AbandonRequest{Why: "lost"})
	},
	"Events":       func(ctx context.Context, s api.Service) (any, error) { return collect(s.Events(ctx, "j1", "2")) },
	"Certificates": func(ctx context.Context, s api.Service) (any, error) { return s.Certificates(ctx) },
	"Certificate":  func(ctx context.Context, s api.Service) (any, error) { return s.Certificate(ctx, "j1", "a b/c%") },
	"Halt": func(ctx context.Context, s api.Service) (any, error) {
		return s.Halt(ctx, api.HaltRequest{Halted: true, Reason: "drill"})
	},
	"Halted": func(ctx context.Context, s api.Service) (any, error) { return s.Halted(ctx) },
	"Health": func(ctx context.Context, s api.Service) (any, error) { return s.Health(ctx) },
	"Locate": func(ctx context.Context, s api.Service) (any, error) {
		return s.Locate(ctx, "/dev/sda", api.LocateRequest{On: true})
	},
}

func collect(events iter.Seq2[api.Event, error]) ([]api.Event, error) {
	var list []api.Event
	for e, err := range events {
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
	return list, nil
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// run serves a service at a path until stop.
func run(t *testing.T, path, keys string, s api.Service) (stop func()) {
	t.Helper()
	uid := uint32(os.Geteuid())
	rules, err := access.New([]access.Entry{{UID: &uid, Roles: api.Roles}})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Options{Service: s, Keys: keys, Access: rules})
	if err != nil {
		t.Fatal(err)
	}
	l, err := server.Unix(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func unix(t *testing.T, path string) *Client {
	t.Helper()
	c := Unix(path)
	t.Cleanup(c.Close)
	return c
}

// What a user would lose: the same question has another answer through an agent.
func TestAClientIsTheService(t *testing.T) {
	far, near := &answering{}, &answering{}
	path := socket(t)
	run(t, path, t.TempDir(), far)
	everythingIsTheSame(t, unix(t, path), far, near, "unix")
}

func everythingIsTheSame(t *testing.T, c *Client, far, near *answering, via string) {
	t.Helper()
	if n := reflect.TypeFor[api.Service]().NumMethod(); n != len(calls) {
		t.Fatalf("%d of %d methods are tested", len(calls), n)
	}
	for name, call := range calls {
		far.reset(nil)
		near.reset(nil)
		want, err := call(t.Context(), near)
		if err != nil {
			t.Fatal(err)
		}
		got, err := call(t.Context(), c)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
		if heard, want := far.reset(nil), near.reset(nil); len(heard) != 1 || heard[0] != want[0]+via {
			t.Errorf("%s: the service heard %q, want %q", name, heard, want)
		}
		fail := &api.Problem{Status: 409, Code: "mounted", ExitStatus: api.ExitRefused, Detail: "it is in use", Hint: "unmount it", Reasons: []devices.Reason{{Code: "mounted", Message: "m"}}}
		far.reset(fail)
		_, err = call(t.Context(), c)
		var p *api.Problem
		if !errors.As(err, &p) || !reflect.DeepEqual(p, fail) {
			t.Errorf("%s: %#v", name, err)
		}
	}
}

// A plan that comes back has the digest that it had.
func TestPlansKeepTheirDigest(t *testing.T) {
	path := socket(t)
	run(t, path, t.TempDir(), &answering{})
	p, err := unix(t, path).Planned(t.Context(), "p1")
	if err != nil || p.Plan.Digest() != p.Digest {
		t.Errorf("%v: %s, want %s", err, p.Plan.Digest(), p.Digest)
	}
}

func TestNobodyIsThere(t *testing.T) {
	path := socket(t)
	c := unix(t, path)
	check := func(what string) {
		t.Helper()
		for name, call := range calls {
			if name == "Events" {
				continue // waits for the agent
			}
			_, err := call(t.Context(), c)
			var p *api.Problem
			if !errors.Is(err, ErrNotRunning) || !errors.As(err, &p) || p.Code != "not_running" || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
	check("no socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	check("a socket that nobody listens on")
	c.patience = time.Millisecond
	if _, err := collect(c.Events(t.Context(), "j", "")); !errors.Is(err, ErrNotRunning) {
		t.Errorf("events: %v", err)
	}
}

// scene plays an agent by hand: each connection is given to the next of plays, the last one to all others.
func scene(t *testing.T, plays ...func(*http.Request, net.Conn)) *Client {
	t.Helper()
	path := socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			play := plays[min(i, len(plays)-1)]
			all.Go(func() {
				defer c.Close()
				if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					play(r, c)
				}
			})
		}
	})
	return unix(t, path)
}

// notes are what plays noted, in order.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

// take returns them, and forgets them.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

func says(status, kind, body string) func(*http.Request, net.Conn) {
	return func(_ *http.Request, c net.Conn) {
		fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, kind, len(body), body)
	}
}

func hangsUp(*http.Request, net.Conn) {}

// What a user would lose: an act is done twice, because it was asked for twice.
func TestActsAreRepeatedWithTheirKey(t *testing.T) {
	noted := &notes{}
	var keys []string
	note := func(play func(*http.Request, net.Conn)) func(*http.Request, net.Conn) {
		return func(r *http.Request, c net.Conn) {
			noted.add(r.Header.Get("Idempotency-Key"))
			play(r, c)
		}
	}
	busy := says("409 Conflict", "application/problem+json", `{"type":"t","title":"t","status":409,"detail":"d","code":"busy","exit_status":5}`)
	cut := func(_ *http.Request, c net.Conn) {
		io.WriteString(c, "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"id\"")
	}
	good := says("202 Accepted", "application/json", `{"id":"j1","state":"running"}`)
	c := scene(t, note(hangsUp), note(cut), note(busy), note(good))
	for n := range 2 {
		j, err := c.Start(t.Context(), api.StartRequest{})
		if err != nil || j.ID != "j1" {
			t.Fatalf("%+v, %v", j, err)
		}
		keys = append(keys, noted.take()...)
		if want := 4 + n; len(keys) != want {
			t.Fatalf("%q", keys)
		}
	}
	if keys[0] == "" || keys[0] != keys[1] || keys[0] != keys[2] || keys[0] != keys[3] || keys[0] == keys[4] {
		t.Errorf("%q", keys)
	}
	_, err := c.Start(WithKey(t.Context(), "mine"), api.StartRequest{})
	if given := noted.take(); err != nil || len(given) != 1 || given[0] != "mine" {
		t.Errorf("%q, %v", given, err)
	}
}

// An agent that went away while it was asked may have done it: that is not "nobody was there".
func TestAnAgentThatWentAwayMayHaveActed(t *testing.T) {
	path := socket(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		l.Close()
		if err == nil {
			_, _ = http.ReadRequest(bufio.NewReader(c))
			c.Close()
		}
	}()
	_, err = unix(t, path).Start(t.Context(), api.StartRequest{})
	var p *api.Problem
	if errors.Is(err, ErrNotRunning) || !errors.As(err, &p) || p.Code != "connection" || !strings.Contains(p.Hint, "may have been done") {
		t.Errorf("%v", err)
	}
	<-done
}

// One that is at what was asked over a connection that broke may have done it, and has not refused it.
func TestAnAgentThatIsStillAtItMayHaveActed(t *testing.T) {
	c := scene(t, func(*http.Request, net.Conn) {}, says("409 Conflict", "application/problem+json", `{"code":"busy","detail":"a request with this key is under way","exit_status":5}`))
	_, err := c.Start(t.Context(), api.StartRequest{})
	var p *api.Problem
	if !MayBeDone(err) || !errors.As(err, &p) || p.Code != "connection" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c = scene(t, func(*http.Request, net.Conn) { cancel() })
	if _, err := c.Start(ctx, api.StartRequest{}); !MayBeDone(err) {
		t.Errorf("left while it was asked: %v", err)
	}
	for _, code := range []string{"busy", "halted", "forbidden"} {
		c := scene(t, says("409 Conflict", "application/problem+json", `{"code":"`+code+`","detail":"no","exit_status":5}`))
		if _, err := c.Start(t.Context(), api.StartRequest{}); err == nil || MayBeDone(err) {
			t.Errorf("the agent said %s: %v", code, err)
		}
	}
	if _, err := unix(t, socket(t)).Start(t.Context(), api.StartRequest{}); err == nil || MayBeDone(err) {
		t.Errorf("nobody was there: %v", err)
	}
}

// What a user would lose: "nothing was done", of a job that runs. Only what came of the act itself says so once a connection broke.
func TestAfterABrokenConnectionOnlyTheActsOwnAnswerIsCertain(t *testing.T) {
	const kind = "application/problem+json"
	refusal := func(code string) string { return `{"code":"` + code + `","detail":"no","exit_status":5}` }
	for code, status := range map[string]string{"stopping": "503 Service Unavailable", "halted": "503 Service Unavailable", "too_many_requests": "429 Too Many Requests",
		"too_many_keys": "429 Too Many Requests", "forbidden": "403 Forbidden", "unauthorized": "401 Unauthorized", "internal": "500 Internal Server Error",
		"no_room": "507 Insufficient Storage", api.CodeNotBegun: "507 Insufficient Storage", "not_found": "404 Not Found", "key_reused": "409 Conflict", "mounted": "409 Conflict"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel() // some are asked again, with pauses
			no := says(status, kind, refusal(code))
			_, err := scene(t, hangsUp, no).Start(t.Context(), api.StartRequest{})
			var p *api.Problem
			if !MayBeDone(err) || !errors.As(err, &p) || p.Code != "connection" || !strings.Contains(p.Hint, "may have been done") {
				t.Error(err)
			}
			if _, err = scene(t, hangsUp, no).Halt(t.Context(), api.HaltRequest{Halted: true}); !MayBeDone(err) {
				t.Errorf("without a key: %v", err)
			}
			if _, err := scene(t, no).Start(t.Context(), api.StartRequest{}); err == nil || MayBeDone(err) {
				t.Errorf("no connection broke: %v", err)
			}
		})
	}
	_, err := scene(t, hangsUp, says("503 Service Unavailable", kind, refusal("stopping")), says("409 Conflict", kind, refusal("mounted"))).Start(t.Context(), api.StartRequest{})
	if !MayBeDone(err) {
		t.Errorf("later: %v", err)
	}
	_, err = scene(t, hangsUp, says("409 Conflict", kind+"\r\nExpunge-Answer-Kept: yes", refusal("mounted"))).Start(t.Context(), api.StartRequest{})
	var p *api.Problem
	if MayBeDone(err) || !errors.As(err, &p) || p.Code != "mounted" {
		t.Errorf("the act's own answer: %v", err)
	}
	_, err = scene(t, hangsUp, says("404 Not Found", kind, refusal("not_found"))).Job(t.Context(), "j")
	if !errors.As(err, &p) || p.Code != "not_found" {
		t.Errorf("what was only looked at: %v", err)
	}
}

// What a user would lose: a halt that somebody began, because the end of another was asked for twice.
func TestTheEndOfAHaltIsNotAskedForTwice(t *testing.T) {
	noted := &notes{}
	acted := func(r *http.Request, _ net.Conn) { noted.add(r.Method) } // and hung up
	half := func(r *http.Request, c net.Conn) {
		acted(r, c)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"halted\"")
	}
	busy := says("503 Service Unavailable", "application/problem+json", `{"code":"stopping","detail":"not now","exit_status":10}`)
	page := func(r *http.Request, c net.Conn) {
		acted(r, c)
		says("200 OK", "text/html", "<p>")(r, c)
	}
	for name, plays := range map[string][]func(*http.Request, net.Conn){
		"no answer": {acted}, "half an answer": {half}, "after it was told to come again": {busy, acted}, "another form": {page},
	} {
		_, err := scene(t, plays...).Halt(t.Context(), api.HaltRequest{})
		var p *api.Problem
		if asked := len(noted.take()); asked != 1 || !MayBeDone(err) || !errors.As(err, &p) || p.ExitStatus != api.ExitInternal || !strings.Contains(p.Hint, "the halt may have ended") {
			t.Errorf("%s: asked %d times: %v", name, asked, err)
		}
	}
	good := says("200 OK", "application/json", `{"halted":true,"goes_on":[]}`)
	h, err := scene(t, acted, half, good).Halt(t.Context(), api.HaltRequest{Halted: true, Reason: "drill"})
	if asked := len(noted.take()); err != nil || !h.Halted || asked != 2 {
		t.Errorf("the beginning of one: asked %d times before it was answered: %v", asked, err)
	}
	if _, err := scene(t, busy, says("200 OK", "application/json", `{"halted":false,"goes_on":[]}`)).Halt(t.Context(), api.HaltRequest{}); err != nil {
		t.Errorf("what was not done is asked for again: %v", err)
	}
	if _, err := unix(t, socket(t)).Halt(t.Context(), api.HaltRequest{}); !errors.Is(err, ErrNotRunning) || MayBeDone(err) {
		t.Errorf("nobody was there: %v", err)
	}
}

// An agent that is being replaced, or has too much to do, is asked again.
func TestWhatIsOfTheMomentIsAskedAgain(t *testing.T) {
	for code, status := range map[string]string{"stopping": "503 Service Unavailable", "too_many_requests": "429 Too Many Requests", "busy": "409 Conflict"} {
		moment := says(status, "application/problem+json", `{"code":"`+code+`","detail":"not now","exit_status":5}`)
		j, err := scene(t, moment, says("202 Accepted", "application/json", `{"id":"j1","state":"running"}`)).Start(t.Context(), api.StartRequest{})
		if err != nil || j.ID != "j1" {
			t.Errorf("%s: %+v, %v", code, j, err)
		}
	}
}

// What a user would lose: "done" from an agent that did not say so.
func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	const problem = "application/problem+json"
	for name, x := range map[string]struct{ status, kind, body string }{
		"a page":                        {"202 Accepted", "text/html", "<p>done"},
		"nothing":                       {"202 Accepted", "application/json", ""},
		"half":                          {"202 Accepted", "application/json", `{"id":"j1",`},
		"a list":                        {"202 Accepted", "application/json", `[]`},
		"null":                          {"202 Accepted", "application/json", `null`},
		"no job":                        {"202 Accepted", "application/json", `{}`},
		"a job without a state":         {"202 Accepted", "application/json", `{"id":"j1","exit_status":0}`},
		"another status":                {"200 OK", "application/json", `{"id":"j1","state":"ended"}`},
		"elsewhere":                     {"307 Temporary Redirect\r\nLocation: http://elsewhere/", "application/json", `{"id":"j1","state":"ended"}`},
		"a gateway":                     {"502 Bad Gateway", "text/html", "<p>"},
		"a problem that is a page":      {"409 Conflict", "application/json", `{"code":"x","detail":"d","exit_status":5}`},
		"a problem without a code":      {"409 Conflict", problem, `{"detail":"d","exit_status":5}`},
		"a problem that says success":   {"409 Conflict", problem, `{"detail":"d","code":"x","exit_status":0}`},
		"a problem that is not JSON":    {"409 Conflict", problem, `x`},
		"a problem that says no reason": {"409 Conflict", problem, `{"code":"x","exit_status":5}`},
	} {
		c := scene(t, says(x.status, x.kind, x.body))
		j, err := c.Start(t.Context(), api.StartRequest{})
		var p *api.Problem
		if !errors.As(err, &p) || p.Code != "garbled" || p.ExitStatus != api.ExitInternal {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
	endless := func(_ *http.Request, c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
		for block := strings.Repeat(" ", 1<<20); ; {
			if _, err := io.WriteString(c, block); err != nil {
				return
			}
		}
	}
	if _, err := scene(t, endless).Health(t.Context()); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an endless answer: %v", err)
	}
	for name, call := range calls {
		_, err := call(t.Context(), scene(t, says("200 OK", "application/json", "{}")))
		if harmless := name == "Drives" || name == "Halted" || name == "Certificate" || name == "Cancel" || name == "Locate"; err == nil && !harmless {
			t.Errorf("%s: an empty answer was taken", name)
		}
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	c := scene(t, func(*http.Request, net.Conn) { <-hold })
	for name, call := range calls {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := call(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		c.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := scene(t, hangsUp).Health(ctx); err == nil {
		t.Error("asked again after the end")
	}
	cancel()
}
