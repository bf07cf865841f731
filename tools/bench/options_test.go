package main

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	o, err := parse(nil, io.Discard)
	if err != nil || o.Rounds != 5 || !slices.Equal(o.Drives, []int{1, 8}) || !o.Loop || !o.Sim || !o.Agent || o.Scale != 0.2 {
		t.Errorf("without options: %+v, %v", o, err)
	}
	o, err = parse([]string{"-rounds", "9", "-quick", "-drives", "2, 16", "-skip", "loop"}, io.Discard)
	if err != nil || o.Rounds != 1 || o.SimTime != time.Second || !slices.Equal(o.Drives, []int{2, 16}) || o.Loop {
		t.Errorf("quick: %+v, %v", o, err)
	}
	if o.Agent {
		t.Errorf("quick, and the agent nevertheless: %+v", o)
	}
	if o, err := parse([]string{"-quick", "-agent", "."}, io.Discard); err != nil || !o.Agent {
		t.Errorf("quick, with the agent: %+v, %v", o, err)
	}
	if !slices.Equal(o.Passes, passes) || o.leavesOut("dd direct 4M") {
		t.Errorf("something is left out that was not asked to be: %+v", o)
	}
	o, err = parse([]string{"-passes", "random + verify, zeros", "-tools", "^fio"}, io.Discard)
	if err != nil || !slices.Equal(o.Passes, []Pass{Verify, Zeros}) || o.leavesOut("fio io_uring") || !o.leavesOut("a fio") || o.leavesOut(engineName) {
		t.Errorf("some: %+v, %v", o, err)
	}
	for name, args := range map[string][]string{
		"no such pass":               {"-passes", "zeros,ones"},
		"no passes":                  {"-passes", ","},
		"a pass twice":               {"-passes", "zeros,zeros"},
		"no expression":              {"-tools", "("},
		"a device":                   {"/dev/null"},
		"a device at the end":        {"-quick", "/dev/null"},
		"no rounds":                  {"-rounds", "0"},
		"no drives":                  {"-drives", ""},
		"zero drives":                {"-drives", "0"},
		"the same twice":             {"-drives", "1,1"},
		"too many":                   {"-drives", "65"},
		"no expression of the agent": {"-agent", "("},
		"no scale":                   {"-scale", "0"},
		"not a scale":                {"-scale", "NaN"},
		"too small":                  {"-drives", "8", "-mib", "31"},
		"unknown part":               {"-skip", "dd"},
		"nothing":                    {"-skip", "loop,sim,agent"},
		"no such nwipe":              {"-nwipe", "/nonexistent/nwipe"},
	} {
		if _, err := parse(args, io.Discard); err == nil {
			t.Errorf("%s: %q was taken", name, args)
		}
	}
	if _, err := parse([]string{"-skip", "agent,sim,loop"}, io.Discard); !errors.Is(err, ErrNothing) {
		t.Errorf("%v", err)
	}
}

// What others need of the memory must be left to them.
func TestSizes(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct {
		name string
		o    Options
		n    int
		free int64
		want int64 // of each; 0 is an error
	}{
		{"one", Options{}, 1, 10 * gib, gib},
		{"eight", Options{}, 8, 10 * gib, gib / 4},
		{"little memory", Options{}, 8, leave + gib, gib / 8},
		{"hardly any", Options{}, 1, leave + 8<<20, 8 << 20},
		{"none", Options{}, 1, leave, 0},
		{"as asked", Options{MiB: 100}, 8, 10 * gib, 12 << 20},
		{"more than there is", Options{MiB: 4096}, 1, 3 * gib, 0},
		{"quick", Options{Quick: true}, 8, 10 * gib, 4 << 20},
	} {
		got, err := c.o.sizeOf(c.n, c.free)
		if got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: %d MiB, %v, want %d", c.name, got>>20, err, c.want>>20)
		}
	}
}
