// Command guestinit is process 1 of a guest: it mounts what programs expect, loads the kernel's modules
// in the order that the archive has them, and carries out what the host asks for over the console.
//
// The host writes a line of JSON, base64; the answer is a line that begins with "@@ ", so that what the
// kernel says meanwhile can be told from it. A request without arguments ends the guest.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// request is what the host asks for.
type request struct {
	ID         int               `json:"id"`
	Args       []string          `json:"args"`
	Stdin      string            `json:"stdin,omitempty"`
	Env        []string          `json:"env,omitempty"`
	Files      map[string][]byte `json:"files,omitempty"` // written before
	Background bool              `json:"background,omitempty"`
	// Drop are the numbers of capabilities that the program is started without.
	Drop []int `json:"drop,omitempty"`
	// UID is the user as whom it runs, and of whose group; 0 is root.
	UID uint32 `json:"uid,omitempty"`
	// Apart: it runs in a mount namespace of its own, and is not told of mounts that others make later.
	Apart bool `json:"apart,omitempty"`
	// Log is the file that what a program in the background says goes to; "" is nowhere.
	Log string `json:"log,omitempty"`
}

// answer is what came of it.
type answer struct {
	ID     int    `json:"id"`
	Code   int    `json:"code"` // -1: it could not be started
	Stdout []byte `json:"stdout,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "apart" {
		apart(os.Args[2:])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "http" {
		overSocket(os.Args[2:])
		return
	}
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "beside":
		err = besideSystemd(os.Args[2:])
	case os.Getenv("systemd") != "": // the kernel makes "systemd=1" of its command line a variable
		handOver(setUp()) // returns only when it could not
		halt()
	default:
		err = setUp()
	}
	console, errOpen := os.OpenFile("/dev/console", os.O_RDWR, 0)
	if errOpen != nil {
		fmt.Println("no console:", errOpen)
		halt()
	}
	err = errors.Join(err, raw(console))
	var mu sync.Mutex
	say := func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		data, _ := json.Marshal(a)
		text := base64.StdEncoding.EncodeToString(data)
		// The kernel writes to the same console: a message of its own within an answer would make that unreadable.
		_, _ = unix.Klogctl(6, nil) // SYSLOG_ACTION_CONSOLE_OFF; what is said meanwhile stays in the ring
		defer func() { _, _ = unix.Klogctl(7, nil) }()
		for part := range slices.Chunk([]byte(text), 3000) {
			fmt.Fprintf(console, "\n@+ %s", part)
		}
		fmt.Fprintf(console, "\n@@ \n")
	}
	ready := answer{}
	if err != nil {
		ready.Code, ready.Stderr = 1, []byte(err.Error())
	}
	say(ready)
	lines := bufio.NewScanner(console)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		var r request
		data, err := base64.StdEncoding.DecodeString(text)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil {
			say(answer{Code: -1, Stderr: []byte("request: " + err.Error())})
			continue
		}
		if len(r.Args) == 0 {
			say(answer{ID: r.ID})
			halt()
		}
		go func() { say(r.carryOut()) }()
	}
	halt()
}

func halt() {
	syscall.Sync()
	time.Sleep(50 * time.Millisecond)
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_HALT)
	select {}
}

// raw takes echo, line editing and signals off the console.
func raw(f *os.File) error {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t)
}

func setUp() error {
	var all error
	for _, m := range []struct{ what, kind, at, options string }{
		{"proc", "proc", "/proc", ""}, {"sysfs", "sysfs", "/sys", ""}, {"devtmpfs", "devtmpfs", "/dev", ""},
		{"tmpfs", "tmpfs", "/run", ""}, {"tmpfs", "tmpfs", "/tmp", ""},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			all = errors.Join(all, err)
		}
		if err := syscall.Mount(m.what, m.at, m.kind, 0, m.options); err != nil && !errors.Is(err, syscall.EBUSY) {
			all = errors.Join(all, fmt.Errorf("mount %s: %w", m.at, err))
		}
	}
	os.Setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
	os.Setenv("HOME", "/tmp")
	_ = syscall.Sethostname([]byte("guest"))
	files, err := filepath.Glob("/modules/*.ko")
	all = errors.Join(all, err)
	slices.Sort(files)
	for _, name := range files {
		if err := load(name); err != nil {
			all = errors.Join(all, fmt.Errorf("load %s: %w", filepath.Base(name), err))
		}
	}
	if share := os.Getenv("share"); share != "" { // the kernel makes "share=…" of its command line a variable
		if err := os.MkdirAll("/host", 0o755); err != nil {
			all = errors.Join(all, err)
		}
		kind, what, _ := strings.Cut(share, ":")
		options := ""
		if kind == "hostfs" {
			options = what // it is the directory
		}
		if err := syscall.Mount(what, "/host", kind, 0, options); err != nil {
			all = errors.Join(all, fmt.Errorf("mount /host: %w", err))
		}
	}
	return all
}

// load loads one module. Its parameters are in a file beside it.
func load(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	parameters, _ := os.ReadFile(name + ".parameters")
	err = unix.FinitModule(int(f.Fd()), string(parameters), 0)
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

func (r request) carryOut() answer {
	a := answer{ID: r.ID, Code: -1}
	for name, data := range r.Files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o755)); err != nil {
			a.Stderr = []byte(err.Error())
			return a
		}
	}
	if builtin, ok := builtins[r.Args[0]]; ok {
		out, err := builtin(r.Args[1:])
		a.Code, a.Stdout = 0, out
		if err != nil {
			a.Code, a.Stderr = 1, []byte(err.Error())
		}
		return a
	}
	var stdout, stderr bytes.Buffer
	c := exec.Command(r.Args[0], r.Args[1:]...)
	c.Env = append(os.Environ(), r.Env...)
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(r.Stdin), &stdout, &stderr
	c.SysProcAttr = &syscall.SysProcAttr{}
	if r.UID != 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: r.UID, Gid: r.UID}
	}
	if r.Apart {
		c.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	}
	if r.Background {
		c.Stdout, c.Stderr = nil, nil
		if r.Log != "" {
			f, err := os.OpenFile(r.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
			if err != nil {
				a.Stderr = []byte(err.Error())
				return a
			}
			defer f.Close()
			c.Stdout, c.Stderr = f, f
		}
		if err := c.Start(); err != nil {
			a.Stderr = []byte(err.Error())
			return a
		}
		go func() { _ = c.Wait() }()
		a.Code, a.Stdout = 0, fmt.Appendf(nil, "%d", c.Process.Pid)
		return a
	}
	done := make(chan error)
	go func() {
		// Capabilities are a thread's: the bounding set is taken from the one that starts the program.
		done <- withoutCapabilities(r.Drop, c.Run)
	}()
	err := <-done
	a.Stdout, a.Stderr = stdout.Bytes(), stderr.Bytes()
	var exit *exec.ExitError
	switch {
	case err == nil:
		a.Code = 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		a.Code = exit.ExitCode()
	default:
		a.Stderr = append(a.Stderr, err.Error()...)
	}
	return a
}

// builtins are what guests need and no program of theirs does.
var builtins = map[string]func(args []string) ([]byte, error){
	"cat": func(args []string) (all []byte, err error) {
		for _, name := range args {
			data, e := os.ReadFile(name)
			all, err = append(all, data...), errors.Join(err, e)
		}
		return all, err
	},
	"ls": func(args []string) ([]byte, error) {
		var all []string
		for _, pattern := range args {
			list, err := filepath.Glob(pattern)
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
		return []byte(strings.Join(all, "\n")), nil
	},
	"write": func(args []string) ([]byte, error) { return nil, os.WriteFile(args[0], []byte(args[1]), 0o644) },
	"mount": func(args []string) ([]byte, error) {
		if err := os.MkdirAll(args[2], 0o755); err != nil {
			return nil, err
		}
		return nil, syscall.Mount(args[1], args[2], args[0], 0, strings.Join(args[3:], ","))
	},
	"umount": func(args []string) ([]byte, error) { return nil, syscall.Unmount(args[0], 0) },
	"hold": func(args []string) ([]byte, error) { // opens a file for as long as the guest lives
		f, err := os.OpenFile(args[0], os.O_RDONLY, 0)
		if err == nil {
			held = append(held, f)
		}
		return nil, err
	},
	"kill": func(args []string) ([]byte, error) {
		var pid int
		if _, err := fmt.Sscan(args[0], &pid); err != nil {
			return nil, err
		}
		return nil, syscall.Kill(pid, syscall.SIGKILL)
	},
	"address":      address,
	"nvme-connect": connectNVMe,
	"dmesg": func([]string) ([]byte, error) {
		b := make([]byte, 1<<18)
		n, err := unix.Klogctl(3, b)
		return b[:max(0, n)], err
	},
}

var held []*os.File

// withoutCapabilities runs do on a thread whose programs lack capabilities, which ends with it.
func withoutCapabilities(drop []int, do func() error) error {
	if len(drop) == 0 {
		return do()
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
	for _, n := range drop {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(n), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", n, err)
		}
	}
	return do()
}
