package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	// A process of ours is killed when the thread that started it ends: it must be this one.
	runtime.LockOSThread()
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM, unix.SIGHUP)
		defer stop()
		if o.part != "" {
			err = o.runPart(ctx)
		} else {
			err = o.runAll(ctx)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// runAll starts a process for each part and clears up after all of them.
func (o Options) runAll(ctx context.Context) (err error) {
	r := Report{Schema: schema, Date: time.Now().UTC().Round(time.Second), Command: os.Args, Machine: machine(), Rounds: o.Rounds}
	if o.Loop && os.Geteuid() != 0 {
		r.Skipped = append(r.Skipped, "loop devices: they need root")
	} else if o.Loop {
		if err := o.loops(ctx, &r); err != nil {
			return err
		}
	}
	for _, h := range simHosts {
		if !o.Sim || ctx.Err() != nil {
			break
		}
		row := SimRow{Host: h.what}
		if err := o.start(ctx, "sim "+h.name, "", &row); err != nil {
			row.Void = err.Error()
		}
		r.Hosts = append(r.Hosts, row)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := r.write(os.Stdout); err != nil {
		return err
	}
	if o.JSON != "" {
		data, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.JSON, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if problems := r.problems(o); o.Quick && len(problems) > 0 {
		return fmt.Errorf("%d of its figures are void or missing, the first: %s", len(problems), problems[0])
	}
	return nil
}

// loops has the part that compares run in a room, which is cleared whatever becomes of it.
func (o Options) loops(ctx context.Context, r *Report) (err error) {
	room, err := newRoom()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, room.clear()) }()
	o.dir = room.path
	return o.start(ctx, "loop", room.work, r)
}

// start runs a part in a process of its own and decodes its answer into what was given.
func (o Options) start(ctx context.Context, part, work string, answer any) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	given, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append(os.Args[1:], "-part", part, "-dir", o.dir+":"+work)...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(given)), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// It has got the signal, too, when it came from a terminal; it ends its programs and clears up.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(unix.SIGTERM) }, 15*time.Second
	said, err := cmd.Output()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return json.Unmarshal(said, answer)
}

// runPart is what such a process does.
func (o Options) runPart(ctx context.Context) error {
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	room, work, _ := strings.Cut(o.dir, ":")
	o.dir = room
	if name, ok := strings.CutPrefix(o.part, "sim "); ok {
		for _, h := range simHosts {
			if h.name == name {
				row, err := h.simulate(ctx, o)
				if err != nil {
					return err
				}
				return json.NewEncoder(os.Stdout).Encode(row)
			}
		}
	}
	if o.part != "loop" {
		return fmt.Errorf("no part is called %q", o.part)
	}
	var r Report
	if err := json.Unmarshal(given, &r); err != nil {
		return err
	}
	if err := o.compareAll(ctx, &r, work); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

func (o Options) compareAll(ctx context.Context, r *Report, work string) error {
	say := func(format string, words ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", words...) }
	f := find(ctx, o, work)
	r.Versions, r.Missing = f.Versions, f.Missing
	tools := []tool{engine()}
	path := o.Expunge
	if path == "" {
		path = filepath.Join(work, "expunge")
		say("building expunge")
		if err := build(ctx, path); err != nil {
			return err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	tools = append(append(tools, product(path)), f.Tools...)
	for _, n := range o.Drives {
		rows, err := compare(ctx, o, tools, n, work, say)
		r.Rows = append(r.Rows, rows...)
		if err != nil {
			return err
		}
	}
	return nil
}
