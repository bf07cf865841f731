package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// Figure is something that was measured of the agent.
type Figure struct {
	What string `json:"what"`
	Unit string `json:"unit"`
	Stat
	P99  float64 `json:"p99,omitempty"` // of 100 values and more
	N    int     `json:"n"`             // how many values
	Void string  `json:"void,omitempty"`
}

// figure is of values, of which not one may be missing.
func figure(what, unit string, values ...float64) Figure {
	f := Figure{What: what, Unit: unit, Stat: statOf(values), N: len(values)}
	if len(values) >= 100 {
		f.P99 = slices.Sorted(slices.Values(values))[int(math.Ceil(0.99*float64(len(values))))-1]
	}
	return f
}

// figures prints them for people.
func figures(w io.Writer, list []Figure) error {
	if len(list) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nthe agent\tmedian\tmin–max\tp99\tvalues\n")
	for _, f := range list {
		if f.Void != "" {
			fmt.Fprintf(t, "%s\tVOID: %s\n", f.What, f.Void)
			continue
		}
		p99 := ""
		if f.P99 > 0 {
			p99 = fmt.Sprintf("%.4g", f.P99)
		}
		fmt.Fprintf(t, "%s\t%.4g %s\t%.4g–%.4g\t%s\t%d\n", f.What, f.Median, f.Unit, f.Min, f.Max, p99, f.N)
	}
	return t.Flush()
}

// load is how much of everything the agent is given.
type load struct {
	rounds                      int           // of drives with watchers, and without
	watchers, watched           int           // how many follow a job of so many drives
	watching                    time.Duration // how long they are counted
	listed, lists, looks        int           // drives of a host, how often it is listed, and how often it is looked at anew
	jobs                        int           // that are started one after the other
	idle                        int           // drives of a host that nothing is done with
	idling                      time.Duration
	unfinished                  int   // jobs when the agent is killed, each of a drive
	size                        int64 // of a drive, in bytes; of one that is watched or unfinished:
	watchedSize, unfinishedSize int64
	watchedRate, unfinishedRate int64 // bytes per second
}

var (
	usualLoad = load{3, 1000, 10, 30 * time.Second, 100, 1000, 10, 25, 20, time.Minute, 100, 1 << 20, 80 << 20, 32 << 20, 2e6, 300e3}
	quickLoad = load{1, 20, 2, 1500 * time.Millisecond, 4, 100, 1, 2, 4, 200 * time.Millisecond, 4, 1 << 20, 5 << 20, 2 << 20, 2e6, 500e3}
)

// serveAll measures the agent, and calls told whenever there is more to tell.
func (o Options) serveAll(ctx context.Context, r *Report, work string, told func() error) error {
	program, err := o.shipped(ctx, work)
	if err != nil {
		return err
	}
	l := usualLoad
	if o.Quick {
		l = quickLoad
	}
	l.rounds = min(l.rounds, o.Rounds)
	for n, part := range []struct {
		what    string
		drives  int
		size    int64
		rate    int64 // 0: as fast as it can
		memory  bool  // its state is in memory, and not on the disk that work is on
		measure func(context.Context, load, *shelf) ([]Figure, error)
	}{
		{"watchers", l.watched, l.watchedSize, l.watchedRate, false, watchers},
		{"GET /v1/drives", l.listed, l.size, 0, false, listing},
		{"start of a job, state on a disk", l.jobs, l.size, 0, false, starts},
		{"start of a job, state in memory", l.jobs, l.size, 0, true, starts},
		{"idle", l.idle, l.size, 0, false, idle},
		{"restart", l.unfinished, l.unfinishedSize, l.unfinishedRate, false, restart},
	} {
		if o.AgentParts != nil && !o.AgentParts.MatchString(part.what) {
			continue
		}
		say("the agent: %s", part.what)
		dir := filepath.Join(o.dir, fmt.Sprintf("agent%d", n))
		state := filepath.Join(work, fmt.Sprintf("state%d", n))
		if part.memory {
			state = filepath.Join(dir, "state")
		}
		list, err := func() (list []Figure, err error) {
			if err := os.Mkdir(dir, 0o700); err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, os.RemoveAll(dir), os.RemoveAll(state)) }()
			s, err := newShelf(ctx, program, dir, state, part.drives, part.size)
			if err == nil && part.rate > 0 {
				err = s.slow(ctx, part.rate)
			}
			if err != nil {
				return nil, err
			}
			return part.measure(ctx, l, s)
		}()
		for i := range list {
			list[i].What = part.what + ": " + list[i].What
		}
		if err != nil {
			list = append(list, Figure{What: part.what, Void: err.Error()})
		}
		r.Agent = append(r.Agent, list...)
		if err := errors.Join(context.Cause(ctx), told()); err != nil {
			return err
		}
	}
	return nil
}
