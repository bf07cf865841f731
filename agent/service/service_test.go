package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
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
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	rack, err := virtual.Create(filepath.Join(dir, "rack"))
	if err != nil {
		t.Fatal(err)
	}
	return &site{t, rack, filepath.Join(dir, "state"), as(t.Context(), "uid:0", api.Roles...)}
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
	host := s.rack.Host(nil)
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
	parsed, err := journal.Read(filepath.Join(s.state, auditName))
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

// Whoever comes back with a cursor gets what came after it, neither less nor twice, wherever they left; also from another service.
func TestEventsGoOnFromEveryCursor(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A", "B"))
	events, _ := s.follow(x, j.ID, "")
	records := slices.DeleteFunc(events, func(e api.Event) bool { return e.Type != api.EventRecord })
	s.close(x)
	x = s.serve(nil)
	for i, from := range records {
		rest, _ := s.follow(x, j.ID, from.Cursor)
		got := map[string]bool{}
		for _, e := range rest {
			if e.Type == api.EventRecord {
				key := fmt.Sprint(e.ID, e.Seq)
				if got[key] {
					t.Fatalf("%s came twice", key)
				}
				got[key] = true
			}
		}
		for n, e := range records {
			if key := fmt.Sprint(e.ID, e.Seq); got[key] != (n > i) {
				t.Fatalf("after record %d: record %d came: %v", i, n, got[key])
			}
		}
	}
	for _, bad := range []string{"1.", "1.AAAAAAAA", "2.AQE", "nonsense", "1.////", "1." + strings.Repeat("gICAgICAgICAgIA", 3)} {
		for _, err := range x.Events(s.ctx, j.ID, bad) {
			wantCode(t, err, "cursor")
		}
	}
}

// Many watch; some come late, some leave, one never takes anything. Nobody misses a record, and the job does not wait.
func TestManyWatch(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 8<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	ctx, leave := context.WithCancel(s.ctx)
	var wait sync.WaitGroup
	wait.Go(func() { // takes one event, and then nothing more until the job has ended
		for range x.Events(ctx, j.ID, "") {
			<-ctx.Done()
			return
		}
	})
	for n := range 50 {
		wait.Go(func() {
			time.Sleep(time.Duration(n) * 10 * time.Millisecond)
			events, end := s.follow(x, j.ID, "")
			s.recorded(j.ID, events)
			if end.ExitStatus != api.ExitOK {
				t.Errorf("%+v", end)
			}
		})
	}
	_, end := s.follow(x, j.ID, "")
	leave()
	wait.Wait()
	if end.State != api.JobEnded || s.holds("A") != 0 {
		t.Fatalf("%+v", end)
	}
}

