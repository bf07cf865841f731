package main

import (
	"bytes"
	"cmp"
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
	"slices"
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
		err = o.inRoom(ctx, "loop", &r)
	}
	for _, h := range simHosts {
		if !o.Sim || err != nil || ctx.Err() != nil {
			break
		}
		row := SimRow{Host: h.what}
		if err := start(ctx, o, "sim "+h.name, "", &row); err != nil {
			row.Void = err.Error()
		}
		r.Hosts = append(r.Hosts, row)
	}
	if o.Agent && err == nil && ctx.Err() == nil {
		err = o.inRoom(ctx, "agent", &r)
	}
	if err = cmp.Or(context.Cause(ctx), err); err != nil {
		r.Skipped = append(r.Skipped, "what is missing below: "+err.Error())
	}
	// What was measured before somebody stopped it, or something broke, is worth to be told.
	return errors.Join(err, o.tell(r))
}

// tell prints the report, and judges it when that was asked for.
func (o Options) tell(r Report) error {
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

// inRoom has a part run in a room, which is cleared whatever becomes of it.
func (o Options) inRoom(ctx context.Context, part string, r *Report) (err error) {
	room, err := newRoom()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, room.clear()) }()
	o.dir = room.path
	return start(ctx, o, part, room.work, r)
}

// start runs a part in a process of its own. What that answers last takes the place of what was given, also
// when it ends before its time.
func start[T any](ctx context.Context, o Options, part, work string, answer *T) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	given, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append(os.Args[1:], "-part", part, "-dir", o.dir+":"+work)...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(given), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// It has got the signal, too, when it came from a terminal; it ends its programs and clears up.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(unix.SIGTERM) }, 15*time.Second
	said, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	answered, decodeErr := last(json.NewDecoder(said), answer)
	if err := cmd.Wait(); err != nil {
		return cmp.Or(context.Cause(ctx), fmt.Errorf("%s: %w", part, err))
	}
	if answered == 0 && decodeErr == nil {
		decodeErr = io.ErrUnexpectedEOF
	}
	return decodeErr
}

// last decodes all answers, and keeps the last that is whole.
func last[T any](from *json.Decoder, answer *T) (n int, err error) {
	for ; ; n++ {
		var next T
		switch err := from.Decode(&next); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("what a part answered: %w", err)
		}
		*answer = next
	}
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
	var r Report
	if err := json.Unmarshal(given, &r); err != nil {
		return err
	}
	told := func() error { return json.NewEncoder(os.Stdout).Encode(r) }
	switch o.part {
	case "loop":
		return o.compareAll(ctx, &r, work, told)
	case "agent":
		return o.serveAll(ctx, &r, work, told)
	}
	return fmt.Errorf("no part is called %q", o.part)
}

func say(format string, words ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", words...) }

// shipped is the program: the one that was named, or one that is built now.
func (o Options) shipped(ctx context.Context, work string) (string, error) {
	if o.Expunge != "" {
		return filepath.Abs(o.Expunge)
	}
	path := filepath.Join(work, "expunge")
	say("building expunge")
	return path, build(ctx, path)
}

// compareAll calls told whenever there is more to tell.
func (o Options) compareAll(ctx context.Context, r *Report, work string, told func() error) error {
	f := find(ctx, o, work)
	r.Versions, r.Missing = f.Versions, f.Missing
	tools := []tool{engine()}
	path, err := o.shipped(ctx, work)
	if err != nil {
		return err
	}
	tools = append(append(tools, product(path)), f.Tools...)
	tools = slices.DeleteFunc(tools, func(t tool) bool { return o.leavesOut(t.name) })
	for _, n := range o.Drives {
		if err := compare(ctx, o, tools, n, work, say, func(rows []Row) error {
			r.Rows = append(r.Rows, rows...)
			return told()
		}); err != nil {
			return err
		}
	}
	return nil
}
