package peercred

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// What a user would lose: somebody else's roles.
func TestOfTellsWhoConnected(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Of(s.(*net.UnixConn))
	if err != nil || got != (Credentials{os.Getpid(), uint32(os.Geteuid()), uint32(os.Getegid())}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := Of(s.(*net.UnixConn)); err == nil {
		t.Fatalf("of a closed connection: %+v", got)
	}
}
