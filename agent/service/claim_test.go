package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/internal/boot"
	"github.com/expunge-dev/expunge/sanitize"
)

// somePSID is no drive's.
const somePSID = "0123456789ABCDEF0123456789ABCDEF"

// A start that something holds up holds up no other, nor does it keep anybody from going on with a job, giving one up or approving.
func TestAStartThatIsHeldUp(t *testing.T) {
	s := newSite(t)
	s.drive("T", "nvme-opal", 1<<20, "slow:1000000") // its job is under way when the second is judged
	s.drive("A", "", small)
	s.drive("B", "", some, "slow:8000000")
	s.drive("C", "", some, "slow:8000000")
	held, free := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(held); <-free })
	x := s.serve(func(o *Options) {
		a, err := agent.Open(agent.Options{Host: o.Host, StateDir: s.state, Owner: agent.Owner{Kind: "rack", ID: s.rack.ID()}, Version: "test",
			PIN: func(job string, d sanitize.DrivePlan) (string, error) { hold(); return o.PINs.Give(job, d) }})
		if err != nil {
			t.Fatal(err)
		}
		o.Agent = a
	})
	label, err := s.rack.Label("T")
	if err != nil {
		t.Fatal(err)
	}
	psid := sanitize.Request{Method: sanitize.Purge, Technique: sanitize.TCGRevert, TCG: "psid-revert"}
	slow, again := s.plan(x, psid, "T"), s.plan(x, psid, "T")
	stopped := func(serial string) string {
		j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, serial))
		s.await(x, j.ID, "pass_begun")
		if _, err := x.Cancel(s.ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.rack.ClearFaults(serial); err != nil {
			t.Fatal(err)
		}
		return j.ID
	}
	resume, abandon, other := stopped("B"), stopped("C"), s.plan(x, sanitize.Request{}, "A")
	var wait sync.WaitGroup
	start := func(p api.Plan, pin string) (err error) {
		r := starting(p)
		r.PINs = map[devices.ID]string{p.Drives[0].ID: pin}
		_, err = x.Start(s.ctx, r)
		return err
	}
	var errs [2]error
	wait.Go(func() { errs[0] = start(slow, label.PSID) })
	<-held
	wait.Go(func() { errs[1] = start(again, somePSID) }) // for the same drive: it waits
	done := make(chan error, 1)
	go func() {
		_, err := x.Start(s.ctx, starting(other))
		if err == nil {
			_, err = x.Resume(s.ctx, resume, api.ResumeRequest{})
		}
		if err == nil {
			_, err = x.Abandon(s.ctx, abandon, api.AbandonRequest{Why: "no"})
		}
		if err == nil {
			err = x.Adopt(s.ctx)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("they wait for a drive that is none of theirs")
	}
	close(free)
	wait.Wait()
	jobs, err := x.Jobs(s.ctx)
	if err != nil || (errs[0] == nil) == (errs[1] == nil) || len(jobs) != 4 {
		t.Errorf("%v: of two that want one drive, one has it; %d jobs, %v", errs, len(jobs), err)
	}
	for _, j := range jobs {
		if _, end := s.follow(x, j.ID, ""); j.ID == agent.JobOf(slow.Plan) && end.ExitStatus != api.ExitOK {
			t.Errorf("%+v", end)
		}
	}
}

