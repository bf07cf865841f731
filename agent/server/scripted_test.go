package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/access"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

// scripted is a service that does what a test says, and keeps who asked for what.
type scripted struct {
	mu    sync.Mutex
	calls []string
	who   api.Principal

	fail   error
	hold   chan struct{} // acts wait until it is closed, or for their context
	events func(ctx context.Context, id, after string) iter.Seq2[api.Event, error]
	drives []devices.Drive
	boom   bool
}

func (s *scripted) called(ctx context.Context, format string, args ...any) error {
	s.mu.Lock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
	s.who = api.PrincipalOf(ctx)
	fail, hold, boom := s.fail, s.hold, s.boom
	s.mu.Unlock()
	if boom {
		var none []int
		_ = none[len(s.calls)]
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fail
}

// seen are the calls since it was asked last.
func (s *scripted) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *scripted) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *scripted) Drives(ctx context.Context) (api.Drives, error) {
	return api.Drives{Items: s.drives}, s.called(ctx, "drives")
}
func (s *scripted) Plan(ctx context.Context, r api.PlanRequest) (api.Plan, error) {
	return api.Plan{ID: "p1", Digest: "d1", Approvals: []api.Approved{}}, s.called(ctx, "plan %s %s", strings.Join(r.Drives, ","), r.Method)
}
func (s *scripted) Planned(ctx context.Context, id string) (api.Plan, error) {
	return api.Plan{ID: id, Digest: "d1", Plan: sanitize.Plan{Schema: "s"}}, s.called(ctx, "planned %s", id)
}
func (s *scripted) Approve(ctx context.Context, id string, e attest.Envelope) (api.Plan, error) {
	return api.Plan{ID: id}, s.called(ctx, "approve %s %s", id, e.Payload)
}
func (s *scripted) Start(ctx context.Context, r api.StartRequest) (api.Job, error) {
	err := s.called(ctx, "start %s %s %d %v", r.PlanID, r.PlanDigest, r.ExpectDrives, r.PINs)
	s.mu.Lock()
	defer s.mu.Unlock()
	return api.Job{ID: fmt.Sprintf("j%d", len(s.calls)), State: api.JobRunning, Drives: []api.JobDrive{}, ExitStatus: api.ExitInterrupted}, err
}
func (s *scripted) Jobs(ctx context.Context) ([]api.Job, error) {
	return nil, s.called(ctx, "jobs")
}
func (s *scripted) Job(ctx context.Context, id string) (api.Job, error) {
	return api.Job{ID: id, State: api.JobEnded}, s.called(ctx, "job %s", id)
}
func (s *scripted) Cancel(ctx context.Context, id string) (api.Cancelled, error) {
	return api.Cancelled{Job: id}, s.called(ctx, "cancel %s", id)
}
func (s *scripted) Resume(ctx context.Context, id string, r api.ResumeRequest) (api.Job, error) {
	return api.Job{ID: id, State: api.JobRunning}, s.called(ctx, "resume %s %v", id, r.PINs)
}
func (s *scripted) Abandon(ctx context.Context, id string, r api.AbandonRequest) (api.Job, error) {
	return api.Job{ID: id, State: api.JobEnded}, s.called(ctx, "abandon %s %s", id, r.Why)
}
func (s *scripted) Events(ctx context.Context, id, after string) iter.Seq2[api.Event, error] {
	if err := s.called(ctx, "events %s %s", id, after); err != nil || s.events == nil {
		return func(yield func(api.Event, error) bool) {
			if err != nil {
				yield(api.Event{}, err)
			}
		}
	}
	return s.events(ctx, id, after)
}
func (s *scripted) Certificates(ctx context.Context) ([]api.Certificate, error) {
	return []api.Certificate{{Job: "j1", ID: "d"}}, s.called(ctx, "certificates")
}
func (s *scripted) Certificate(ctx context.Context, job string, drive devices.ID) ([]byte, error) {
	return []byte("{\"not\" : \"reformatted\"}\n\n"), s.called(ctx, "certificate %s %s", job, drive)
}
func (s *scripted) Halt(ctx context.Context, r api.HaltRequest) (api.Halt, error) {
	return api.Halt{HaltRequest: r}, s.called(ctx, "halt %v %s", r.Halted, r.Reason)
}
func (s *scripted) Halted(ctx context.Context) (api.Halt, error) {
	return api.Halt{HaltRequest: api.HaltRequest{Halted: true, Reason: "drill"}, By: "uid:0"}, s.called(ctx, "halted")
}
func (s *scripted) Health(ctx context.Context) (api.Health, error) {
	return api.Health{Status: "ok"}, s.called(ctx, "health")
}
func (s *scripted) Locate(ctx context.Context, drive string, r api.LocateRequest) (api.Located, error) {
	return api.Located{Serial: drive, Light: map[bool]string{true: "on", false: "off"}[r.On]}, s.called(ctx, "locate %s %v", drive, r.On)
}

// everything gives the user of the tests all roles.
func everything(t *testing.T, roles ...api.Role) *access.Rules {
	t.Helper()
	uid := uint32(os.Geteuid())
	if len(roles) == 0 {
		roles = api.Roles
	}
	r, err := access.New([]access.Entry{{UID: &uid, Roles: roles}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testServer(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Keys == "" {
		o.Keys = filepath.Join(t.TempDir(), "keys")
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// served is a server on a Unix socket, until the test ends or stop is called.
type served struct {
	*http.Client
	path string
	base string // of addresses
	stop func()
}

func serve(t *testing.T, o Options) *served {
	t.Helper()
	if o.Access == nil {
		o.Access = everything(t)
	}
	return serveWith(t, testServer(t, o))
}

func serveWith(t *testing.T, s *Server) *served {
	t.Helper()
	// Paths of sockets are short: 107 bytes.
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	l, err := Unix(path, 0o660, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	v := &served{Client: &http.Client{Transport: transport}, path: path, base: "http://agent"}
	v.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		transport.CloseIdleConnections()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(v.stop)
	return v
}

// reply is what was answered.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request. Header is "Name: value" lines.
func (v *served) ask(t *testing.T, method, at, body string, header ...string) reply {
	t.Helper()
	r, err := v.try(method, at, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, at, err)
	}
	return r
}

func (v *served) try(method, at, body string, header ...string) (reply, error) {
	return v.tryContext(context.Background(), method, at, body, header...)
}

func (v *served) tryContext(ctx context.Context, method, at, body string, header ...string) (reply, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, v.base+at, reader)
	if err != nil {
		return reply{}, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			r.Header.Del(name)
			continue
		}
		r.Header.Set(name, value)
	}
	a, err := v.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer a.Body.Close()
	data, err := io.ReadAll(a.Body)
	return reply{a.StatusCode, a.Header, string(data)}, err
}

// eventually waits for something that another goroutine brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

var errBroken = errors.New("the shelf is on fire")
