package main

import (
	"os/exec"
	"testing"
	"time"
)

// A program that computes and sleeps before it writes is measured from its first write, and one that never
// writes has no time at all.
func TestWatchBeginsWithTheFirstWrite(t *testing.T) {
	l := newLoop(t, 4*smallest)
	c, err := newCell([]Loop{l})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	run := func(script string) (seen, time.Duration) {
		t.Helper()
		w := watchDrives([]Loop{l})
		begin := time.Now()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script, "bash", l.Node)
		if err := c.start(cmd); err != nil {
			t.Fatal(err)
		}
		w.pid.Store(int64(cmd.Process.Pid))
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		s := w.end()
		if s.err != nil {
			t.Fatal(s.err)
		}
		return s, time.Since(begin)
	}
	s, took := run(`for ((i = 0; i < 100000; i++)); do :; done; sleep 0.3; exec dd if=/dev/zero of=$1 bs=1M count=16 oflag=direct conv=notrunc,fsync status=none`)
	if s.span <= 0 || s.span > took-150*time.Millisecond {
		t.Errorf("span %v of %v", s.span, took)
	}
	if s.idle <= 0 {
		t.Error("no processor time before the first write")
	}
	if s, took = run(`sleep 0.1`); s.span != 0 {
		t.Errorf("without a write: span %v of %v", s.span, took)
	}
}
