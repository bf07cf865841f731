package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/expunge-dev/expunge/agent/client"
)

// Where a service manager listens for the host's tools, other hosts are served all the same, as the configuration says; and the socket
// stays when the agent ends: it is the manager's.
func TestAgentOfAnActivatedSocket(t *testing.T) {
	_, dir := rackOf(t)
	own := newCA(t)
	serverCert, serverKey := own.issue("agent", "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(own.dir, "agent.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
tls: {listen: '%s', certificate: %s, key: %s, client_ca: ca.pem}
access: [{uid: %d, roles: [read]}, {certificate: 'spiffe://test/auditor', roles: [read]}]
`, address, serverCert, serverKey, os.Getuid()), 0o600); err != nil {
		t.Fatal(err)
	}
	// The directory of a test may be too long for a socket.
	short, err := os.MkdirTemp("", "socket")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	path := filepath.Join(short, "agent.sock")
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close() })
	given, err := unix.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = given.Close() })
	agent := program(t, "--rack", dir, "serve", "--config", file)
	// The protocol wants the number of the process that the sockets are for (sd_listen_fds(3)).
	agent.Args = append([]string{"sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"`, agent.Path}, agent.Args[1:]...)
	if agent.Path, err = exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	agent.ExtraFiles = []*os.File{given}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Wait() }()
	local := client.Unix(path)
	t.Cleanup(local.Close)
	if _, err := local.Health(t.Context()); err != nil { // it waits in the socket until the agent takes it
		t.Error(err)
	}
	cert, key := own.issue("auditor", "spiffe://test/auditor")
	remote := own.client(address, cert, key)
	for n := 0; ; n++ {
		if _, err := remote.Health(t.Context()); err == nil {
			break
		} else if n == 300 {
			t.Errorf("other hosts are not served: %v", err)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the manager's socket: %v", err)
	}
}
