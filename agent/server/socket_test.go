package server

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/expunge-dev/expunge/internal/durable"
)

// What an operator would lose: the agent of a host, which erases drives and is not to be halted any more, as its socket was removed.
func TestASocketThatWasRemovedIsMadeAgain(t *testing.T) {
	for name, with := range map[string][]string{"the socket": {""}, "the socket and its lock": {"", ".lock"}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := Unix(path, 0o660, -1)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			s := testServer(t, Options{Service: &scripted{}})
			go func() { done <- s.Serve(ctx, l) }()
			ask := func(transport *http.Transport) error {
				a, err := (&http.Client{Transport: transport}).Get("http://agent/v1/jobs")
				if err != nil {
					return err
				}
				return a.Body.Close()
			}
			dial := func() *http.Transport {
				return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", path)
				}}
			}
			before := dial()
			defer before.CloseIdleConnections()
			if err := ask(before); err != nil {
				t.Fatal(err)
			}
			if did, err := l.Restore(); did || err != nil {
				t.Errorf("it was there: %v, %v", did, err)
			}
			for range 2 {
				for _, x := range with {
					if err := os.Remove(path + x); err != nil {
						t.Fatal(err)
					}
				}
				if did, err := l.Restore(); !did || err != nil {
					t.Fatalf("%v, %v", did, err)
				}
				after := dial()
				if err := ask(after); err != nil {
					t.Error(err)
				}
				after.CloseIdleConnections()
			}
			if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o660 {
				t.Errorf("%v, %v", info, err)
			}
			if other, err := Unix(path, 0o600, -1); !errors.Is(err, durable.ErrLocked) {
				other.Close()
				t.Errorf("another agent took its path: %v", err)
			}
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if did, err := l.Restore(); did || err != nil {
				t.Errorf("it was closed: %v, %v", did, err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is left: %v", err)
			}
		})
	}
}

// What is in its place is somebody's, and an agent that took the path when it was free keeps it.
func TestASocketIsNotTakenFromOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Unix(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := func() {
		t.Helper()
		if err := errors.Join(os.Remove(path), os.Remove(path+".lock")); err != nil {
			t.Fatal(err)
		}
	}
	gone()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if did, err := l.Restore(); did || err != nil {
		t.Errorf("%v, %v", did, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	lock, err := durable.TryLock(path + ".lock") // by another agent, which is about to listen
	if err != nil {
		t.Fatal(err)
	}
	if did, err := l.Restore(); did || !errors.Is(err, durable.ErrLocked) {
		t.Errorf("%v, %v", did, err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	other, err := Unix(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the other's was taken away: %v", err)
	}
}
