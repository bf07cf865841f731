package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expunge-dev/expunge/agent/client"
	"github.com/expunge-dev/expunge/agent/server"
	"github.com/expunge-dev/expunge/devices/virtual"
)

// What a user would lose: the cause. A socket whose path is too long is refused as such, and nothing is made for it; the longest works.
func TestASocketWithALongPath(t *testing.T) {
	_, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	base, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	of := func(n int) string { return filepath.Join(base, strings.Repeat("d", n-len(base)-3), "s") }
	long := of(server.PathMost + 1)
	said := started(t, program(t, "--rack", dir, "--socket", long, "serve")).ends(exitUsage)
	if !strings.Contains(said, "a socket's path has at most 103; nothing was opened") || strings.Contains(said, "invalid argument") {
		t.Error(said)
	}
	for _, name := range []string{filepath.Join(dir, "agent"), filepath.Dir(long)} {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s was made: %v", name, err)
		}
	}
	longest := of(server.PathMost)
	agent := started(t, program(t, "--rack", dir, "--socket", longest, "serve"))
	c := client.Unix(longest)
	t.Cleanup(c.Close)
	agent.until(func() bool { _, err := c.Health(t.Context()); return err == nil }, "an answer")
	agent.signal(os.Interrupt)
	agent.ends(exitOK)
}

// What an operator would lose: that they can halt the agent of a host, as somebody has removed its socket.
func TestTheSocketIsRemovedUnderTheAgent(t *testing.T) {
	_, dir := rackOf(t, virtual.Spec{Serial: "A", SizeBytes: 1 << 20})
	agent := started(t, program(t, "--rack", dir, "serve"))
	socket := filepath.Join(dir, "agent", "agent.sock")
	c := client.Unix(socket)
	t.Cleanup(c.Close)
	agent.until(func() bool { _, err := c.Health(t.Context()); return err == nil }, "an answer")
	c.Close()
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	agent.says("has been made again")
	next := client.Unix(socket)
	t.Cleanup(next.Close)
	if _, err := next.Health(t.Context()); err != nil {
		t.Error(err)
	}
	agent.signal(os.Interrupt)
	agent.ends(exitOK)
}
