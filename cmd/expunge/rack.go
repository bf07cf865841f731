package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/devices/virtual"
)

func (a *app) rackCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "rack", Short: "make and change virtual hosts, to try everything without hardware", Args: cobra.NoArgs,
		Long: "A rack is a directory shaped like a host, with virtual drives. Every verb works on it with --rack DIR;\n" +
			"what it certifies says SIMULATED.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.rackCreateCommand(), a.rackAddCommand(), a.rackShowCommand(), a.rackFaultCommand(), a.rackUseCommand(), a.rackPowerCycleCommand(), a.rackLabelCommand(), &cobra.Command{
		Use: "profiles", Short: "list the kinds of virtual drives", Args: cobra.NoArgs,
		RunE: a.verb("rack-profiles", func(context.Context, []string) (answer, error) {
			list := virtual.Profiles()
			return answer{items: list, text: func(w io.Writer) error {
				t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
				for _, p := range list {
					fmt.Fprintf(t, "%s\t%s\n", p.Name, p.Summary)
				}
				return t.Flush()
			}}, nil
		}),
	})
	return c
}

// oldData is what new virtual drives are full of, so that there is something to lose.
var oldData = []byte("CONFIDENTIAL customer record; if you can read this, it was not sanitized.\n")

func (a *app) rackCreateCommand() *cobra.Command {
	count, each := 3, "64M"
	c := &cobra.Command{
		Use: "create DIR", Short: "make a rack of plain drives full of old data", Args: cobra.ExactArgs(1),
		RunE: a.acts("rack-create", func(_ context.Context, args []string) (answer, error) {
			bytes, err := parseSize(each)
			if err != nil {
				return answer{}, usage("as in --size 64M", err)
			}
			if count < 0 || count > 256 {
				return answer{}, usage("0 to 256", fmt.Errorf("--drives %d", count))
			}
			rack, err := virtual.Create(args[0])
			if errors.Is(err, fs.ErrExist) {
				return answer{}, usage("name a directory that is empty or not there", err)
			}
			if err != nil {
				return answer{}, rackProblem("name a directory that is empty or not there", err)
			}
			for range count {
				if err := addDrive(rack, virtual.Spec{SizeBytes: bytes}); err != nil {
					var p *problem
					if errors.As(err, &p) {
						p.hint += "\nwhat was made of this one is left in " + quote(args[0]) + ": remove it"
					}
					return answer{}, err
				}
			}
			return a.rackAnswer(rack)
		}),
	}
	c.Flags().IntVar(&count, "drives", count, "how many drives")
	c.Flags().StringVar(&each, "size", each, "size of each, in bytes or with k, M, G (powers of 1024)")
	return c
}

// addDrive adds a drive and fills it with old data.
func addDrive(rack *virtual.Rack, spec virtual.Spec) error {
	node, err := rack.Add(spec)
	if err != nil {
		return rackProblem("expunge rack add --help", err)
	}
	if err := rack.Populate(node, oldData); err != nil {
		return rackProblem("", err)
	}
	return nil
}

// rackProblem is why a rack was not changed. What the system refused is no mistake in the command line; anything else that has no code
// of its own is, where there is a hint for it.
func rackProblem(hint string, err error) error {
	p := problemOf(err)
	switch {
	case environmental(err):
		told := *p
		told.hint = "choose another place for the rack"
		if told.name == "no_room" {
			told.hint = "make room there, or choose another place for the rack, or a smaller --size"
		}
		return &told
	case p.code != exitInternal || hint == "":
		return err
	}
	return usage(hint, err)
}

// openRack opens the rack of --rack, or the one that the first argument names when there is none.
// It returns the arguments that are left.
func (a *app) openRack(args []string, least int) (*virtual.Rack, []string, error) {
	dir := a.rack
	if dir == "" && len(args) > 0 {
		dir, args = args[0], args[1:]
	}
	switch {
	case dir == "":
		return nil, nil, usage("--rack DIR, or DIR as the first argument", errors.New("no rack is named"))
	case len(args) < least:
		return nil, nil, usage("expunge rack --help", errors.New("something is missing: a drive, or what to do with it"))
	}
	rack, err := virtual.Open(dir)
	return rack, args, err
}

func (a *app) rackShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show [DIR]", Short: "show what a rack holds, faults included", Args: cobra.MaximumNArgs(1),
		RunE: a.verb("rack-show", func(_ context.Context, args []string) (answer, error) {
			rack, _, err := a.openRack(args, 0)
			if err != nil {
				return answer{}, err
			}
			return a.rackAnswer(rack)
		}),
	}
}