// A cancelled job stops, says so, holds data, and is gone on with only when somebody asks for that.
func TestCancel(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.await(x, j.ID, "pass_begun")
	c, err := x.Cancel(s.ctx, j.ID)
	if err != nil || len(c.Drives) != 1 || !c.Drives[0].Stopped {
		t.Fatalf("%+v, %v", c, err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobStopped || now.ExitStatus != api.ExitInterrupted || s.holds("A") == 0 {
		t.Fatalf("%+v, %v", now, err)
	}
	s.close(x)
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobStopped {
		t.Fatalf("after a restart: %+v, %v", now, err)
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff {
		t.Errorf("safe to power off with a drive half done: %+v, %v", h, err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Fatalf("%+v", end)
	}
	if h, err := x.Health(s.ctx); err != nil || !h.SafeToPowerOff {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = x.Cancel(s.ctx, j.ID)
	wantCode(t, err, "ended")
}

// await watches a job until a record of a kind came.
func (s *site) await(x *Service, job, kind string) {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.ctx, time.Minute)
	defer done()
	for e, err := range x.Events(ctx, job, "") {
		if err != nil || e.Type == api.EventJob {
			s.t.Fatalf("no %s came: %v %+v", kind, err, e.Whole)
		}
		if e.Kind == kind {
			return
		}
	}
}

// A drive that erases itself cannot be stopped, and whoever cancels is told so; the job can be resumed to have it proven.
func TestCancelOfADriveThatErasesItself(t *testing.T) {
	s := newSite(t)
	s.drive("N", "nvme-ssd", 4<<20, "progress-stuck:3")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Method: sanitize.Purge}, "N"))
	s.await(x, j.ID, "operation_sent")
	for {
		r := x.running[j.ID]
		if reading, is := r.reading(r.plan.Drives[0].ID); is && reading.ByDrive {
			break
		}
		time.Sleep(time.Millisecond)
	}
	c, err := x.Cancel(s.ctx, j.ID)
	if err != nil || len(c.Drives) != 1 || c.Drives[0].Stopped || !strings.Contains(c.Drives[0].Message, "nothing stops that") {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("N") != 0 {
		t.Fatalf("%+v", end)
	}
}

// A halt stops what runs, keeps everything from beginning, also after a restart, and its end lets the jobs go on.
func TestHalt(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	s.drive("B", "", small)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	other := s.plan(x, sanitize.Request{}, "B")
	operator := as(t.Context(), "uid:7", api.Read, api.Operate)
	if _, err := x.Halt(operator, api.HaltRequest{Halted: true, Reason: "the wrong rack"}); err != nil {
		t.Fatal(err)
	}
	_, err := x.Start(s.ctx, starting(other))
	wantCode(t, err, "halted")
	_, err = x.Resume(s.ctx, j.ID, api.ResumeRequest{})
	wantCode(t, err, "halted")
	s.close(x)
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobInterrupted || s.holds("A") == 0 || s.holds("B") == 0 {
		t.Fatalf("%+v, %v", now, err)
	}
	_, err = x.Halt(operator, api.HaltRequest{})
	wantCode(t, err, "forbidden")
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Fatalf("%+v", end)
	}
}

// A halt whose note is damaged holds.
func TestADamagedHaltHolds(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.close(s.serve(nil))
	if err := os.WriteFile(filepath.Join(s.state, haltName), []byte(`{"halt`), 0o600); err != nil {
		t.Fatal(err)
	}
	x := s.serve(nil)
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A")))
	wantCode(t, err, "halted")
}

// Who has not the role gets nothing, and that is recorded; what is not the plan that was seen is not started.
func TestNothingIsStartedThatWasNotMeant(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(nil)
	reader := as(t.Context(), "uid:9", api.Read)
	_, err := x.Plan(reader, api.PlanRequest{Drives: []string{"A"}})
	wantCode(t, err, "forbidden")
	_, err = x.Drives(t.Context())
	wantCode(t, err, "forbidden")
	_, err = x.Plan(s.ctx, api.PlanRequest{})
	wantCode(t, err, "empty")
	_, err = x.Plan(s.ctx, api.PlanRequest{Drives: []string{"A", "A"}})
	wantCode(t, err, "duplicate")
	p := s.plan(x, sanitize.Request{}, "A")
	_, err = x.Start(reader, starting(p))
	wantCode(t, err, "forbidden")
	for code, change := range map[string]func(*api.StartRequest){
		"not_found":      func(r *api.StartRequest) { r.PlanID = strings.Repeat("0", 32) },
		"digest_differs": func(r *api.StartRequest) { r.PlanDigest = r.PlanDigest[:12] },
		"expect_drives":  func(r *api.StartRequest) { r.ExpectDrives = 2 },
	} {
		r := starting(p)
		change(&r)
		_, err := x.Start(s.ctx, r)
		wantCode(t, err, code)
	}
	_, err = x.Start(s.ctx, api.StartRequest{PlanID: "../../etc/passwd"})
	wantCode(t, err, "not_found")
	if s.holds("A") == 0 || s.holds("B") == 0 {
		t.Fatal("something was touched")
	}
	codes := map[string]bool{}
	for _, a := range s.actions() {
		if a.Decision == refused {
			codes[a.Code] = true
		}
	}
	for _, want := range []string{"forbidden", "empty", "duplicate", "not_found", "digest_differs", "expect_drives"} {
		if !codes[want] {
			t.Errorf("%s was not recorded", want)
		}
	}
}

// A plan whose drive was mounted, re-partitioned or swapped since is refused when it is started.
func TestDriveThatChangedSinceThePlan(t *testing.T) {
	for name, change := range map[string]func(*site){
		"mounted":        func(s *site) { _ = s.rack.Use("A", "mounted:/srv") },
		"re-partitioned": func(s *site) { s.scribble("A", 512) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.drive("A", "", small)
			x := s.serve(nil)
			p := s.plan(x, sanitize.Request{}, "A")
			change(s)
			_, err := x.Start(s.ctx, starting(p))
			wantCode(t, err, "refused")
			if reasons := api.ProblemOf(err).Reasons; len(reasons) == 0 {
				t.Error("no reason is told")
			}
			if s.holds("A") == 0 {
				t.Error("it was touched")
			}
		})
	}
}

