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

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/sanitize"
)

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
	this := cursorForm + j.ID + "."
	for _, bad := range []string{"1.", "1.AQE", "2.AQE", "nonsense", this, this + "AAAAAAAA", this + "////", this + "AQE=", this + strings.Repeat("gICAgICAgICAgIA", 3), "3" + records[0].Cursor[1:]} {
		s.refused(x, j.ID, bad)
	}
}

// refused sees to it that a cursor is refused before anything is told.
func (s *site) refused(x *Service, job, after string) {
	s.t.Helper()
	ctx, done := context.WithTimeout(s.ctx, time.Minute)
	defer done()
	n := 0
	for e, err := range x.Events(ctx, job, after) {
		if n++; n > 1 || err == nil {
			s.t.Fatalf("with %.60q an event is told: %+v, %v", after, e, err)
		}
		wantCode(s.t, err, "cursor")
	}
	if n == 0 {
		s.t.Errorf("with %.60q nothing is told", after)
	}
}

// What a user would lose: the records of a job that has the same number of drives as another, or of one that goes on, up to where a
// cursor says that they were seen, without a word.
func TestACursorOfWhatWasNotSeenIsRefused(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	s.drive("B", "", 64<<20, "slow:16000000")
	x := s.serve(nil)
	over := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	events, _ := s.follow(x, over.ID, "")
	n := int64(0)
	for _, e := range events {
		n = max(n, e.Seq)
	}
	at := s.start(x, s.plan(x, sanitize.Request{}, "B"))
	s.await(x, at.ID, "pass_begun")
	for _, job := range []string{over.ID, at.ID} { // one that has ended, one that runs
		s.refused(x, job, cursor{1 << 20}.of(job))
		s.refused(x, job, cursor{1 << 53}.of(job))
	}
	s.refused(x, at.ID, cursor{1}.of(over.ID))
	s.refused(x, over.ID, cursor{n + 1}.of(over.ID))
	if rest, _ := s.follow(x, over.ID, cursor{n - 1}.of(over.ID)); len(rest) != 3 || rest[0].Seq != n { // the drive's end and the job's
		t.Errorf("%+v", rest)
	}
	if _, err := x.Cancel(s.ctx, at.ID); err != nil {
		t.Fatal(err)
	}
}

