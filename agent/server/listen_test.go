package server

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/internal/durable"
)

// What a user would lose: two agents at one socket, or none after a crash.
func TestSocketsAreOfOneAgent(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	first, err := Unix(path, 0o640, os.Getegid())
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := Unix(path, 0o660, -1); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
	// One that died left its socket.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	next, err := Unix(path, 0o660, -1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := errors.Join(next.Close(), next.Close()); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("a letter"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Unix(path, 0o660, -1); err == nil {
		t.Error("a file was replaced")
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "a letter" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestAServerServesOnceAndOnSomething(t *testing.T) {
	s := testServer(t, Options{Service: &scripted{}})
	if err := s.Serve(t.Context()); err == nil {
		t.Error("it serves on nothing")
	}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "before") {
		t.Errorf("twice: %v", err)
	}
	if _, err := New(Options{Keys: t.TempDir()}); err == nil {
		t.Error("without a service")
	}
	if _, err := New(Options{Service: &scripted{}}); err == nil {
		t.Error("without a directory")
	}
}

// What a user would lose: an act that was cut off in the middle because the agent was upgraded.
func TestStopWaitsForActs(t *testing.T) {
	hold := make(chan struct{})
	s := &scripted{hold: hold}
	v := serve(t, Options{Service: s})
	got := make(chan reply, 1)
	go func() {
		r, _ := v.try("POST", "/v1/jobs", goodStart, withKey("k"))
		got <- r
	}()
	acts := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.calls) == 1
	}
	eventually(t, "it acts", acts)
	stopped := make(chan struct{})
	go func() { v.stop(); close(stopped) }()
	eventually(t, "nobody else is heard", func() bool {
		c, err := net.Dial("unix", v.path)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-stopped:
		t.Fatal("it did not wait")
	default:
	}
	close(hold)
	if r := <-got; r.status != 202 {
		t.Errorf("%+v", r)
	}
	<-stopped
}

// An act that does not end is told to, and the server ends.
func TestStopDoesNotWaitForEver(t *testing.T) {
	s := &scripted{hold: make(chan struct{})}
	srv := testServer(t, Options{Service: s, Access: everything(t), Grace: 20 * time.Millisecond})
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := Unix(filepath.Join(dir, "s"), 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	c, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("POST /v1/jobs/j/cancel HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it acts", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.calls) == 1
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