func (s *site) scribble(serial string, at int64) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.rack.Root(), "media", "*.img"))
	if err != nil || len(files) != 1 {
		s.t.Fatal(files, err)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("another table"), at)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Two jobs race for one drive: one has it, the other is refused, and the drive is written once.
func TestTwoJobsRaceForOneDrive(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 1<<20)
	x := s.serve(nil)
	plans := []api.Plan{s.plan(x, sanitize.Request{}, "A"), s.plan(x, sanitize.Request{Pattern: "zero"}, "A")}
	results := make([]error, len(plans))
	var wait sync.WaitGroup
	for i, p := range plans {
		wait.Go(func() { _, results[i] = x.Start(s.ctx, starting(p)) })
	}
	wait.Wait()
	began := 0
	for i, err := range results {
		if err == nil {
			began++
			s.follow(x, agent.JobOf(plans[i].Plan), "")
		}
	}
	jobs, err := x.Jobs(s.ctx)
	if err != nil || began != len(jobs) || began == 0 {
		t.Fatalf("%d began, %d jobs, %v, %v", began, len(jobs), results, err)
	}
	for _, j := range jobs {
		if j.ExitStatus != api.ExitOK {
			t.Errorf("%+v", j)
		}
	}
}

// Caps refuse; they keep nobody waiting, and a restart does not reset them.
func TestCaps(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B", "C", "D"} {
		s.drive(serial, "", small)
	}
	caps := func(c Caps) func(*Options) { return func(o *Options) { o.Caps = c } }
	x := s.serve(caps(Caps{DrivesPerJob: 1}))
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A", "B")))
	wantCode(t, err, "cap_drives")
	s.close(x)
	x = s.serve(caps(Caps{ShareOfHost: 25}))
	_, err = x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A", "B")))
	wantCode(t, err, "cap_share")
	s.close(x)
	x = s.serve(caps(Caps{JobsPerHour: 1}))
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.follow(x, j.ID, "")
	p := s.plan(x, sanitize.Request{}, "B")
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "cap_jobs")
	s.close(x)
	// A clock that was set forward frees nothing that this process counted, and one that was set back neither.
	x = s.serve(func(o *Options) {
		o.Caps.JobsPerHour = 1
		o.Now = func() time.Time { return time.Now().Add(-30 * time.Minute) }
	})
	_, err = x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "B")))
	wantCode(t, err, "cap_jobs")
	if s.holds("B") == 0 {
		t.Error("B was touched")
	}
}