func (a *app) rackAnswer(rack *virtual.Rack) (answer, error) {
	drives, err := rack.Drives()
	if err != nil {
		return answer{}, err
	}
	return answer{items: drives, text: func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "SERIAL\tPROFILE\tSIZE\tNODE\tUSES\tFAULTS")
		for _, d := range drives {
			var faults []string
			for _, f := range d.Faults {
				faults = append(faults, f.String())
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.Spec.Serial, d.Spec.Profile, size(d.Spec.SizeBytes), d.Node, dash(strings.Join(d.Uses, " ")), dash(strings.Join(faults, " ")))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		try := "expunge list"
		if a.rack == "" {
			try += " --rack " + quote(rack.Root())
		}
		_, err := fmt.Fprintln(w, "try: "+try)
		return err
	}}, nil
}

func (a *app) rackFaultCommand() *cobra.Command {
	remove := false
	c := &cobra.Command{
		Use: "fault [DIR] DRIVE [FAULT...]", Short: "make something go wrong with a drive of a rack", Args: cobra.MinimumNArgs(1),
		Long: "Faults, from the next opening of the drive on:\n\n" + virtual.FaultHelp(),
		RunE: a.acts("rack-fault", func(_ context.Context, args []string) (answer, error) {
			rack, args, err := a.openRack(args, 1)
			if err != nil {
				return answer{}, err
			}
			if remove {
				if err := rack.ClearFaults(args[0]); err != nil {
					return answer{}, rackProblem("", err)
				}
			} else if len(args) == 1 {
				return answer{}, usage("as in write-error:2048+8, or --clear", errors.New("no fault is named"))
			}
			for _, text := range args[1:] {
				f, err := virtual.ParseFault(text)
				if err != nil {
					return answer{}, usage("expunge rack fault --help lists them", err)
				}
				if err := rack.Fault(args[0], f); err != nil {
					return answer{}, rackProblem("expunge rack profiles says what each kind of drive is", err)
				}
			}
			return a.rackAnswer(rack)
		}),
	}
	c.Flags().BoolVar(&remove, "clear", false, "first make the drive whole again, and put it back if it was pulled")
	return c
}

func (a *app) rackUseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "use [DIR] DRIVE USE...", Short: "put a drive of a rack to use: mounted:DIR, partition, partition-mounted:DIR, area-mounted:AREA:DIR, swap, holder:NAME", Args: cobra.MinimumNArgs(2),
		Long: "use puts a drive of a rack to use, as the kernel would show it: mounted:DIR, partition (one that is not used), partition-mounted:DIR,\n" +
			"area-mounted:AREA:DIR (AREA is one of an eMMC: boot0, boot1 or gp0), swap, holder:NAME. DRIVE is a serial number or a node.",
		RunE: a.acts("rack-use", func(_ context.Context, args []string) (answer, error) {
			rack, args, err := a.openRack(args, 2)
			if err != nil {
				return answer{}, err
			}
			for _, use := range args[1:] {
				if err := rack.Use(args[0], use); err != nil {
					return answer{}, rackProblem("expunge rack use --help", err)
				}
			}
			return a.rackAnswer(rack)
		}),
	}
}

func (a *app) rackPowerCycleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "power-cycle [DIR] DRIVE", Short: "take a drive's power away and give it back", Args: cobra.RangeArgs(1, 2),
		Long: "The drive loses its cache and whatever else it keeps only while it has power: a set password locks it,\n" +
			"a freeze ends, a changed size takes effect, and an erase that it was doing goes on or has failed.",
		RunE: a.acts("rack-power-cycle", func(_ context.Context, args []string) (answer, error) {
			rack, args, err := a.openRack(args, 1)
			if err != nil {
				return answer{}, err
			}
			if err := rack.PowerCycle(args[0]); err != nil {
				return answer{}, rackProblem("", err)
			}
			return a.rackAnswer(rack)
		}),
	}
}

func (a *app) rackLabelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "label [DIR] DRIVE", Short: "read what is printed on a drive: its serial number and its PSID", Args: cobra.RangeArgs(1, 2),
		Long: "A self-encrypting drive has its PSID on its label, and nowhere else: whoever knows it has the drive in hand, and may revert it.\n" +
			"The line is as --pin-file takes it.",
		RunE: a.acts("rack-label", func(_ context.Context, args []string) (answer, error) {
			rack, args, err := a.openRack(args, 1)
			if err != nil {
				return answer{}, err
			}
			l, err := rack.Label(args[0])
			if err != nil {
				return answer{}, rackProblem("", err)
			}
			return answer{result: l, text: func(w io.Writer) error {
				_, err := fmt.Fprintln(w, strings.TrimSpace(l.Serial+" "+l.PSID))
				return err
			}}, nil
		}),
	}
}

// parseSize reads bytes with an optional power of 1024.
func parseSize(s string) (int64, error) {
	unit := int64(1)
	digits := strings.TrimSpace(s)
	if i := strings.IndexAny(digits, "kKMGT"); i >= 0 && i == len(digits)-1 {
		unit = map[byte]int64{'k': 1 << 10, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40}[digits[i]]
		digits = digits[:i]
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > (1<<62)/unit {
		return 0, fmt.Errorf("size %q is not a number of bytes", s)
	}
	return n * unit, nil
}
