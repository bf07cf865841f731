package service

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var canary = []byte("CUSTOMER-DATA-7f3a")

// site is a rack, and the state of an agent beside it.
type site struct {
	t     *testing.T
	rack  *virtual.Rack
	state string
	ctx   context.Context // of somebody who may everything
	open  devices.Opener  // the rack's, where a test does not watch it
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, rack, filepath.Join(dir, "state"), as(t.Context(), "uid:0", api.Roles...), rack.Opener()}
}

func as(ctx context.Context, name string, roles ...api.Role) context.Context {
	return api.WithPrincipal(ctx, api.Principal{Name: name, Roles: roles, Via: "unix"})
}

// drive puts a drive full of customer data into the rack.
func (s *site) drive(serial, profile string, size int64, faults ...string) {
	s.t.Helper()
	if _, err := s.rack.Add(virtual.Spec{Profile: profile, Serial: serial, SizeBytes: size}); err != nil {
		s.t.Fatal(err)
	}
	if err := s.rack.Populate(serial, canary); err != nil {
		s.t.Fatal(err)
	}
	for _, text := range faults {
		f, err := virtual.ParseFault(text)
		if err == nil {
			err = s.rack.Fault(serial, f)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// serve makes a resident service; it ends with the test unless it was closed before.
func (s *site) serve(change func(*Options)) *Service {
	s.t.Helper()
	pins := &PINs{}
	host := devices.NewHost(s.rack.Root(), s.open, nil)
	a, err := agent.Open(agent.Options{Host: host, StateDir: s.state, Owner: agent.Owner{Kind: "rack", ID: s.rack.ID()}, Version: "test", PIN: pins.Give})
	if err != nil {
		s.t.Fatal(err)
	}
	o := Options{Agent: a, Host: host, Resident: true, PINs: pins}
	if change != nil {
		change(&o)
	}
	x, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.close(x) })
	return x
}

func (s *site) close(x *Service) {
	s.t.Helper()
	x.mu.Lock()
	closed := x.closing
	x.mu.Unlock()
	if closed {
		return
	}
	ctx, done := context.WithTimeout(context.Background(), 30*time.Second)
	defer done()
	if err := x.Close(ctx); err != nil {
		s.t.Error(err)
	}
}

func (s *site) plan(x *Service, r sanitize.Request, names ...string) api.Plan {
	s.t.Helper()
	p, err := x.Plan(s.ctx, api.PlanRequest{Drives: names, Request: r})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

func starting(p api.Plan) api.StartRequest {
	return api.StartRequest{PlanID: p.ID, PlanDigest: p.Digest, ExpectDrives: len(p.Drives)}
}

func (s *site) start(x *Service, p api.Plan) api.Job {
	s.t.Helper()
	j, err := x.Start(s.ctx, starting(p))
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// follow watches a job to its end.
func (s *site) follow(x *Service, job, after string) (events []api.Event, end api.Job) {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.ctx, time.Minute)
	defer done()
	for e, err := range x.Events(ctx, job, after) {
		if err != nil {
			s.t.Fatal(err)
		}
		events = append(events, e)
	}
	if len(events) == 0 || events[len(events)-1].Type != api.EventJob {
		s.t.Fatalf("%d events, and the last is not the job's", len(events))
	}
	return events, *events[len(events)-1].Whole
}

// holds says how much customer data is left in the blocks that can be addressed.
func (s *site) holds(serial string) int64 {
	s.t.Helper()
	m, err := s.rack.Medium(serial)
	if err != nil {
		s.t.Fatal(err)
	}
	n, _, err := m.CountCanary(canary)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it was done; want %s", code)
	}
	if p := api.ProblemOf(err); p.Code != code {
		t.Fatalf("code %s (%v), want %s", p.Code, err, code)
	}
}

// actions are the records of the audit file, whose chain holds.
func (s *site) actions() []Action {
	s.t.Helper()
	parsed, err := journal.Read(filepath.Join(s.state, ActionsName))
	if err != nil {
		s.t.Fatal(err)
	}
	var list []Action
	for _, r := range parsed.Records {
		var a Action
		if err := r.Decode(&a); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

const small = 256 << 10

// The main job through the service: planned, started, watched to its end, certified, and nothing is left on the medium.
func TestJob(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "nvme-ssd", 4<<20)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{Method: sanitize.Clear, Technique: sanitize.HostOverwrite}, "A", "B")
	if p.Plan.Request.Requester != "uid:0" {
		t.Errorf("requested by %q", p.Plan.Request.Requester)
	}
	j := s.start(x, p)
	events, end := s.follow(x, j.ID, "")
	if end.State != api.JobEnded || end.ExitStatus != api.ExitOK || end.StartedBy != "uid:0" || s.holds("A")+s.holds("B") != 0 {
		t.Fatalf("%+v; %d and %d canaries", end, s.holds("A"), s.holds("B"))
	}
	s.recorded(j.ID, events)
	certs, err := x.Certificates(s.ctx)
	if err != nil || len(certs) != 2 {
		t.Fatalf("%d certificates, %v", len(certs), err)
	}
	for _, c := range certs {
		data, err := x.Certificate(s.ctx, c.Job, c.ID)
		if err != nil || c.Outcome != "sanitized" || hexSHA256(data) != c.SHA256 {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if again := s.start(x, p); again.ID != j.ID {
		t.Errorf("the plan was started twice: %s and %s", j.ID, again.ID)
	}
	var told []string
	for _, a := range s.actions() {
		told = append(told, a.Action+" "+a.Decision)
	}
	if want := "plans.make allowed, jobs.start allowed"; strings.Join(told, ", ") != want {
		t.Errorf("recorded %v", told)
	}
}

// recorded checks that the events have every record of the job's journals, once, in the order of each.
func (s *site) recorded(job string, events []api.Event) {
	s.t.Helper()
	seen := map[string]int64{}
	for _, e := range events {
		if e.Type != api.EventRecord {
			continue
		}
		if e.Seq != seen[string(e.ID)]+1 || e.Cursor == "" || e.Kind == "" {
			s.t.Fatalf("record %d of %s after %d", e.Seq, e.Serial, seen[string(e.ID)])
		}
		seen[string(e.ID)] = e.Seq
	}
	files, err := filepath.Glob(filepath.Join(s.state, "jobs", job, "*", "journal"))
	if err != nil || len(files) != len(seen) {
		s.t.Fatalf("%d journals, %d drives told of, %v", len(files), len(seen), err)
	}
	for _, f := range files {
		parsed, err := journal.Read(f)
		if err != nil {
			s.t.Fatal(err)
		}
		if id := filepath.Base(filepath.Dir(f)); int64(len(parsed.Records)) != seen[id] {
			s.t.Errorf("%d of %d records were told", seen[id], len(parsed.Records))
		}
	}
}
