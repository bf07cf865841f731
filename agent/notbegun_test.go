package agent

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/expunge-dev/expunge/devices/virtual"
	"github.com/expunge-dev/expunge/internal/durable"
	"github.com/expunge-dev/expunge/sanitize"
)

// takes has the job of a plan taken hold of by somebody else as soon as it is there.
type takes struct {
	lock string // its file
	held *durable.Lock
	err  error
}

func (x *takes) Write(p []byte) (int, error) {
	if x.held == nil && bytes.Contains(p, []byte("job began")) {
		x.held, x.err = durable.TryLock(x.lock)
	}
	return len(p), nil
}

// A start that is told as refused, and whose job is there all the same, begins nothing later: nobody goes on with it but a person.
func TestAJobThatIsThereAlthoughItsStartFailed(t *testing.T) {
	s := newSite(t)
	s.add(virtual.Spec{Serial: "A", SizeBytes: small})
	p := s.plan(sanitize.Request{}, "A")
	x := &takes{lock: filepath.Join(s.agent.jobDir(jobName(p)), lockFile)}
	a, err := Open(Options{Host: s.rack.Host(nil), StateDir: s.state, Owner: Owner{"rack", s.rack.ID()}, Version: "test", Log: hclog.New(&hclog.LoggerOptions{Output: x})})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Start(t.Context(), p, Started{}, Observer{})
	if x.err != nil || !errors.Is(err, ErrJobBusy) || !strings.Contains(err.Error(), resumeHint(jobName(p))[len("run: "):]) {
		t.Fatalf("%v, %v", err, x.err)
	}
	if by, err := a.StoppedBy(jobName(p)); err != nil || by.By == "" {
		t.Errorf("an agent goes on with it: %+v, %v", by, err)
	}
	if err := x.held.Unlock(); err != nil {
		t.Fatal(err)
	}
	if holds(t, s.rack, "A") == 0 {
		t.Error("it was begun")
	}
	if j, err := a.Resume(t.Context(), jobName(p), Observer{}); err != nil || j.Drives[0].Outcome != sanitize.Sanitized || holds(t, s.rack, "A") != 0 {
		t.Errorf("%+v, %v", j, err)
	}
	// One that was there before is somebody else's: that it could not be taken hold of stops nobody.
	if err := s.agent.notBegun(jobName(p), false, ErrJobBusy); !errors.Is(err, ErrJobBusy) {
		t.Error(err)
	}
	if by, err := a.StoppedBy(jobName(p)); err != nil || by.By != "" {
		t.Errorf("%+v, %v", by, err)
	}
}
