// Package e2e puts virtual drives in front of real Linux kernels: the shipped program meets real device
// nodes, real ioctls and a real block layer, and other people's tools look at the same drives. It is
// test code, kept out of the product; docs/testing.md says what each scenario asserts.
package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything may take that a guest does. It is no measure of speed: emulation on a
// busy machine is slow.
const patience = 5 * time.Minute

// Guest is a running kernel with nothing in it but process 1 and what a test put there.
type Guest struct {
	*machine
	t *testing.T
}

// machine is a guest, whichever part of a test it serves.
type machine struct {
	name    string
	command *exec.Cmd
	console io.WriteCloser

	mu      sync.Mutex // guards what follows
	next    int
	waiting map[int]chan answer
	log     strings.Builder // what the kernel said
	ended   chan struct{}
}

// answer is what came of a program in the guest.
type answer struct {
	ID     int    `json:"id"`
	Code   int    `json:"code"`
	Stdout []byte `json:"stdout"`
	Stderr []byte `json:"stderr"`
}

// request is what process 1 is asked for.
type request struct {
	ID         int               `json:"id"`
	Args       []string          `json:"args"`
	Stdin      string            `json:"stdin,omitempty"`
	Env        []string          `json:"env,omitempty"`
	Files      map[string][]byte `json:"files,omitempty"`
	Background bool              `json:"background,omitempty"`
	Drop       []int             `json:"drop,omitempty"`
	UID        uint32            `json:"uid,omitempty"`
	Apart      bool              `json:"apart,omitempty"`
	Log        string            `json:"log,omitempty"`
}

// start starts a guest's emulator, whose standard input and output are the guest's console, and waits
// for process 1.
func start(t *testing.T, name string, c *exec.Cmd) *Guest {
	t.Helper()
	g := &Guest{&machine{name: name, command: c, waiting: map[int]chan answer{}, ended: make(chan struct{})}, t}
	// A group of its own: User Mode Linux has helpers that do not end with it. And no guest outlives its test.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = c.Stdout
	g.console = in
	ready := make(chan answer, 1)
	g.waiting[0] = ready
	if err := c.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go g.listen(out)
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, g.Log())
		}
	})
	select {
	case a := <-ready:
		if a.Code != 0 {
			t.Fatalf("%s: process 1: %s", name, a.Stderr)
		}
	case <-g.ended:
		t.Fatalf("%s ended before it was ready:\n%s", name, g.Log())
	case <-time.After(patience):
		t.Fatalf("%s is not ready:\n%s", name, g.Log())
	}
	return g
}

// listen takes answers, and keeps what else comes over the console.
func (g *machine) listen(out io.Reader) {
	lines := bufio.NewReaderSize(out, 1<<20)
	var parts strings.Builder
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimSpace(line)
		switch part, more := strings.CutPrefix(line, "@+ "); {
		case more:
			parts.WriteString(part)
		case strings.HasPrefix(line, "@@"):
			var a answer
			data, bad := base64.StdEncoding.DecodeString(parts.String())
			parts.Reset()
			if bad = errors.Join(bad, json.Unmarshal(data, &a)); bad != nil {
				g.note("an answer cannot be read: " + bad.Error())
				break
			}
			g.mu.Lock()
			to := g.waiting[a.ID]
			delete(g.waiting, a.ID)
			g.mu.Unlock()
			if to != nil {
				to <- a
			}
		default:
			g.note(line)
		}
		if err != nil {
			break
		}
	}
	_ = g.command.Wait()
	close(g.ended)
}

func (g *machine) note(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if line != "" && g.log.Len() < 1<<20 {
		g.log.WriteString(line + "\n")
	}
}

// Log is what came over the console and was no answer.
func (g *machine) Log() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.log.String()
}

// errEnded: the guest is not there any more.
var errEnded = errors.New("the guest has ended")

// do sends a request and waits for its answer.
func (g *machine) do(ctx context.Context, r request) (answer, error) {
	to := make(chan answer, 1)
	g.mu.Lock()
	g.next++
	r.ID = g.next
	g.waiting[r.ID] = to
	data, err := json.Marshal(r)
	if err == nil {
		_, err = g.console.Write([]byte(base64.StdEncoding.EncodeToString(data) + "\n"))
	}
	g.mu.Unlock()
	if err != nil {
		return answer{}, err
	}
	select {
	case a := <-to:
		return a, nil
	case <-g.ended:
		return answer{}, errEnded
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-time.After(patience):
		g.tasks(r)
		return answer{}, fmt.Errorf("no answer to %q in %v", r.Args, patience)
	}
}

