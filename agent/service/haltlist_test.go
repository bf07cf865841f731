package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/blockio"
	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
)

// erases puts a drive full of customer data into the rack whose own erases take so long.
func (s *site) erases(serial, profile string, seconds int64) (node string) {
	s.t.Helper()
	node, err := s.rack.Add(virtual.Spec{Profile: profile, Serial: serial, SizeBytes: 4 << 20, EraseSeconds: seconds})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.rack.Populate(serial, canary); err != nil {
		s.t.Fatal(err)
	}
	return node
}

// submitting tells that a drive has a write.
type submitting struct {
	devices.Transport
	first chan<- struct{}
}

type submittingQueue struct {
	blockio.Queue
	first chan<- struct{}
}

func (t submitting) Queue(depth int) (blockio.Queue, error) {
	q, err := t.Transport.Queue(depth)
	return submittingQueue{q, t.first}, err
}

func (q submittingQueue) Submit(r blockio.Request) error {
	err := q.Queue.Submit(r)
	if err == nil && r.Op == blockio.Write {
		select {
		case q.first <- struct{}{}:
		default:
		}
	}
	return err
}

// words is what a halt says of each drive.
func words(list []api.CancelledDrive) map[string]string {
	told := map[string]string{}
	for _, d := range list {
		if told[d.Serial] != "" || d.Stopped {
			told[d.Serial] = "twice, or stopped: "
		}
		told[d.Serial] += d.Message
	}
	return told
}

const (
	byItself = "erases itself, and nothing stops that"
	notYet   = "has not let go of it yet"
)

// Whoever halts is told of every drive that goes on, soon, however many do not answer: also of those that complete the command only when
// they are done, and of writes that hang. Somebody else who halts waits for nobody.
func TestAHaltListsAllThatGoesOn(t *testing.T) {
	t.Parallel()
	const seconds = 20 // longer than all of them take to begin and one halt takes, shorter than one after the other would
	s := newSite(t)
	hung := s.erases("H", "", seconds)
	hang, err := virtual.ParseFault(fmt.Sprintf("hang:%d", seconds))
	if err == nil {
		err = s.rack.Fault("H", hang)
	}
	if err != nil {
		t.Fatal(err)
	}
	hangs := make(chan struct{}, 1)
	s.open = func(ctx context.Context, node string, access devices.Access) (devices.Transport, error) {
		tr, err := s.rack.Opener()(ctx, node, access)
		if err != nil || node != hung {
			return tr, err
		}
		return submitting{tr, hangs}, nil
	}
	x := s.serve(nil)
	want := map[string]string{"Z1": byItself, "Z2": byItself, "F": byItself, "U": byItself, "H": notYet}
	var jobs []string
	for _, d := range []struct {
		serial, profile, kind string
		technique             sanitize.Technique
	}{
		{"Z1", "sata-ssd", "operation_begun", sanitize.SecurityErase}, {"Z2", "sata-ssd", "operation_begun", sanitize.SecurityErase},
		{"F", "nvme-format", "operation_begun", sanitize.Format}, {"U", "sas-hdd", "operation_sent", sanitize.Format}, {"H", "", "pass_begun", ""},
	} {
		if d.serial != "H" {
			s.erases(d.serial, d.profile, seconds)
		}
		p := s.plan(x, sanitize.Request{Technique: d.technique}, d.serial)
		for _, r := range p.Refused {
			t.Fatalf("%+v", r)
		}
		j := s.start(x, p)
		s.await(x, j.ID, d.kind)
		jobs = append(jobs, j.ID)
	}
	select {
	case <-hangs:
	case <-time.After(time.Minute):
		t.Fatal("nothing is written to H")
	}
	told := make(chan []api.CancelledDrive, 2)
	for range 2 {
		go func() {
			h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"})
			if err != nil {
				t.Error(err)
			}
			told <- h.GoesOn
		}()
	}
	for range 2 {
		list := words(<-told)
		for serial, message := range want {
			if !strings.Contains(list[serial], message) {
				t.Errorf("%s: %q, want %q", serial, list[serial], message)
			}
		}
		if len(list) != len(want) {
			t.Errorf("%v", list)
		}
	}
	if h, err := x.Halted(s.ctx); err != nil || len(h.GoesOn) != len(want) {
		t.Errorf("%+v, %v", h, err)
	}
	if err := s.rack.ClearFaults("H"); err != nil { // what it hangs in goes on
		t.Fatal(err)
	}
	// The end of the halt comes before they have stopped: the agent goes on with them all the same.
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	ctx, done := context.WithTimeout(s.ctx, time.Minute)
	defer done()
	for n, serial := range []string{"Z1", "Z2", "F", "U", "H"} {
		for {
			now, err := x.Job(ctx, jobs[n])
			if err = errors.Join(err, ctx.Err()); err != nil {
				t.Fatal(serial, err)
			}
			if now.State == api.JobEnded {
				if now.ExitStatus != api.ExitOK || s.holds(serial) != 0 {
					t.Errorf("%+v, %d canaries", now, s.holds(serial))
				}
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// Whoever cancels the job of a drive that is at one long command is told what it does.
func TestCancelOfADriveAtOneCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.erases("Z", "sata-ssd", 14)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Technique: sanitize.SecurityErase}, "Z"))
	s.await(x, j.ID, "operation_begun")
	c, err := x.Cancel(s.ctx, j.ID)
	if err != nil || len(c.Drives) != 1 || !strings.Contains(words(c.Drives)["Z"], byItself+" but a loss of power") {
		t.Fatalf("%+v, %v", c, err)
	}
}

