package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Pass is what is done to a drive.
type Pass string

// The passes that are compared.
const (
	Zeros  Pass = "zeros"
	Random Pass = "random"
	Verify Pass = "random + verify" // everything is read back and compared
)

var passes = []Pass{Zeros, Random, Verify}

// Options are what was asked for.
type Options struct {
	Rounds  int
	Quick   bool
	JSON    string
	Nwipe   string // another nwipe than the one in PATH
	Expunge string // the program; "" builds it
	MiB     int64  // of one set of drives together; 0 is chosen by what is free
	Drives  []int
	Passes  []Pass
	Tools   *regexp.Regexp // of the names of those that are compared; nil: all
	Scale   float64
	SimTime time.Duration
	HBA     float64 // GB/s that the drives of a simulated host share; 0 is no limit
	Loop    bool
	Sim     bool
	Agent   bool
	// AgentParts are the parts of what is measured of the agent; nil: all.
	AgentParts *regexp.Regexp

	// How this program calls itself.
	part string
	dir  string
}

// parse reads the command line.
func parse(args []string, errors io.Writer) (Options, error) {
	var o Options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errors)
	f.IntVar(&o.Rounds, "rounds", 5, "rounds in which every program has a turn")
	f.BoolVar(&o.Quick, "quick", false, "see only that everything works: tiny drives, one round, no speeds; fails when a row is void")
	f.StringVar(&o.JSON, "json", "", "write everything that was measured to `FILE`")
	f.StringVar(&o.Nwipe, "nwipe", "", "compare also with the nwipe at `PATH`")
	f.StringVar(&o.Expunge, "expunge", "", "the program at `PATH` (default: built from this tree)")
	f.Int64Var(&o.MiB, "mib", 0, "`MiB` of all drives of a comparison together (default: 1024 for one drive, 2048 for several, less where memory is short)")
	drives := f.String("drives", "1,8", "numbers of drives")
	chosen := f.String("passes", "", "only these `PASSES`, with commas: zeros, random, random + verify")
	f.Func("tools", "only programs whose name this `EXPRESSION` matches, beside the engine", func(text string) (err error) {
		o.Tools, err = regexp.Compile(text)
		return err
	})
	f.Func("agent", "of the agent, only what this `EXPRESSION` matches; with -quick nothing without it", func(text string) (err error) {
		o.AgentParts, err = regexp.Compile(text)
		return err
	})
	f.Float64Var(&o.Scale, "scale", 0.2, "part of their rate that simulated drives have")
	f.DurationVar(&o.SimTime, "simtime", 8*time.Second, "time that a simulated drive needs at its rate")
	f.Float64Var(&o.HBA, "hba", 0, "`GB/s` that all drives of a simulated host share, before -scale (default: no limit)")
	skip := f.String("skip", "", "leave out: loop, sim, agent")
	f.StringVar(&o.part, "part", "", "for this program itself")
	f.StringVar(&o.dir, "dir", "", "for this program itself")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q: nothing but options is taken, and no device above all", f.Arg(0))
	}
	if o.Quick {
		o.Rounds, o.SimTime = 1, time.Second
	}
	return o.check(*drives, *chosen, *skip)
}

// leavesOut says whether a program is not compared with.
func (o Options) leavesOut(tool string) bool {
	return tool != engineName && o.Tools != nil && !o.Tools.MatchString(tool)
}

// ErrNothing: nothing is left to be measured.
var ErrNothing = errors.New("nothing is left to be measured")

func (o Options) check(drives, chosen, skip string) (Options, error) {
	for word := range strings.SplitSeq(drives, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 || n > 64 || slices.Contains(o.Drives, n) {
			return o, fmt.Errorf("-drives %s: different numbers from 1 to 64, with commas", drives)
		}
		o.Drives = append(o.Drives, n)
	}
	o.Passes = passes
	if chosen != "" {
		o.Passes = nil
	}
	for word := range strings.FieldsFuncSeq(chosen, func(r rune) bool { return r == ',' }) {
		pass := Pass(strings.TrimSpace(word))
		if !slices.Contains(passes, pass) || slices.Contains(o.Passes, pass) {
			return o, fmt.Errorf("-passes %s: of %q, with commas", chosen, passes)
		}
		o.Passes = append(o.Passes, pass)
	}
	// How long the agent takes with what it is given depends on what else the machine does: whoever wants only to see that everything
	// works asks for it by name.
	o.Loop, o.Sim, o.Agent = true, true, !o.Quick || o.AgentParts != nil
	for word := range strings.SplitSeq(skip, ",") {
		switch strings.TrimSpace(word) {
		case "":
		case "loop":
			o.Loop = false
		case "sim":
			o.Sim = false
		case "agent":
			o.Agent = false
		default:
			return o, fmt.Errorf("-skip %s: loop, sim or agent", skip)
		}
	}
	switch {
	case !o.Loop && !o.Sim && !o.Agent:
		return o, ErrNothing
	case len(o.Passes) == 0:
		return o, fmt.Errorf("-passes %s: %w", chosen, ErrNothing)
	case o.Rounds < 1:
		return o, fmt.Errorf("-rounds %d: at least one", o.Rounds)
	case !(o.Scale > 0 && o.Scale <= 1):
		return o, fmt.Errorf("-scale %v: more than 0, at most 1", o.Scale)
	case !(o.HBA >= 0 && o.HBA < 1e6):
		return o, fmt.Errorf("-hba %v GB/s", o.HBA)
	case o.SimTime < 100*time.Millisecond:
		return o, fmt.Errorf("-simtime %v: at least 100ms", o.SimTime)
	case o.MiB < 0 || o.MiB > 0 && o.MiB < 4*int64(slices.Max(o.Drives)):
		return o, fmt.Errorf("-mib %d: at least 4 for each drive", o.MiB)
	}
	for _, program := range []string{o.Nwipe, o.Expunge} {
		if program == "" {
			continue
		}
		if _, err := exec.LookPath(program); err != nil {
			return o, err
		}
	}
	return o, nil
}
