package main

import (
	"errors"

	"github.com/spf13/pflag"
)

// said is a flag that says something where it is given: an empty value, as of a variable of a script that was never set, is refused and not
// taken for a flag that was not given, which asks for less.
type said struct{ into *string }

func (said) Type() string { return "string" }

func (s said) String() string {
	if s.into == nil {
		return ""
	}
	return *s.into
}

func (s said) Set(value string) error {
	if value == "" {
		return errors.New("it is empty: say something, or leave the flag out")
	}
	*s.into = value
	return nil
}

// saidFlag adds such a flag.
func saidFlag(flags *pflag.FlagSet, into *string, name, help string) {
	flags.Var(said{into}, name, help)
}