// A drive that has completed what it was at while the halt was waited for goes on no more.
func TestAHaltDoesNotListWhatHasEnded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.erases("Z", "sata-ssd", 2)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Technique: sanitize.SecurityErase}, "Z"))
	s.await(x, j.ID, "operation_begun")
	h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"})
	if now, _ := x.Job(s.ctx, j.ID); err != nil || len(h.GoesOn) != 0 || now.State != api.JobInterrupted || strings.Contains(now.Drives[0].Error, "goes on erasing") {
		t.Fatalf("%+v, %v, %+v", h, err, now)
	}
}

// A drive that erases itself is not forgotten when its job has stopped: who asks later, or halts again, is told of it, also by the next
// agent, until its job has come to an end.
func TestAHaltRemembersDrivesThatErasedThemselves(t *testing.T) {
	s := newSite(t)
	s.drive("N", "nvme-ssd", 4<<20, "progress-stuck:3")
	s.drive("A", "", 64<<20, "slow:8000000")
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{Method: sanitize.Purge}, "N"))
	s.await(x, j.ID, "operation_sent")
	other := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, other.ID, "pass_begun")
	lists := func(what string, h api.Halt, err error) {
		t.Helper()
		if list := words(h.GoesOn); err != nil || len(list) != 1 || !strings.Contains(list["N"], byItself+", not even a loss of power") || !strings.Contains(list["N"], j.ID) {
			t.Errorf("%s: %+v, %v", what, h, err)
		}
	}
	for _, what := range []string{"halt", "once more"} {
		h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"})
		lists(what, h, err)
		if maybe := strings.Contains(words(h.GoesOn)["N"], "or has ended since"); maybe != (what == "once more") {
			t.Errorf("%s: %+v", what, h.GoesOn)
		}
	}
	h, err := x.Halted(s.ctx)
	lists("asked", h, err)
	if c, err := x.Cancel(s.ctx, j.ID); err != nil || len(c.Drives) != 1 || c.Drives[0].Stopped {
		t.Errorf("cancelled: %+v, %v", c, err)
	}
	s.close(x)
	x = s.serve(nil)
	h, err = x.Halted(s.ctx)
	lists("of the next agent", h, err)
	if _, err := x.Halt(s.ctx, api.HaltRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Resume(s.ctx, j.ID, api.ResumeRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, end := s.follow(x, j.ID, ""); end.ExitStatus != api.ExitOK || s.holds("N") != 0 {
		t.Fatalf("%+v", end)
	}
	if h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "again"}); err != nil || len(h.GoesOn) != 0 {
		t.Errorf("%+v, %v", h, err)
	}
}

