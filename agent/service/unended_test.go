package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/sanitize"
)

// A sink that does not answer keeps no agent from ending, and is named; no job is blamed.
func TestCloseWhileTheSinkDoesNotAnswer(t *testing.T) {
	s := newSite(t)
	s.drive("A", "", small)
	sink := filepath.Join(t.TempDir(), "sink")
	marker := filepath.Join(sink, sinkMarker)
	if err := errors.Join(os.Mkdir(sink, 0o700), syscall.Mkfifo(marker, 0o600)); err != nil {
		t.Fatal(err)
	}
	x := s.serve(func(o *Options) { o.Sink = sink })
	s.follow(x, s.start(x, s.plan(x, sanitize.Request{}, "A")).ID, "")
	until(t, "the sink is asked", func() bool { return !x.kept.mu.TryLock() || func() bool { x.kept.mu.Unlock(); return false }() })
	ctx, done := context.WithTimeout(s.ctx, 50*time.Millisecond)
	defer done()
	var left *UnendedError
	if err := x.Close(ctx); !errors.As(err, &left) || len(left.Jobs) > 0 || !strings.Contains(err.Error(), sink) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	f, err := os.OpenFile(marker, os.O_WRONLY, 0) // it answers
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(s.ctx); err != nil {
		t.Error(err)
	}
}
