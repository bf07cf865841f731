package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// tear has the next one who reads the note of a halt see half of it, as while it is written over; after that it is whole.
func (s *site) tear(whole string) (torn <-chan error) {
	s.t.Helper()
	name := filepath.Join(s.state, HaltName)
	next := name + ".next"
	if err := errors.Join(os.WriteFile(next, []byte(whole), 0o600), os.RemoveAll(name), syscall.Mkfifo(name, 0o600)); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0) // when somebody reads
		if err == nil {
			_, err = f.WriteString(whole[:len(whole)/2])
			err = errors.Join(err, os.Rename(next, name), f.Close())
		}
		ended <- err
	}()
	return ended
}

// What a user would lose: a job just begun, which a halt that ended long ago stops, or one begun although nobody knows what holds.
func TestATornNoteOfAHaltIsReadAgain(t *testing.T) {
	s := newSite(t)
	const over = `{"halted":false,"reason":"","by":"uid:0","since":"2026-01-01T01:00:00Z","last":{"id":"OLD","by":"uid:0","since":"2026-01-01T00:00:00Z","reason":"drill"}}`
	torn := s.tear(over)
	if last, err := s.agent.LastHalt(); err != nil || last != "OLD" {
		t.Errorf("the last halt is %q, %v", last, err)
	}
	if err := <-torn; err != nil {
		t.Fatal(err)
	}
	torn = s.tear(over)
	ctx, leave := context.WithCancel(t.Context())
	found := make(chan *HaltedError, 1)
	go func() { found <- s.agent.AwaitHalt(ctx, "OLD") }()
	if err := <-torn; err != nil {
		t.Fatal(err)
	}
	leave()
	if held := <-found; held != nil {
		t.Errorf("a job stops: %v", held)
	}
	// One that stays damaged holds, and does not tell which was the last.
	name := filepath.Join(s.state, HaltName)
	if err := os.WriteFile(name, []byte(over[:len(over)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	var halted *HaltedError
	if last, err := s.agent.LastHalt(); !errors.As(err, &halted) {
		t.Errorf("the last halt is %q, %v", last, err)
	}
	if _, _, err := s.agent.Recover(t.Context(), Observer{}); !errors.As(err, &halted) {
		t.Errorf("recover: %v", err)
	}
	if held := s.agent.AwaitHalt(t.Context(), "OLD"); held == nil || held.Over {
		t.Errorf("%v", held)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if last, err := s.agent.LastHalt(); err != nil || last != "" {
		t.Errorf("without a note: %q, %v", last, err)
	}
}