// An agent whose audit file takes nothing halts, says so and what it could not do; the end of the halt is refused, and no log says
// otherwise.
func TestAHaltThatCannotBeRecorded(t *testing.T) {
	s := newSite(t)
	s.drive("N", "nvme-ssd", 4<<20, "progress-stuck:3")
	s.drive("A", "", 64<<20, "slow:8000000")
	var log bytes.Buffer
	x := s.serve(func(o *Options) { o.Log = hclog.New(&hclog.LoggerOptions{Output: &log}) })
	n := s.start(x, s.plan(x, sanitize.Request{Method: sanitize.Purge}, "N"))
	s.await(x, n.ID, "operation_sent")
	a := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, a.ID, "pass_begun")
	name := filepath.Join(s.state, ActionsName)
	if err := errors.Join(os.Rename(name, name+".kept"), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, err := x.Cancel(s.ctx, a.ID)
	wantCode(t, err, api.CodeNotRecorded)
	if p := api.ProblemOf(err); strings.Contains(p.Hint, "nothing was touched") || !strings.Contains(p.Detail, "was told to stop") {
		t.Errorf("%+v", p)
	}
	h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "no audit"})
	wantCode(t, err, api.CodeNotRecorded)
	p := api.ProblemOf(err)
	if !h.Halted || !strings.Contains(words(h.GoesOn)["N"], byItself) || len(h.Problems) != 1 || !strings.Contains(p.Detail, "the agent is halted") || strings.Contains(p.Hint, "nothing was touched") {
		t.Errorf("%+v, %+v", h, p)
	}
	_, err = x.Halt(s.ctx, api.HaltRequest{})
	wantCode(t, err, api.CodeAudit)
	if now, err := x.Halted(s.ctx); err != nil || !now.Halted || len(now.Problems) != 0 {
		t.Errorf("%+v, %v", now, err)
	}
	s.close(x)
	for line := range strings.Lines(log.String()) {
		if ended := strings.Contains(line, "halt.end"); ended && !strings.Contains(line, "refused") || strings.Contains(line, "allowed") && strings.Contains(line, "action=halt") {
			t.Errorf("the log has %s", line)
		}
	}
	if !strings.Contains(log.String(), "halt.end") {
		t.Error("the log has nothing of what was refused")
	}
}

// A halt that cannot be kept holds as long as the agent does, and says that it ends with it.
func TestAHaltThatCannotBeKept(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", 64<<20, "slow:8000000")
	s.drive("B", "", 1<<20)
	x := s.serve(nil)
	j := s.start(x, s.plan(x, sanitize.Request{}, "A"))
	s.await(x, j.ID, "pass_begun")
	b := s.plan(x, sanitize.Request{}, "B")
	name := filepath.Join(s.state, agent.HaltName)
	if err := errors.Join(os.RemoveAll(name), os.MkdirAll(filepath.Join(name, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	h, err := x.Halt(s.ctx, api.HaltRequest{Halted: true, Reason: "stop all"})
	wantCode(t, err, "not_kept")
	if p := api.ProblemOf(err); !h.Halted || len(h.Problems) != 1 || !strings.Contains(p.Detail, "the agent is halted") || !strings.Contains(p.Detail, "ends with the agent") || strings.Contains(p.Hint, "nothing was touched") {
		t.Errorf("%+v, %+v", h, p)
	}
	if now, err := x.Job(s.ctx, j.ID); err != nil || now.State != api.JobInterrupted {
		t.Errorf("%+v, %v", now, err)
	}
	if err := os.RemoveAll(name); err != nil { // nothing on disk says that it holds
		t.Fatal(err)
	}
	_, err = x.Start(s.ctx, starting(b))
	wantCode(t, err, "halted")
	if s.holds("B") == 0 {
		t.Error("B was written to")
	}
}
