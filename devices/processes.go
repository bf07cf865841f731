package devices

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// readDescriptors finds drives that another process has open. Our own descriptors do not count: what we hold, we hold exclusively.
// What other processes have open is only shown to those with CAP_SYS_PTRACE (proc_pid_fd(5)); without it, nothing is known.
func (u *uses) readDescriptors() error {
	if err := u.seesProcesses(); err != nil {
		return err
	}
	processes, err := u.processes()
	if err != nil {
		return err
	}
	own := strconv.Itoa(os.Getpid())
	for _, p := range processes {
		if p == own {
			continue
		}
		dir := u.fs.path("proc", p, "fd")
		descriptors, err := os.ReadDir(dir)
		if ended(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, d := range descriptors {
			switch name, node, err := u.opened(filepath.Join(dir, d.Name())); {
			case ended(err): // closed meanwhile
			case p == "1" && errors.Is(err, fs.ErrPermission):
				// The kernel's security module may keep it from everybody. What the machine's first process uses, it has mounted.
			case err != nil:
				return err
			case name != "":
				u.mark(name, use{false, Reason{"open", fmt.Sprintf("%s is open in process %s (%s)", node, p, cleanASCII(text(u.fs.root, "proc", p, "comm"))), "end that program first"}})
			}
		}
	}
	return nil
}

// opened is the drive or partition, if any, that a descriptor is of, and the node that it was opened by.
func (u *uses) opened(descriptor string) (name, node string, err error) {
	target, err := os.Readlink(descriptor)
	if err != nil {
		return "", "", err
	}
	info, err := os.Stat(descriptor)
	if ended(err) {
		return "", "", err
	}
	if err != nil {
		// It may be seen, and its file system answers nothing, or only its own user: what it is called tells whether it is a node. What
		// is called so and is none that is known, such as the other door of a drive, may be of any drive.
		if name = u.nameOf(target); name == "" && strings.HasPrefix(target, "/dev/") {
			return "", "", err
		}
		return name, nodePath(name), nil
	}
	switch number, block, character := deviceNumber(info); {
	case block:
		name = u.numbers[number]
		return name, nodePath(name), nil
	case character:
		g := u.generic[number]
		return g.drive, g.node, nil
	}
	return "", "", nil
}

// firstPIDNamespace is the PID namespace that a kernel starts with: its number has been the same since Linux 3.8 (PID_NS_INIT_INO).
const firstPIDNamespace = "pid:[4026531836]"

// capSysPtrace is the bit of CAP_SYS_PTRACE (capabilities(7)).
const capSysPtrace = 19

var (
	errContainer = errors.New("this is a container, which sees only its own processes")
	errHidden    = errors.New("/proc is mounted so that processes of others are hidden")
)

// seesProcesses says whether all processes of the host are in /proc.
func (u *uses) seesProcesses() error {
	switch namespace, err := os.Readlink(u.fs.path("proc/self/ns/pid")); {
	case errors.Is(err, fs.ErrNotExist): // a kernel without such namespaces
	case err != nil:
		return err
	case namespace != firstPIDNamespace:
		return errContainer
	}
	mounts, err := os.ReadFile(u.fs.path("proc/self/mountinfo"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) < 5 || fields[4] != "/proc" || !hidesProcesses(fields[len(fields)-1]) {
			continue
		}
		if !u.mayTrace() {
			return errHidden
		}
	}
	return nil
}

// hidesProcesses says so of the options of a mounted /proc (proc(5)).
func hidesProcesses(options string) bool {
	for option := range strings.SplitSeq(options, ",") {
		if how, is := strings.CutPrefix(option, "hidepid="); is && how != "0" && how != "off" {
			return true
		}
	}
	return false
}

// mayTrace says whether this process has CAP_SYS_PTRACE, to which nothing is hidden.
func (u *uses) mayTrace() bool {
	data, err := os.ReadFile(u.fs.path("proc/self/status"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if mask, is := strings.CutPrefix(line, "CapEff:"); is {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && n>>capSysPtrace&1 == 1
		}
	}
	return false
}

// hintUnread is what to do when something that speaks against drives cannot be read.
func hintUnread(err error) string {
	switch {
	case errors.Is(err, errContainer):
		return "give the container the host's processes: --pid=host"
	case errors.Is(err, errHidden), errors.Is(err, fs.ErrPermission) && os.Geteuid() == 0:
		return "run as root with the capability CAP_SYS_PTRACE, as the unit of the source does"
	case errors.Is(err, fs.ErrPermission):
		return "run as root"
	}
	return ""
}

// processes lists the numbers of /proc.
func (u *uses) processes() ([]string, error) {
	all, err := os.ReadDir(u.fs.path("proc"))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range all {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, e.Name())
		}
	}
	return list, nil
}

// ended tells the errors of a process that is no longer there.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL)
}
