package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// clock is which time of a run is a program's.
type clock string

// The times that are compared.
const (
	byProcess clock = "process" // from its start to its end
	byDrives  clock = "drives"  // from its first write to the end of its last request: it sleeps before and after
)

// tool is a program that writes drives, or our engine.
type tool struct {
	name  string
	clock clock
	does  func(Pass) bool
	// run does a pass to all drives of a set at once, and returns the processor time that it took.
	run func(context.Context, *set, Pass, *watch) (time.Duration, error)
	// ready is called once for each set, before anything is measured. It may be nil.
	ready func(context.Context, *set) error
	// commands are the command lines of a program that is nothing more than those.
	commands func(*set, Pass) [][]string
}

// set is the drives of one comparison and where programs see them.
type set struct {
	loops []Loop
	cell  *cell
	work  string // a directory on a disk
}

func (s *set) nodes() []string {
	var list []string
	for _, l := range s.loops {
		list = append(list, l.Node)
	}
	return list
}

// each makes one command for each drive.
func (s *set) each(command func(l Loop) []string) [][]string {
	var list [][]string
	for _, l := range s.loops {
		list = append(list, command(l))
	}
	return list
}

// program is a tool made of command lines: one process for all drives, or one for each.
func program(name string, c clock, commands func(s *set, pass Pass) [][]string) tool {
	return tool{
		name: name, clock: c, commands: commands,
		does: func(p Pass) bool { return commands(&set{loops: []Loop{{}}}, p) != nil },
		run: func(ctx context.Context, s *set, pass Pass, w *watch) (time.Duration, error) {
			return s.runAll(ctx, commands(s, pass), w)
		},
	}
}

// runAll runs commands side by side in the cell. The time is that of the processes and of the children that
// they waited for.
func (s *set) runAll(ctx context.Context, commands [][]string, w *watch) (time.Duration, error) {
	// Some programs take no name for all drives.
	for _, words := range commands {
		if !slices.ContainsFunc(s.nodes(), func(node string) bool { return names(words, node) }) {
			return 0, fmt.Errorf("%q names no drive of ours: %w", words, ErrNotOurs)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ran struct {
		cmd    *exec.Cmd
		output bytes.Buffer
	}
	var started []*ran
	var first error
	for _, words := range commands {
		r := &ran{cmd: exec.CommandContext(ctx, words[0], words[1:]...)}
		r.cmd.Stdout, r.cmd.Stderr, r.cmd.Dir = &r.output, &r.output, s.work
		r.cmd.Env = append(os.Environ(), "LC_ALL=C", "TERM=dumb")
		if first = s.cell.start(r.cmd); first != nil {
			first = fmt.Errorf("start %s: %w", words[0], first)
			cancel()
			break
		}
		started = append(started, r)
	}
	if len(commands) == 1 && len(started) == 1 {
		w.pid.Store(int64(started[0].cmd.Process.Pid))
	}
	var used time.Duration
	for _, r := range started {
		if err := r.cmd.Wait(); err != nil && first == nil {
			first = fmt.Errorf("%s: %w: %s", filepath.Base(r.cmd.Path), err, tail(r.output.String()))
			cancel() // what remains of it would be measured for nothing
		}
		used += r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime()
	}
	return used, first
}

// names says whether one of a command's words is a node, or what follows an option's equals sign is.
func names(words []string, node string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return w == node || strings.HasSuffix(w, "="+node) })
}

// tail is the end of what a program said, on one line.
func tail(said string) string {
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > 240 {
		said = "… " + said[len(said)-240:]
	}
	return said
}

// found is the tools that are here, their versions, and the names of those that are not.
type found struct {
	Tools    []tool
	Versions map[string]string
	Missing  []string
}

// find looks for the programs to compare with. Those that are not installed are named, and that is all.
func find(ctx context.Context, o Options, work string) found {
	f := found{Versions: map[string]string{}}
	for _, p := range []struct {
		name  string
		tools func(path string) []tool
	}{
		{"fio", func(path string) []tool { return fio(path, fioEngine(ctx, path, work)) }},
		{"dd", dd},
		{"shred", shred},
		{"scrub", scrub},
		{"nwipe", func(path string) []tool { return nwipe(path, help(ctx, path), o.Quick) }},
	} {
		path, err := exec.LookPath(p.name)
		if err != nil {
			f.Missing = append(f.Missing, p.name)
			continue
		}
		f.Versions[p.name] = version(ctx, path)
		f.Tools = append(f.Tools, p.tools(path)...)
	}
	if o.Nwipe != "" {
		path, err := filepath.Abs(o.Nwipe)
		if err != nil {
			f.Missing = append(f.Missing, o.Nwipe)
			return f
		}
		f.Versions[o.Nwipe] = version(ctx, path)
		f.Tools = append(f.Tools, nwipe(path, help(ctx, path), o.Quick)...)
	}
	return f
}

// version is the first line of what a program says of itself.
func version(ctx context.Context, path string) string {
	line := ""
	for _, option := range []string{"--version", "-V"} {
		said, err := exec.CommandContext(ctx, path, option).CombinedOutput()
		line, _, _ = strings.Cut(strings.TrimSpace(string(said)), "\n")
		if line != "" && err == nil {
			return line
		}
	}
	return cmp.Or(line, "unknown")
}

func help(ctx context.Context, path string) string {
	said, err := exec.CommandContext(ctx, path, "--help").CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return ""
	}
	return string(said)
}
