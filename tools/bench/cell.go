package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// cell is where other programs are started: a view of the file system in which /dev holds the loop devices
// of this run, null, zero, random, and nothing else. A program that looks for drives there, or that takes
// no argument for all drives, finds ours alone.
type cell struct{ starts chan func() }

// newCell makes a cell with these loop devices. It belongs to one thread, whose children see it.
func newCell(loops []Loop) (*cell, error) {
	c := &cell{make(chan func())}
	made := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and takes its view with it.
		runtime.LockOSThread()
		err := furnish(loops)
		made <- err
		if err != nil {
			return
		}
		for start := range c.starts {
			start()
		}
	}()
	return c, <-made
}

func furnish(loops []Loop) error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a view of the file system: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep its mounts to itself: %w", err)
	}
	if err := unix.Mount("expunge-bench", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755"); err != nil {
		return fmt.Errorf("cover /dev: %w", err)
	}
	if err := os.Mkdir("/dev/shm", 0o1777); err != nil {
		return err
	}
	type node struct {
		name         string
		kind         uint32
		major, minor uint32
	}
	nodes := []node{
		{"/dev/null", unix.S_IFCHR, 1, 3}, {"/dev/zero", unix.S_IFCHR, 1, 5},
		{"/dev/random", unix.S_IFCHR, 1, 8}, {"/dev/urandom", unix.S_IFCHR, 1, 9},
	}
	for _, l := range loops {
		nodes = append(nodes, node{l.Node, unix.S_IFBLK, loopMajor, l.minor})
	}
	for _, n := range nodes {
		if err := unix.Mknod(n.name, n.kind|0o600, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("make %s in its /dev: %w", n.name, err)
		}
	}
	return nil
}

// start starts a program in the cell. It is killed, with its children, when the command's context ends,
// and when this process does.
func (c *cell) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	started := make(chan error)
	c.starts <- func() { started <- cmd.Start() }
	return <-started
}

func (c *cell) close() { close(c.starts) }
