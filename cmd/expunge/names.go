package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// drivesFlag names a list of drives.
func drivesFlag(flags *pflag.FlagSet, list *string) {
	flags.StringVar(list, "drives", "", "also the drives named in `FILE` (- is standard input): one a line; empty lines and what follows a # are passed over")
}

// named is the drives of a command line and of a list. An empty list is an error: nothing is ever
// selected by default.
func (a *app) named(args []string, list string) ([]string, error) {
	if list == "" {
		return args, nil
	}
	names, err := a.readNames(list)
	if err != nil {
		return nil, usage("--drives FILE: one drive a line, by serial number, WWN, id or node", err)
	}
	return slices.Concat(args, names), nil
}

// maxNames is more than a list of drives can have.
const maxNames = 1 << 20

func (a *app) readNames(list string) ([]string, error) {
	in, source := a.stdin, "standard input"
	if list != "-" {
		f, err := os.Open(list)
		if err != nil {
			return nil, fmt.Errorf("read the list of drives: %w", unread(list, err))
		}
		defer f.Close() // it was only read
		in, source = f, list
	}
	data, err := io.ReadAll(io.LimitReader(in, maxNames+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the list of drives: %w", err)
	case len(data) > maxNames || strings.ContainsRune(string(data), 0):
		return nil, fmt.Errorf("%s is no list of drives", source)
	}
	var names []string
	for line := range strings.Lines(string(data)) {
		// A # within a name is the name's.
		if at := strings.Index(" "+strings.ReplaceAll(line, "\t", " "), " #"); at >= 0 {
			line = line[:at]
		}
		if name := strings.TrimSpace(line); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s names no drive", source)
	}
	return names, nil
}