// approver makes somebody's key.
func approver(t *testing.T, name string, principals ...string) (Approver, *attest.Key) {
	t.Helper()
	text, err := attest.NewPrivatePEM(attest.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	key, err := attest.ParsePrivatePEM(name, text, "approver")
	if err != nil {
		t.Fatal(err)
	}
	return Approver{name, key.Public, principals}, key
}

func approval(p api.Plan, now time.Time) attest.Approval {
	return attest.Approval{By: attest.Person{Name: "Somebody"}, Drives: len(p.Drives), PlanID: p.ID, PlanSHA256: p.Digest, Simulated: p.Simulated,
		Time: attest.Time{Claimed: now.UTC().Format(time.RFC3339), Source: "host clock"}, Expires: now.Add(time.Hour).UTC().Format(time.RFC3339)}
}

// A plan that needs approvals is started with as many, of different people, for this very plan, and not by whoever asked.
func TestApprovals(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	ann, annKey := approver(t, "Ann", "uid:0")
	bob, bobKey := approver(t, "Bob", "uid:5")
	cyd, cydKey := approver(t, "Cyd")
	_, strangerKey := approver(t, "Stranger")
	x := s.serve(func(o *Options) { o.Approvers, o.Required = []Approver{ann, bob, cyd}, 2 })
	p := s.plan(x, sanitize.Request{}, "A")
	other := s.plan(x, sanitize.Request{}, "B")
	now := time.Now()
	sign := func(key *attest.Key, a attest.Approval) attest.Envelope {
		t.Helper()
		e, err := attest.SignApproval(a, key)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	forged := sign(bobKey, approval(p, now))
	forged.Signatures = sign(strangerKey, approval(p, now)).Signatures
	forged.Signatures[0].KeyID = bobKey.ID
	wrong := approval(p, now)
	wrong.Drives = 2
	for _, bad := range []struct {
		code string
		e    attest.Envelope
	}{
		{"approval_own", sign(annKey, approval(p, now))},
		{"approval_unknown", sign(strangerKey, approval(p, now))},
		{"approval_invalid", forged},
		{"approval_invalid", attest.Envelope{}},
		{"approval_foreign", sign(bobKey, approval(other, now))},
		{"approval_foreign", sign(bobKey, wrong)},
		{"approval_expired", sign(bobKey, approval(p, now.Add(-2*time.Hour)))},
		{"approval_expired", sign(bobKey, approval(p, now.Add(3*time.Hour)))},
	} {
		_, err := x.Approve(s.ctx, p.ID, bad.e)
		wantCode(t, err, bad.code)
	}
	_, err := x.Approve(as(t.Context(), "uid:7", api.Read, api.Operate), p.ID, sign(bobKey, approval(p, now)))
	wantCode(t, err, "forbidden")
	for range 2 { // the same person twice is one
		if p, err = x.Approve(s.ctx, p.ID, sign(bobKey, approval(p, now))); err != nil || len(p.Approvals) != 1 {
			t.Fatalf("%+v, %v", p.Approvals, err)
		}
	}
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "approval_required")
	if p, err = x.Approve(s.ctx, p.ID, sign(cydKey, approval(p, now))); err != nil {
		t.Fatal(err)
	}
	// Bob's approval does not let Bob himself begin.
	_, err = x.Start(as(t.Context(), "uid:5", api.Roles...), starting(p))
	wantCode(t, err, "approval_required")
	if s.holds("A") == 0 {
		t.Fatal("it was touched")
	}
	j := s.start(x, p)
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK {
		t.Fatalf("%+v", end)
	}
	by, err := x.Agent.StartedBy(j.ID)
	if err != nil || len(by.Approvals) != 2 {
		t.Errorf("%d approvals are kept with the job, %v", len(by.Approvals), err)
	}
	// They expire while nobody starts.
	s.close(x)
	late := s.serve(func(o *Options) {
		o.Approvers, o.Required = []Approver{ann, bob, cyd}, 1
		o.Now = func() time.Time { return time.Now().Add(90 * time.Minute) }
	})
	data, err := keptApproval{By: "uid:0", Envelope: sign(bobKey, approval(other, now))}.encode()
	if err == nil {
		err = os.WriteFile(filepath.Join(s.state, plansDir, other.ID, "approval-00.json"), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = late.Start(s.ctx, starting(other))
	wantCode(t, err, "approval_required")
}

// What cannot be recorded is not done.
func TestNothingIsDoneThatCannotBeRecorded(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	if err := errors.Join(x.audit.journal.Close(), os.Rename(filepath.Join(s.state, auditName), filepath.Join(s.state, "kept")), os.Mkdir(filepath.Join(s.state, auditName), 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := x.Start(s.ctx, starting(p))
	wantCode(t, err, "audit")
	if jobs, err := x.Jobs(s.ctx); err != nil || len(jobs) != 0 || s.holds("A") == 0 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	// A halt is a halt all the same, and says that it could not be recorded.
	if h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "no audit"}); err == nil || !h.Halted {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "halted")
}

// A broken chain is noticed when the agent starts.
func TestTheAuditFileIsChained(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	s.plan(x, sanitize.Request{}, "A")
	s.plan(x, sanitize.Request{}, "A")
	s.close(x)
	name := filepath.Join(s.state, auditName)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(strings.Replace(string(data), "uid:0", "uid:1", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = New(x.Options)
	var corrupt *journal.CorruptError
	if !errors.As(err, &corrupt) {
		t.Fatalf("%v", err)
	}
}

// A state in memory takes no job without a place elsewhere for the evidence, or an acceptance, which the certificate says.
func TestAVolatileState(t *testing.T) {
	volatile := func() bool { return true }
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(func(o *Options) { o.testOnlyVolatile = volatile })
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A")))
	wantCode(t, err, "state_volatile")
	_, err = x.Plan(s.ctx, api.PlanRequest{Drives: []string{"A"}, Request: sanitize.Request{AcceptVolatile: true}})
	wantCode(t, err, "usage")
	s.close(x)
	x = s.serve(func(o *Options) { o.testOnlyVolatile, o.AcceptVolatile = volatile, true })
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	_, end := s.follow(x, j.ID, "")
	if end.ExitStatus != api.ExitOK || !slices.ContainsFunc(end.Drives[0].Warnings, func(w string) bool { return strings.Contains(w, "kept in memory, which was accepted") }) {
		t.Fatalf("%+v", end)
	}
	data, err := x.Certificate(s.ctx, j.ID, end.Drives[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if r := attest.Verify(data, attest.Trust{}); r.Result == nil || len(r.Result.Sanitization.Warnings) == 0 {
		t.Errorf("the certificate does not say so: %+v", r.Reasons)
	}
	s.close(x)
	sink := t.TempDir()
	x = s.serve(func(o *Options) { o.testOnlyVolatile, o.Sink = volatile, sink })
	j = s.start(x, s.plan(x, sanitize.Request{}, "B"))
	_, end = s.follow(x, j.ID, "")
	if len(end.Drives[0].Warnings) > 0 {
		t.Errorf("%v", end.Drives[0].Warnings)
	}
	h, err := x.Health(s.ctx)
	if err != nil || !h.SafeToPowerOff {
		t.Fatalf("%+v, %v", h, err)
	}
	below, err := filepath.Rel(s.state, *end.Drives[0].Certificate)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.ReadFile(filepath.Join(sink, below))
	if err != nil || attest.Verify(copied, attest.Trust{}).Result == nil {
		t.Errorf("the copy: %v", err)
	}
}

// A sink that takes nothing keeps the host from being called safe to power off.
func TestASinkThatFails(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x := s.serve(func(o *Options) { o.Sink = filepath.Join(file, "below") })
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK {
		t.Fatalf("%+v", end)
	}
	if h, err := x.Health(s.ctx); err != nil || h.SafeToPowerOff || h.PowerOff[0].Code != "sink" {
		t.Fatalf("%+v, %v", h, err)
	}
}

// The service ends in the middle of many jobs; the next goes on with all of them, by the drives' identity.
func TestRestartGoesOnWithEverything(t *testing.T) {
	s := newSite(t)
	const jobs = 12
	x := s.serve(nil)
	var names []string
	for n := range jobs {
		serial := fmt.Sprintf("D%02d", n)
		profile := []string{"", "nvme-ssd", "sata-ssd", "sas-hdd"}[n%4]
		s.drive(serial, profile, 4<<20, "slow:3000000")
		names = append(names, s.start(x, s.plan(x, sanitize.Request{}, serial)).ID)
	}
	time.Sleep(300 * time.Millisecond)
	s.close(x)
	for n := range jobs {
		if err := s.rack.ClearFaults(fmt.Sprintf("D%02d", n)); err != nil {
			t.Fatal(err)
		}
	}
	x = s.serve(nil)
	if err := x.Adopt(s.ctx); err != nil {
		t.Fatal(err)
	}
	for n, job := range names {
		events, end := s.follow(x, job, "")
		s.recorded(job, events)
		if serial := fmt.Sprintf("D%02d", n); end.ExitStatus != api.ExitOK || s.holds(serial) != 0 {
			t.Errorf("%s: %+v; %d canaries", serial, end, s.holds(serial))
		}
	}
}

// One process serves a state.
func TestOneServesAState(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	if _, err := New(x.Options); !errors.Is(err, ErrTaken) {
		t.Fatalf("%v", err)
	}
}

// What is kept of a plan and of who started it names nobody's secret.
func TestPINsAreKeptNowhere(t *testing.T) {
	const psid = "0123456789ABCDEF0123456789ABCDEF"
	s := newSite(t)
	s.drive("T", "nvme-opal", 4<<20)
	x := s.serve(nil)
	p, err := x.Plan(s.ctx, api.PlanRequest{Drives: []string{"T"}, Request: sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: "psid-revert"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Drives) == 0 {
		t.Fatalf("%+v", p.Refused)
	}
	_, err = x.Start(s.ctx, starting(p))
	wantCode(t, err, "pin_missing")
	r := starting(p)
	r.PINs = map[devices.ID]string{p.Drives[0].ID: psid}
	if j, err := x.Start(s.ctx, r); err == nil {
		s.follow(x, j.ID, "")
	}
	err = filepath.WalkDir(s.state, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(path) == "secrets" {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), psid) {
			t.Errorf("%s has the PSID", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An event is one JSON object, whether its JSON was made before or not.
func TestEventJSON(t *testing.T) {
	e := api.Event{Type: api.EventRecord, Job: "j", Seq: 3, Kind: "attempt", Data: json.RawMessage(`{"n":1}`), Cursor: "1.AQ"}
	a, errA := e.JSON()
	b, errB := e.Encoded().JSON()
	c, errC := e.Encoded().At("1.Ag").JSON()
	if errors.Join(errA, errB, errC) != nil || string(a) != string(b) || strings.Replace(string(a), "1.AQ", "1.Ag", 1) != string(c) {
		t.Errorf("%s\n%s\n%s", a, b, c)
	}
}