// A journal that lost its end in a power cut has fewer records than somebody has seen: they begin again. One that cannot be read keeps
// nobody from the rest.
func TestACursorBeyondWhatACutLeft(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	p := s.plan(x, sanitize.Request{}, "A")
	j := s.start(x, p)
	events, _ := s.follow(x, j.ID, "")
	last := events[len(events)-1].Cursor
	file := x.journalOf(j.ID)(p.Plan.Drives[0])
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, whole[:len(whole)-2], 0o600); err != nil {
		t.Fatal(err)
	}
	s.refused(x, j.ID, last)
	if err := os.WriteFile(file, append([]byte("x"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if rest, _ := s.follow(x, j.ID, last); len(rest) != 2 {
		t.Errorf("%+v", rest)
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if rest, _ := s.follow(x, j.ID, last); len(rest) != 2 {
		t.Errorf("%+v", rest)
	}
}

// Whoever watches the largest job that there can be comes back to it.
func TestTheLongestCursor(t *testing.T) {
	const job = "j-0123456789ab"
	c := make(cursor, api.DrivesMost)
	for i := range c {
		c[i] = 1<<21 - 1
	}
	text := c.of(job)
	if len(text) > api.CursorMost {
		t.Errorf("a cursor of %d bytes, and %d are taken", len(text), api.CursorMost)
	}
	if again, err := parseCursor(text, job, len(c)); err != nil || !slices.Equal(again, c) {
		t.Error(err)
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

// A drive that answers nothing holds up nobody who only looks: they see the host as it was, and when that was.
func TestAHungDriveHoldsUpNobodyWhoLooks(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 8<<20)
	x := s.serve(nil)
	before, err := x.Drives(s.ctx)
	if err != nil || len(before.Items) != 1 || before.AsOf == "" {
		t.Fatalf("%+v, %v", before, err)
	}
	x.listing.mu.Lock()
	x.listing.fresh, x.listing.look = time.Time{}, make(chan struct{}) // a look that has no end
	x.listing.mu.Unlock()
	seen, err := x.Drives(s.ctx)
	if err != nil || len(seen.Items) != 1 || seen.AsOf != before.AsOf {
		t.Fatalf("%+v, %v", seen, err)
	}
}

// A drive that a job is at work on is not offered as ready, and is again when the job has ended.
func TestADriveAtWorkIsNotReady(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:16000000")
	s.drive("B", "", small)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	for _, d := range s.listed(x) {
		switch {
		case d.Serial == "A" && (d.State != devices.StateInUse || len(d.Reasons) != 1 || d.Reasons[0].Code != api.ReasonBusy || !strings.Contains(d.Reasons[0].Message, j.ID)),
			d.Serial == "B" && (d.State != devices.StateReady || len(d.Reasons) != 0):
			t.Errorf("while a job is at work on A: %s is %s %+v", d.Serial, d.State, d.Reasons)
		}
	}
	if _, err := x.Cancel(s.ctx, j.ID); err != nil {
		t.Fatal(err)
	}
	s.follow(x, j.ID, "")
	for _, d := range s.listed(x) {
		switch {
		case d.Serial == "A" && (d.State != devices.StateBlocked || len(d.Reasons) != 1 || d.Reasons[0].Code != agent.ReasonUnfinished),
			d.Serial == "B" && (d.State != devices.StateReady || len(d.Reasons) != 0):
			t.Errorf("when nobody is at work any more: %s is %s %+v", d.Serial, d.State, d.Reasons)
		}
	}
}

func (s *site) listed(x *Service) []devices.Drive {
	s.t.Helper()
	d, err := x.Drives(s.ctx)
	if err != nil || len(d.Items) != 2 {
		s.t.Fatalf("%+v, %v", d, err)
	}
	return d.Items
}

// Jobs that cannot be read for now take nobody the sight of the drives.
func TestDrivesAreSeenWithoutTheirJobs(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	x.jobsSeen.mu.Lock()
	x.jobsSeen.look = make(chan struct{}) // a look that has no end
	x.jobsSeen.mu.Unlock()
	if seen, err := x.Drives(s.ctx); err != nil || len(seen.Items) != 1 {
		t.Fatalf("%+v, %v", seen, err)
	}
}

// Who stops the agent does not wait until all that it keeps is looked at, and what was not looked at is not safe.
func TestALookEndsWhenNobodyWaitsForIt(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.ends(x, j.ID)
	for _, judged := range []int{0, 1} {
		n := 0
		why := x.kept.look([]string{j.ID}, true, true, func() {}, func() bool { n++; return n > judged })
		if len(why) != 1 || why[0] != stopping {
			t.Errorf("stopped after %d: %+v", judged, why)
		}
	}
}

// Whoever looks at a job that is at work, at any moment, is told that it is, or that it has ended: never that nobody is at work on it.
func TestJobIsNeverToldInterruptedWhileItEnds(t *testing.T) {
	s := newSite(t)
	names := []string{"A", "B", "C", "D"}
	for _, name := range names {
		s.drive(name, "", small)
	}
	x := s.serve(nil)
	for _, name := range names {
		j := s.start(x, s.plan(x, sanitize.Request{}, name))
		if j.State != api.JobRunning && j.State != api.JobEnded {
			t.Fatalf("as it was started: %+v", j)
		}
		var wait sync.WaitGroup
		for n := range 4 {
			wait.Go(func() {
				for state := ""; state != api.JobEnded; {
					var list []api.Job
					var err error
					if n%2 == 0 {
						list, err = x.Jobs(s.ctx)
						list = slices.DeleteFunc(list, func(l api.Job) bool { return l.ID != j.ID })
					} else {
						list = make([]api.Job, 1)
						list[0], err = x.Job(s.ctx, j.ID)
					}
					if err != nil || len(list) != 1 || list[0].State != api.JobRunning && list[0].State != api.JobEnded {
						t.Errorf("%+v, %v", list, err)
						return
					}
					state = list[0].State
				}
			})
		}
		wait.Wait()
	}
}

// Who serves looks before anybody asks.
func TestAnAgentThatStartsLooksAtItsJobs(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	names := s.jobs(x, "A")
	s.close(x)
	x = s.serve(nil)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { x.Watch(ctx); close(ended) }()
	until(t, "its job was judged", func() bool { return x.kept.isOver(names[0]) })
	stop()
	<-ended
}

// An agent that cannot go on with its jobs when it starts, as nothing can be recorded or signed, says so, tries again, and notices drives
// that come.
func TestAnAgentThatCannotGoOnWithItsJobs(t *testing.T) {
	for _, name := range []string{ActionsName, filepath.Join("keys", attest.LogKeyFile)} {
		t.Run(filepath.Base(name), func(t *testing.T) { cannotGoOn(t, name) })
	}
}

func cannotGoOn(t *testing.T, name string) {
	s := newSite(t)
	s.drive("A", "", 4<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	s.close(x)
	x = s.serve(nil)
	x.watchAgain = 10 * time.Millisecond
	name = filepath.Join(s.state, name)
	if err := errors.Join(os.Rename(name, name+".kept"), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { x.Watch(ctx); close(ended) }()
	until(t, "it says so", func() bool { return slices.Contains(s.problems(x), "not_adopted") })
	until(t, "changes of the host are noticed", func() bool { h, err := x.Health(s.ctx); return err == nil && h.HotPlug == "names" })
	if err := errors.Join(os.Remove(name), os.Rename(name+".kept", name)); err != nil {
		t.Fatal(err)
	}
	until(t, "the job is gone on with", func() bool { now, err := x.Job(s.ctx, j.ID); return err == nil && now.State == api.JobEnded })
	until(t, "it is said no more", func() bool { return !slices.Contains(s.problems(x), "not_adopted") })
	stop()
	<-ended
}

// A host whose changes cannot be noticed is not said to be well, and is tried again.
func TestAHostThatCannotBeWatched(t *testing.T) {
	s := newSite(t)
	x := s.serve(nil)
	x.watchAgain = 10 * time.Millisecond
	sys := filepath.Join(s.rack.Root(), "sys")
	if err := os.Rename(sys, sys+"-gone"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { x.Watch(ctx); close(ended) }()
	until(t, "it says so", func() bool { return slices.Contains(s.problems(x), "hot_plug") })
	if err := os.Rename(sys+"-gone", sys); err != nil {
		t.Fatal(err)
	}
	until(t, "it is said no more", func() bool { return !slices.Contains(s.problems(x), "hot_plug") })
	stop()
	<-ended
}

// A drive that came after the jobs were gone on with, and before its coming was noticed, is not missed.
func TestADriveThatCameBeforeAnybodyWatched(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", big, "pulled:40")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.follow(x, j.ID, "")
	if err := s.rack.ClearFaults("A"); err != nil {
		t.Fatal(err)
	}
	x.changed(s.ctx, devices.Change{Source: devices.ChangesByNames, Begun: true})
	if end := s.ends(x, j.ID); s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
}

// A drive that came while the state was away is not forgotten: its job goes on when the state is back.
func TestADriveThatCameWhileTheStateWasAway(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", big, "pulled:40")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Pattern: "zero"}, "A"))
	s.follow(x, j.ID, "")
	if err := errors.Join(os.Rename(s.state, s.state+"-away"), s.rack.ClearFaults("A")); err != nil {
		t.Fatal(err)
	}
	if err := x.HostChanged(s.ctx, devices.Change{Names: true}); err == nil {
		t.Error("nothing was gone on with, and nobody is told")
	}
	if err := os.Rename(s.state+"-away", s.state); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.problems(x), "not_adopted") {
		t.Error("it is well")
	}
	x.watchAgain = 10 * time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { x.adoptAgain(ctx); close(ended) }()
	if end := s.ends(x, j.ID); s.holds("A") != 0 {
		t.Errorf("%+v", end)
	}
	stop()
	<-ended
}