// Whoever waits for drives gives up with their request, and leaves nothing behind.
func TestWhoWaitsForADriveMayLeave(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	a, b := []sanitize.DrivePlan{{ID: "a"}, {ID: "b"}}, []sanitize.DrivePlan{{ID: "b"}, {ID: "c"}}
	release, err := x.claim(s.ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := x.claim(ctx, b); err == nil {
		t.Fatal("two have one drive")
	}
	if free, err := x.claim(s.ctx, b[1:]); err != nil {
		t.Fatal(err)
	} else {
		free()
	}
	release()
	release, err = x.claim(s.ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if len(x.claimed) > 0 {
		t.Errorf("%v", x.claimed)
	}
}

// Many who want overlapping drives at once: each drive is in one job that works on it, and no more jobs begin than may.
func TestManyRaceForDrives(t *testing.T) {
	s := newSite(t)
	const drives = 4
	for n := range drives {
		s.drive(fmt.Sprint("D", n), "", 1<<20)
	}
	const most = 3
	x := s.serve(func(o *Options) { o.Caps.JobsPerHour = most })
	var plans []api.Plan
	for n := range drives {
		for range 2 {
			plans = append(plans, s.plan(x, sanitize.Request{}, fmt.Sprint("D", n), fmt.Sprint("D", (n+1)%drives)))
		}
	}
	var wait sync.WaitGroup
	errs := make([]error, len(plans))
	for i, p := range plans {
		wait.Go(func() { _, errs[i] = x.Start(s.ctx, starting(p)) })
	}
	wait.Wait()
	began := 0
	for i, err := range errs {
		switch {
		case err == nil:
			began++
			_, end := s.follow(x, agent.JobOf(plans[i].Plan), "")
			for _, d := range end.Drives {
				if d.Outcome != sanitize.Sanitized && d.Outcome != sanitize.RefusedRun {
					t.Errorf("%+v", d)
				}
			}
		case api.ProblemOf(err).Code != "cap_jobs" && api.ProblemOf(err).Code != "refused":
			t.Error(err)
		}
	}
	jobs, err := x.Jobs(s.ctx)
	if err != nil || began == 0 || began > most || len(jobs) != began {
		t.Fatalf("%d began, %d jobs, %v", began, len(jobs), err)
	}
}

// Jobs that begin at once do not get past the caps together.
func TestCapsOfJobsThatBeginAtOnce(t *testing.T) {
	for code, c := range map[string]struct {
		caps Caps
		most int
	}{"cap_jobs": {Caps{JobsPerHour: 2}, 2}, "cap_share": {Caps{ShareOfHost: 34}, 2}} {
		t.Run(code, func(t *testing.T) {
			s := newSite(t)
			const drives = 6
			for n := range drives {
				s.drive(fmt.Sprint("D", n), "", some, "slow:8000000")
			}
			x := s.serve(func(o *Options) { o.Caps = c.caps })
			var plans []api.Plan
			for n := range drives {
				plans = append(plans, s.plan(x, sanitize.Request{}, fmt.Sprint("D", n)))
			}
			var wait sync.WaitGroup
			errs := make([]error, drives)
			for i, p := range plans {
				wait.Go(func() { _, errs[i] = x.Start(s.ctx, starting(p)) })
			}
			wait.Wait()
			began := 0
			for _, err := range errs {
				if err == nil {
					began++
					continue
				}
				wantCode(t, err, code)
			}
			if began != c.most {
				t.Errorf("%d began, and %d may", began, c.most)
			}
		})
	}
}

// A job that is refused by its drives does not count against the hour.
func TestARefusedJobDoesNotCount(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(func(o *Options) { o.Caps.JobsPerHour = 1 })
	a, b := s.plan(x, sanitize.Request{}, "A"), s.plan(x, sanitize.Request{}, "B")
	if err := s.rack.Use("A", "mounted:/srv"); err != nil {
		t.Fatal(err)
	}
	_, err := x.Start(s.ctx, starting(a))
	wantCode(t, err, "refused")
	s.follow(x, s.start(x, b).ID, "")
}

// A clock that is set forward while no agent runs does not free what began within the hour.
func TestCapsAcrossARestartWithAnotherClock(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", small)
	x := s.serve(func(o *Options) { o.Caps.JobsPerHour = 1 })
	s.follow(x, s.start(x, s.plan(x, sanitize.Request{}, "A")).ID, "")
	s.close(x)
	x = s.serve(func(o *Options) {
		o.Caps.JobsPerHour = 1
		o.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	})
	_, err := x.Start(s.ctx, starting(s.plan(x, sanitize.Request{}, "B")))
	wantCode(t, err, "cap_jobs")
}

// How old a job is: within one start of the host, what the host says that nobody sets; across one, at least since it started.
func TestAge(t *testing.T) {
	clock := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	began := func(ago time.Duration, b *agent.Boot) agent.Started {
		return agent.Started{At: clock.Add(-ago), Boot: b}
	}
	now := boot.Moment{ID: "b", Up: 2 * time.Hour}
	for name, c := range map[string]struct {
		by   agent.Started
		now  boot.Moment
		want time.Duration
	}{
		"the clock was set forward":         {began(5*time.Hour, &agent.Boot{ID: "b", UpSeconds: 7000}), now, 200 * time.Second},
		"the clock was set back":            {began(-5*time.Hour, &agent.Boot{ID: "b", UpSeconds: 600}), now, 110 * time.Minute},
		"in an earlier start":               {began(3*time.Hour, &agent.Boot{ID: "a", UpSeconds: 7000}), now, 3 * time.Hour},
		"in an earlier start, and set back": {began(-3*time.Hour, &agent.Boot{ID: "a", UpSeconds: 7000}), now, 2 * time.Hour},
		"nothing was noted":                 {began(time.Minute, nil), now, time.Minute},
		"nothing was noted, and set back":   {began(-time.Minute, nil), now, 0},
		"the host does not say":             {began(time.Minute, &agent.Boot{ID: "b"}), boot.Moment{}, time.Minute},
	} {
		if got := age(c.by, c.now, clock); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A start that something holds up keeps neither drives that come from being noticed, nor other jobs from going on.
func TestAdoptionDoesNotWaitForADriveThatIsHeldUp(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", some, "slow:8000000")
	s.drive("B", "", some, "slow:8000000")
	x := s.serve(nil)
	var jobs []api.Job
	for _, serial := range []string{"A", "B"} {
		j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, serial))
		s.await(x, j.ID, "pass_begun")
		jobs = append(jobs, j)
	}
	s.close(x)
	if err := errors.Join(s.rack.ClearFaults("A"), s.rack.ClearFaults("B")); err != nil {
		t.Fatal(err)
	}
	x = s.serve(nil)
	p, err := x.Agent.PlanOf(jobs[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	release, err := x.claim(s.ctx, p.Drives) // as a start whose drive does not answer
	if err != nil {
		t.Fatal(err)
	}
	if err := x.HostChanged(s.ctx, devices.Change{Names: true}); err != nil { // returns all the same
		t.Fatal(err)
	}
	if end := s.ends(x, jobs[1].ID); end.ExitStatus != api.ExitOK {
		t.Errorf("%+v", end)
	}
	if err := x.HostChanged(s.ctx, devices.Change{Names: true}); err != nil {
		t.Fatal(err)
	}
	release()
	if end := s.ends(x, jobs[0].ID); end.ExitStatus != api.ExitOK || s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
}
