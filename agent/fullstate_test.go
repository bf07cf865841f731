package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/sanitize"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

// smallState gives a site's state a disk of its own, and returns what fills that but for so many bytes.
func (s *site) smallState() (fill func(free int64)) {
	if err := syscall.Mount("tmpfs", s.state, "tmpfs", 0, "size=16m"); err != nil {
		s.t.Skipf("no disk can be made that fills up: %v", err)
	}
	s.t.Cleanup(func() {
		if err := syscall.Unmount(s.state, syscall.MNT_DETACH); err != nil {
			s.t.Error(err)
		}
	})
	s.agent = s.reopen(s.rack.Host(nil))
	return func(free int64) {
		f, err := os.Create(filepath.Join(s.state, "filler"))
		if err != nil {
			s.t.Error(err)
			return
		}
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if info, failed := f.Stat(); failed != nil || f.Truncate(max(0, info.Size()-free)) != nil || !errors.Is(err, syscall.ENOSPC) {
			s.t.Errorf("%v, %v", failed, err)
		}
		if err := f.Close(); err != nil {
			s.t.Error(err)
		}
	}
}

// A drive whose state fills up stops, and that is what is said of it: not that the host stopped. Whoever looks later is told to make room.
func TestAStateThatFillsUp(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: 2 << 20})
	fill := s.smallState()
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, "A"), Started{}, Observer{Recorded: func(_ sanitize.DrivePlan, r journal.Record) {
		if r.Kind == "pass_begun" {
			fill(0)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[0], sanitize.Interrupted, "")
	if r := j.Drives[0].Reasons[0]; r.Code != ReasonNoRoom || !strings.HasPrefix(r.Hint, "make room in "+s.state) || !strings.Contains(r.Hint, "jobs resume "+j.ID) {
		t.Errorf("%+v", r)
	}
	later, err := s.agent.Job(j.ID)
	if err != nil || !strings.Contains(later.Drives[0].Reasons[0].Hint, "make room") {
		t.Errorf("%+v, %v", later.Drives[0].Reasons, err)
	}
	if err := s.agent.Room(1); !errors.Is(err, ErrNoRoom) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(filepath.Join(s.state, "filler")); err != nil {
		t.Fatal(err)
	}
	if later, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil {
		t.Fatal(err)
	}
	want(t, later.Drives[0], sanitize.Sanitized, "")
}

// A job goes on where there is room for what is left of it.
func TestRoomForWhatIsLeft(t *testing.T) {
	s := newSite(t)
	for _, serial := range []string{"A", "B", "C"} {
		s.add(virtual.Spec{Serial: serial, SizeBytes: 2 << 20})
	}
	s.fault("C", "pulled:3")
	fill := s.smallState()
	j, err := s.agent.Start(t.Context(), s.plan(sanitize.Request{}, "A", "B", "C"), Started{}, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[2], sanitize.Interrupted, "")
	// A drive that is not there is to be put back, whoever stopped its job.
	if _, left, err := s.agent.Recover(t.Context(), Observer{}); err != nil || len(left) != 1 || !strings.Contains(left[0].Reason.Hint, "put it back") {
		t.Errorf("%+v, %v", left, err)
	}
	if err := s.rack.ClearFaults("C"); err != nil {
		t.Fatal(err)
	}
	if err := s.agent.Stop(j.ID, Stopped{By: "ann", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, left, err := s.agent.Recover(t.Context(), Observer{}); err != nil || len(left) != 1 || !strings.Contains(left[0].Reason.Message, "stopped by ann") {
		t.Errorf("%+v, %v", left, err)
	}
	fill(roomPerDrive + 1<<20)
	if j, err = s.agent.Resume(t.Context(), j.ID, Observer{}); err != nil {
		t.Fatal(err)
	}
	want(t, j.Drives[2], sanitize.Sanitized, "")
}
