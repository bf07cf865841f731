package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// here makes a service that is not resident, of a person at the host.
func (s *site) here(change func(*Options)) *Service {
	s.t.Helper()
	s.ctx = api.WithPrincipal(s.t.Context(), api.Principal{Roles: api.Roles, Via: "local"})
	return s.serve(func(o *Options) {
		o.Resident = false
		if change != nil {
			change(o)
		}
	})
}

func (s *site) files() []string {
	s.t.Helper()
	var list []string
	err := filepath.WalkDir(s.state, func(name string, _ fs.DirEntry, err error) error {
		list = append(list, name)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// Who only looks and plans leaves nothing behind, and needs no state to look.
func TestHereWritesNothingButJobs(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 1<<20)
	looking, err := New(Options{Host: s.rack.Host(nil)})
	if err != nil {
		t.Fatal(err)
	}
	s.ctx = api.WithPrincipal(t.Context(), api.Principal{Roles: api.Roles})
	if d, err := looking.Drives(s.ctx); err != nil || len(d.Items) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := os.Stat(s.state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a state: %v", err)
	}
	if _, err := agent.Open(agent.Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: agent.Owner{Kind: "rack", ID: s.rack.ID()}}); err != nil {
		t.Fatal(err)
	}
	before := s.files()
	x := s.here(nil)
	s.plan(x, sanitize.Request{}, "A")
	_, err = x.Jobs(s.ctx)
	if _, certificates := x.Certificates(s.ctx); errors.Join(err, certificates) != nil {
		t.Error(err, certificates)
	}
	if after := s.files(); !slices.Equal(before, after) {
		t.Errorf("%q was made", after[len(before):])
	}
}

// A plan that another state made is carried out here, and by no resident service.
func TestHereTakesAPlanFromElsewhere(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 1<<20)
	p := s.plan(s.here(nil), sanitize.Request{}, "A")
	s.state += "-other"
	resident := s.serve(nil)
	if _, err := resident.Hold(p.Plan); err == nil {
		t.Error("a resident service took a plan")
	}
	if _, err := resident.Start(s.ctx, starting(p)); api.ProblemOf(err).Code != "not_found" {
		t.Errorf("a resident service: %v", err)
	}
	s.close(resident)
	x := s.here(nil)
	if _, err := x.Start(s.ctx, starting(p)); api.ProblemOf(err).Code != "not_found" {
		t.Errorf("before it is held: %v", err)
	}
	held, err := x.Hold(p.Plan)
	if err != nil {
		t.Fatal(err)
	}
	if _, j := s.follow(x, s.start(x, held).ID, ""); j.ExitStatus != api.ExitOK || j.StartedBy != "" || s.holds("A") != 0 {
		t.Errorf("%+v, %d canaries", j, s.holds("A"))
	}
}

// A job that another process runs is followed, and neither begun nor gone on with a second time. When it has stopped, whoever runs
// its plan again goes on with it.
func TestHereGoesOnWithAPlanThatWasRun(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 24<<20, "slow:6000000")
	command, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	x, other := s.here(func(o *Options) { o.Until = command }), s.here(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	if _, err := other.Hold(p.Plan); err != nil {
		t.Fatal(err)
	}
	j := s.start(x, p)
	if _, err := other.Start(s.ctx, starting(p)); !errors.Is(err, agent.ErrJobBusy) {
		t.Errorf("started twice: %v", err)
	}
	if _, err := other.Resume(s.ctx, j.ID, api.ResumeRequest{}); !errors.Is(err, agent.ErrJobBusy) {
		t.Errorf("resumed while it runs: %v", err)
	}
	watching, watched := make(chan api.Event, 1), make(chan api.Event, 1)
	go func() {
		var last api.Event
		for e := range other.Events(s.ctx, j.ID, "") {
			if last = e; e.Type == api.EventProgress && len(watching) == 0 {
				watching <- e
			}
		}
		watched <- last
	}()
	<-watching
	stop(errors.New("told to stop"))
	if last := <-watched; last.Type != api.EventJob || last.Whole.State != api.JobInterrupted || s.holds("A") == 0 {
		t.Errorf("%+v", last)
	}
	if _, j := s.follow(other, s.start(other, p).ID, ""); j.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v, %d canaries", j, s.holds("A"))
	}
}

// What bounds others does not bound a person who confirms each drive.
func TestHereHasNoCaps(t *testing.T) {
	s := newSite(t)
	p := sanitize.Plan{Drives: make([]sanitize.DrivePlan, 200)}
	if err := s.here(nil).withinCaps(p, 200); err != nil {
		t.Error(err)
	}
	if err := s.serve(nil).withinCaps(p, 200); err == nil || api.ProblemOf(err).Code != "cap_drives" {
		t.Errorf("resident: %v", err)
	}
}

// A person at a host that was started from memory may work there: what they are told is on their screen.
func TestHereWorksWithAVolatileState(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 1<<20)
	volatile := func(o *Options) { o.testOnlyVolatile = func() bool { return true } }
	x := s.here(volatile)
	if _, j := s.follow(x, s.start(x, s.plan(x, sanitize.Request{}, "A")).ID, ""); j.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", j)
	}
	s.drive("B", "", 1<<20)
	resident := s.serve(volatile)
	if _, err := resident.Start(s.ctx, starting(s.plan(resident, sanitize.Request{}, "B"))); err == nil || api.ProblemOf(err).Code != "state_volatile" {
		t.Errorf("resident: %v", err)
	}
}

