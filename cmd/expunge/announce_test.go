package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// smallState has the state of a rack on a disk of its own. full fills it up, until what it returns is called.
func smallState(t *testing.T, rack string) (state string, full func() (empty func())) {
	t.Helper()
	state = filepath.Join(rack, "agent")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("no disk can be made that fills up: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(state, "filler")
	return state, func() func() {
		if err := os.WriteFile(filler, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("it is not full: %v", err)
		}
		return func() {
			if err := os.Remove(filler); err != nil {
				t.Error(err)
			}
		}
	}
}

func has(list []devices.Reason, code string) bool {
	return slices.ContainsFunc(list, func(r devices.Reason) bool { return r.Code == code })
}

// What a user would lose: the way to halt an agent, which never comes up on a full disk and is started again for ever.
func TestAgentStartsOnAFullDisk(t *testing.T) {
	_, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	state, full := smallState(t, dir)
	agent, _ := hastyAgent(t, dir)
	agent.signal(syscall.SIGTERM)
	agent.ends(exitOK)
	full()
	agent, c := hastyAgent(t, dir)
	h, err := c.Health(t.Context())
	if err != nil || h.Status != "degraded" || !has(h.Problems, "no_room") || has(h.Problems, "not_announced") {
		t.Errorf("%+v, %v", h, err)
	}
	var code int
	halts := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code = (&app{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, ctx: t.Context(), testOnlyWaits: time.Nanosecond}).execute(append([]string{"--rack", dir, "halt"}, args...))
		return stdout.String() + stderr.String()
	}
	said := halts("--reason", "it smells")
	if now, err := c.Halted(t.Context()); err != nil || !now.Halted || now.Reason != "it smells" {
		t.Errorf("%+v, %v; exit %d\n%s", now, err, code, said)
	}
	agent.signal(syscall.SIGTERM)
	agent.ends(exitOK)

	// Also one that could never reserve room, as an earlier version did not; commands look where an agent is usually.
	if err := os.Remove(filepath.Join(state, spareFile)); err != nil {
		t.Fatal(err)
	}
	empty := full()
	agent, c = hastyAgent(t, dir)
	h, err = c.Health(t.Context())
	if err != nil || h.Status != "degraded" || !h.Halted || !has(h.Problems, "not_announced") {
		t.Errorf("%+v, %v", h, err)
	}
	said = halts("--reason", "it still smells")
	if now, err := c.Halted(t.Context()); err != nil || now.Reason != "it still smells" {
		t.Errorf("%+v, %v; exit %d\n%s", now, err, code, said)
	}
	empty()
	agent.until(func() bool { h, err := c.Health(t.Context()); return err == nil && !has(h.Problems, "not_announced") }, "its word")
	agent.signal(syscall.SIGTERM)
	agent.ends(exitOK)
}

// Where an agent listens is told on a full disk as long as there was room once, whatever the socket is, and as soon as there is otherwise.
func TestAnnouncement(t *testing.T) {
	state, full := smallState(t, t.TempDir())
	told := func(word *announcement, socket string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(state, servingFile))
		if want := `{"socket":"` + socket + `"}`; err != nil || strings.TrimRight(string(data), " \n") != want || len(data) != servingRoom || word.problems() != nil {
			t.Errorf("want %s: %q, %v", want, bytes.TrimRight(data, " "), err)
		}
	}
	says := func(socket string) *announcement {
		t.Helper()
		word, err := announcementOf(state, socket)
		if err != nil {
			t.Fatal(err)
		}
		return word
	}
	empty := full()
	word := says("/run/a.sock")
	if err := word.keep(); !errors.Is(err, syscall.ENOSPC) || len(word.problems()) != 1 {
		t.Errorf("%v, %+v", err, word.problems())
	}
	if err := word.keep(); err != nil {
		t.Errorf("it is said twice: %v", err)
	}
	if err := word.withdraw(); err != nil {
		t.Errorf("what was not told is taken back: %v", err)
	}
	word = says("/run/a.sock")
	if err := word.keep(); err == nil {
		t.Error("there is no room")
	}
	empty()
	if err := word.keep(); err != nil {
		t.Fatal(err)
	}
	told(word, "/run/a.sock")
	file := filepath.Join(state, servingFile)
	before, err := os.Stat(file)
	if err == nil {
		err = word.keep()
	}
	if err != nil {
		t.Fatal(err)
	}
	if now, err := os.Stat(file); err != nil || !os.SameFile(now, before) || !now.ModTime().Equal(before.ModTime()) {
		t.Errorf("what is told already is written again: %v", err)
	}
	// What an agent of an earlier version has left, which was killed, says the same and has no room.
	short := []byte(`{"socket":"/run/a.sock"}` + "\n")
	if err := os.WriteFile(file, short, 0o600); err != nil {
		t.Fatal(err)
	}
	empty = full()
	if data, err := os.ReadFile(file); word.keep() != nil || err != nil || !bytes.Equal(data, short) {
		t.Errorf("%q, %v", data, err)
	}
	empty()
	if err := word.keep(); err != nil {
		t.Fatal(err)
	}
	told(word, "/run/a.sock")
	full()
	for _, longer := range []string{"", strings.Repeat("b", 90), "c"} { // the first is left by an agent that was killed
		word = says("/run/" + longer + ".sock")
		if err := word.keep(); err != nil {
			t.Fatal(err)
		}
		told(word, "/run/"+longer+".sock")
		if longer == "" {
			continue
		}
		if err := word.withdraw(); err != nil {
			t.Fatal(err)
		}
		if err := word.keep(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(state, servingFile)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after the end it is there: %v", err)
		}
	}
}
