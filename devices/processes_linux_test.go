package devices_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/expunge-dev/expunge/devices"
	"github.com/expunge-dev/expunge/devices/devicetest"
)

// nodeToLookAt makes this test program say what it sees of a node, by all processes of this machine.
const nodeToLookAt = "EXPUNGE_TEST_NODE"

// What another process of this machine has open is seen by whoever may see it; whoever may not knows nothing of any drive.
func TestOpenInAnotherProcessOfThisMachine(t *testing.T) {
	if node := os.Getenv(nodeToLookAt); node != "" {
		fmt.Println("saw:", sawOf(t, node))
		return
	}
	node, _ := devicetest.Loop(t, 1<<20, nil)
	if n, err := os.Readlink("/proc/self/ns/pid"); err == nil && n != "pid:[4026531836]" {
		t.Skip("this is a container: other processes cannot be seen")
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("setpriv is not installed: apt-get install util-linux")
	}
	look := func(capabilities string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), setpriv, "--bounding-set", capabilities, "--", os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), nodeToLookAt+"="+node)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, saw, _ := strings.Cut(string(out), "saw: ")
		saw, _, _ = strings.Cut(saw, "\n")
		return saw
	}
	// As the unit has it.
	unit := "-all,+sys_admin,+sys_rawio,+dac_read_search,+ipc_lock,+chown,+sys_ptrace"
	if saw := look(unit); saw != string(devices.StateReady) {
		t.Errorf("nobody has it open: %s", saw)
	}
	f, err := os.Open(node)
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.Command("sleep", "600")
	holder.Stdin = f
	err = holder.Start()
	if closed := f.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
	defer func() {
		_ = holder.Process.Kill()
		_ = holder.Wait() // it was killed
	}()
	if saw := look(unit); saw != "in_use open" {
		t.Errorf("another process has it open: %s", saw)
	}
	if saw := look(strings.TrimSuffix(unit, ",+sys_ptrace")); saw != "blocked undetermined" {
		t.Errorf("what other processes have open cannot be seen: %s", saw)
	}
}

// sawOf is the state of a drive that is made up but for its number and its users: those of a node and of this machine.
func sawOf(t *testing.T, node string) string {
	var info unix.Stat_t
	if err := unix.Stat(node, &info); err != nil {
		t.Fatal(err)
	}
	h := machine().disk("sda", fmt.Sprintf("%d:%d", unix.Major(info.Rdev), unix.Minor(info.Rdev)), "SER1")
	for name := range h {
		if strings.HasPrefix(name, "proc/") {
			delete(h, name)
		}
	}
	h["proc"] = "->/proc"
	drives, err := h.build(t).Drives(t.Context())
	if err != nil || len(drives) != 1 {
		t.Fatal(drives, err)
	}
	return strings.TrimSpace(string(drives[0].State) + " " + reasons(drives[0]))
}

// Where processes are hidden, who has a drive open cannot be known.
func TestHiddenProcesses(t *testing.T) {
	const traces, not = "Name:\tx\nCapEff:\t0000000000080000\n", "Name:\tx\nCapEff:\tfffffffffff7ffff\n"
	for what, c := range map[string]struct {
		files   tree
		reasons string
	}{
		"a container": {tree{"proc/self/ns/pid": "->pid:[4026532000]"}, "undetermined"},
		"none":        {tree{"proc/self/ns/pid": "->pid:[4026531836]"}, ""},
		"hidden":      {tree{"proc/self/mountinfo": "21 1 0:20 / /proc rw - proc proc rw,gid=4,hidepid=invisible\n", "proc/self/status": not}, "undetermined"},
		"hidden, and what may be seen is not told": {tree{"proc/self/mountinfo": "21 1 0:20 / /proc rw - proc proc rw,hidepid=2\n"}, "undetermined"},
		"not from us": {tree{"proc/self/mountinfo": "21 1 0:20 / /proc rw - proc proc rw,hidepid=invisible\n", "proc/self/status": traces}, ""},
		"shown":       {tree{"proc/self/mountinfo": "21 1 0:20 / /proc rw - proc proc rw,hidepid=off\n", "proc/self/status": not}, ""},
	} {
		drives, err := machine().disk("sda", "8:0", "SER1").with(c.files).build(t).Drives(t.Context())
		if err != nil || reasons(drives[0]) != c.reasons || (drives[0].State == devices.StateReady) != (c.reasons == "") {
			t.Errorf("%s: %+v, %v", what, drives, err)
		}
	}
}

// A descriptor whose file does not answer is judged by its name; one that was closed meanwhile is nobody's.
func TestDescriptorsThatDoNotAnswer(t *testing.T) {
	h := machine().disk("sda", "8:0", "SER1").with(tree{"dev/sda": "", "proc/77/comm": "qemu\n", "proc/77/mountinfo": "x\n"})
	for target, want := range map[string]string{
		"/dev/null/file":       "undetermined", // what is below a node cannot be looked at
		"/dev/null/../sda":     "open",
		"/proc/self/stat/file": "",
		"/nowhere/file":        "", // it is not there any more
		"socket:[7]":           "",
	} {
		h["proc/77/fd/3"] = "->" + target
		drives, err := h.build(t).Drives(t.Context())
		if err != nil || reasons(drives[0]) != want {
			t.Errorf("%s: %+v, %v", target, drives, err)
		}
	}
}