// A halt that an agent left holds for whoever works with its state.
func TestHereIsHaltedByAnAgent(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 1<<20)
	resident := s.serve(nil)
	if _, err := resident.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "the wrong host"}); err != nil {
		t.Fatal(err)
	}
	s.close(resident)
	x := s.here(nil)
	before := s.holds("A")
	if _, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "A"))); api.ProblemOf(err).Code != "halted" || s.holds("A") != before {
		t.Errorf("%v", err)
	}
}

// The end of a command ends its job resumably, also one whose end is followed; why a drive stopped is told with the job.
func TestHereEndsWithItsCommand(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:4000000")
	command, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	x := s.here(func(o *Options) { o.Until = command })
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	why := errors.New("told to stop")
	var end *api.Job
	for e, err := range x.Events(s.ctx, j.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case api.EventProgress:
			stop(why)
		case api.EventJob:
			end = e.Whole
		}
	}
	if end == nil || end.State != api.JobInterrupted || end.Drives[0].Error == "" || s.holds("A") == 0 {
		t.Fatalf("%+v, %d canaries", end, s.holds("A"))
	}
	if by, err := x.Agent.StoppedBy(j.ID); err != nil || by != (agent.Stopped{}) {
		t.Errorf("stopped by %+v, %v", by, err)
	}
}

// A halt by an agent stops a job that a command runs, resumably and by nobody's wish to keep it stopped: the agent goes on with it when
// the halt ends. Until it has stopped, the agent says that it goes on.
func TestHereStopsWhenAnAgentHalts(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:4000000")
	x := s.here(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	resident := s.serve(nil)
	whole := as(t.Context(), "uid:0", api.Roles...)
	health, err := resident.Health(whole)
	if err != nil || health.Running != 1 || health.Drives != 1 || health.SafeToPowerOff || len(health.PowerOff) != 1 || health.PowerOff[0].Code != agent.ReasonRunning {
		t.Errorf("%+v, %v", health, err)
	}
	h, err := resident.Halt(whole, api.HaltRequest{Halted: true, Reason: "stop all"})
	if err != nil || len(h.GoesOn) != 1 || h.GoesOn[0].Serial != "A" || h.GoesOn[0].Stopped || !strings.Contains(h.GoesOn[0].Message, j.ID) {
		t.Errorf("%+v, %v", h, err)
	}
	var end *api.Job
	for e, err := range x.Events(s.ctx, j.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		end = e.Whole
	}
	if end == nil || end.State != api.JobInterrupted || s.holds("A") == 0 {
		t.Fatalf("%+v, %d canaries", end, s.holds("A"))
	}
	if held := x.StoppedBy(j.ID); held == nil || held.Reason != "stop all" {
		t.Errorf("stopped by %v", held)
	}
	if by, err := x.Agent.StoppedBy(j.ID); err != nil || by != (agent.Stopped{}) {
		t.Errorf("a person stopped it: %+v, %v", by, err)
	}
	if h, err := resident.Halted(whole); err != nil || !h.Halted || len(h.GoesOn) != 0 {
		t.Errorf("%+v, %v", h, err)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	if _, err := resident.Halt(whole, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	s.ctx = whole
	if _, end := s.follow(resident, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v, %d canaries", end, s.holds("A"))
	}
}

// A halt that ends before a command has looked for it stops its job all the same; one that was said before the job began does not.
func TestHereStopsForAHaltThatHasEnded(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:4000000")
	resident := s.serve(nil)
	whole := as(t.Context(), "uid:0", api.Roles...)
	halt := func(reason string) {
		t.Helper()
		for _, r := range []api.HaltRequest{{Halted: true, Reason: reason}, {}} {
			if _, err := resident.Halt(whole, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	halt("before it began")
	x := s.here(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	if held := x.StoppedBy(j.ID); held != nil {
		t.Fatalf("%v", held)
	}
	halt("stop all")
	var end *api.Job
	for e, err := range x.Events(s.ctx, j.ID, "") {
		if err != nil {
			t.Fatal(err)
		}
		end = e.Whole
	}
	if held := x.StoppedBy(j.ID); held == nil || held.Reason != "stop all" || held.By != "uid:0" || !held.Over || end == nil || end.State != api.JobInterrupted {
		t.Fatalf("stopped by %v, %+v", held, end)
	}
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	s.ctx = whole
	for now, err := resident.Job(whole, j.ID); err == nil && now.State != api.JobEnded; now, err = resident.Job(whole, j.ID) {
		if t.Context().Err() != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	if now, err := resident.Job(whole, j.ID); err != nil || now.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("the agent did not go on with it: %+v, %v", now, err)
	}
}

// A halt that ends before a command has stopped for it leaves its job to nobody: the agent goes on with it as soon as it has stopped.
func TestAHaltThatEndsBeforeACommandStops(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 16<<20, "slow:4000000")
	x := s.here(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	s.close(x)
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	stopping, err := durable.TryLock(filepath.Join(s.state, "jobs", j.ID, "lock")) // as a process that takes its time has it
	if err != nil {
		t.Fatal(err)
	}
	resident := s.serve(nil)
	whole := as(t.Context(), "uid:0", api.Roles...)
	if h, err := resident.Halt(whole, api.HaltRequest{Halted: true, Reason: "stop all"}); err != nil || len(h.GoesOn) != 1 {
		t.Fatalf("%+v, %v", h, err)
	}
	if _, err := resident.Halt(whole, api.HaltRequest{}); err != nil || s.holds("A") == 0 {
		t.Fatalf("%v, %d canaries", err, s.holds("A"))
	}
	if err := stopping.Unlock(); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(whole, time.Minute)
	defer done()
	for ctx.Err() == nil {
		if now, err := resident.Job(ctx, j.ID); err != nil || now.State == api.JobEnded {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if now, err := resident.Job(whole, j.ID); err != nil || now.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v, %v, %d canaries", now, err, s.holds("A"))
	}
}