// tasks has the kernel say what its tasks wait for, and gives it time for that.
func (g *machine) tasks(stuck request) {
	ask := request{ID: -1, Args: []string{"write", "/proc/sysrq-trigger", "w"}}
	if data, err := json.Marshal(ask); err == nil && stuck.ID != ask.ID {
		g.mu.Lock()
		_, _ = g.console.Write([]byte(base64.StdEncoding.EncodeToString(data) + "\n"))
		g.mu.Unlock()
		time.Sleep(5 * time.Second)
	}
}

// Run runs a program in the guest; a program that cannot be run at all fails the test.
func (g *Guest) Run(args ...string) (stdout string, code int) {
	g.t.Helper()
	a, err := g.do(g.t.Context(), request{Args: args})
	if err != nil || a.Code < 0 {
		g.t.Fatalf("%s: %q: %v %s\n%s", g.name, args, err, a.Stderr, g.Log())
	}
	if len(a.Stderr) > 0 {
		g.t.Logf("%s: %q said: %s", g.name, args, a.Stderr)
	}
	return string(a.Stdout), a.Code
}

// Must runs a program that must exit with 0.
func (g *Guest) Must(args ...string) string {
	g.t.Helper()
	out, code := g.Run(args...)
	if code != 0 {
		g.t.Fatalf("%s: %q exits with %d: %s", g.name, args, code, out)
	}
	return out
}

// in is the guest for a part of a test.
func (g *Guest) in(t *testing.T) *Guest { return &Guest{g.machine, t} }

// Kill takes the guest away as a loss of power does: nothing in it hears of that.
func (g *machine) Kill() {
	_ = syscall.Kill(-g.command.Process.Pid, syscall.SIGKILL)
	<-g.ended
}

// builder makes programs and archives for guests, once for all tests.
var builder struct {
	once    sync.Once
	dir     string
	init    string // process 1
	expunge string // the program as it is shipped
	err     error
}

// programs builds process 1 and the program.
func programs(t *testing.T) (init, expunge string) {
	t.Helper()
	builder.once.Do(func() {
		builder.dir, builder.err = os.MkdirTemp("", "expunge-e2e-")
		if builder.err != nil {
			return
		}
		builder.init, builder.expunge = filepath.Join(builder.dir, "guestinit"), filepath.Join(builder.dir, "expunge")
		for out, pkg := range map[string]string{builder.init: "./guestinit", builder.expunge: "../../cmd/expunge"} {
			c := exec.Command("go", "build", "-trimpath", "-o", out, pkg)
			c.Env = append(os.Environ(), "CGO_ENABLED=0")
			if said, err := c.CombinedOutput(); err != nil {
				builder.err = errors.Join(builder.err, fmt.Errorf("%s: %w: %s", pkg, err, said))
			}
		}
	})
	if builder.err != nil {
		t.Fatal(builder.err)
	}
	return builder.init, builder.expunge
}

// initramfs makes the archive of a guest: process 1, the program, modules in order, and other files by
// where they go.
func initramfs(t *testing.T, kernel modules, load []string, files map[string]string) string {
	t.Helper()
	init, expunge := programs(t)
	a := &archive{}
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "host", "mnt", "var/lib/expunge"} {
		a.dir(strings.Split(d, "/")[0])
		a.dir(d)
	}
	a.device("dev/console", 5, 1)
	a.device("dev/null", 1, 3)
	err := errors.Join(a.copy("init", init), a.copy("bin/expunge", expunge))
	a.link("usr/bin/expunge", "/bin/expunge") // where packages put it
	names, parameters := make([]string, len(load)), map[string]string{}
	for i, text := range load { // "scsi_debug dev_size_mb=8"
		name, given, _ := strings.Cut(text, " ")
		names[i], parameters[moduleName(name)] = name, given
	}
	list, errOrder := kernel.order(names...)
	err = errors.Join(err, errOrder)
	for i, m := range list {
		name := fmt.Sprintf("modules/%03d-%s.ko", i, m.name)
		a.file(name, 0o600, m.data)
		if given := parameters[m.name]; given != "" {
			a.file(name+".parameters", 0o600, []byte(given))
		}
	}
	for at, from := range files {
		err = errors.Join(err, a.copy(at, from))
	}
	name := filepath.Join(t.TempDir(), "initramfs")
	if err = errors.Join(err, a.finish(name)); err != nil {
		t.Fatal(err)
	}
	return name
}

// spawn starts a program and does not wait for its end.
func (g *Guest) spawn(args ...string) {
	g.t.Helper()
	if a, err := g.do(g.t.Context(), request{Args: args, Background: true}); err != nil || a.Code != 0 {
		g.t.Fatalf("%s: %q: %v %s", g.name, args, err, a.Stderr)
	}
}
