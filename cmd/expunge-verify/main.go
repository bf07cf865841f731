// Command expunge-verify checks certificates of destruction and does nothing else: no network, no
// state, no drives. It runs wherever Go does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/cmd/internal/verifying"
)

const usage = `usage: expunge-verify --trust FILE [--pin FINGERPRINT] [--against ASSETS.csv] [--policy DEMANDS.yaml] [--cosigner VKEYS [--min-cosigners N]]
       [--allow-simulated] [--json[=stream]] {FILE | DIR | -}...

Checks certificates offline. In a directory and those below it, every certificate.json is checked and every *.json that is,
or was, a certificate. "-" reads standard input: one certificate, or one on each line. --trust names a file with the public
keys (PEM) of those whose word you take; get it from them, not with the certificate. Or it names a trust root with all its
versions, and --pin says the fingerprint of the first one; get that from them. --against reconciles the certificates
with a list of drives: CSV whose first line names a column serial. --policy names a file of what you demand of them.
--cosigner names a file with the verifier keys of witnesses, one a line; --min-cosigners is how many of them must have
cosigned the log.

exit status: 0 valid and sanitized, 1 unreadable, 2 usage, 3 no such file or no certificate, 11 invalid, 12 authentic but not
what was asked for (unknown key, simulation, or not what the list of drives says), 13 authentic, certifies something other than
"sanitized". Of many the worst counts: 11 > 1 > 3 > 12 > 13 > 0
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("expunge-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	trust := flags.String("trust", "", "")
	pin := flags.String("pin", "", "")
	against := flags.String("against", "", "")
	policy := flags.String("policy", "", "")
	cosigners := flags.String("cosigner", "", "")
	o := verifying.Options{Prog: "expunge-verify"}
	flags.IntVar(&o.MinCosigners, "min-cosigners", 0, "")
	flags.BoolVar(&o.AllowSimulated, "allow-simulated", false, "")
	flags.BoolFunc("json", "", func(how string) error {
		o.JSON, o.Stream = true, how == "stream"
		if how != "true" && how != "document" && how != "stream" {
			return errors.New("--json or --json=stream")
		}
		return nil
	})
	if err := flags.Parse(flagsFirst(args)); err != nil {
		if err == flag.ErrHelp {
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprintf(stderr, "expunge-verify: %v\n%s", err, usage)
		return 2
	}
	empty := ""
	flags.Visit(func(f *flag.Flag) {
		if f.Value.String() == "" && f.Name != "json" { // which keeps no value
			empty = f.Name
		}
	})
	if empty != "" {
		fmt.Fprintf(stderr, "expunge-verify: --%s is empty: say something, or leave the flag out\n%s", empty, usage)
		return 2
	}
	if o.MinCosigners < 0 {
		fmt.Fprintf(stderr, "expunge-verify: --min-cosigners %d\n%s", o.MinCosigners, usage)
		return 2
	}
	if o.Paths = flags.Args(); len(o.Paths) == 0 {
		fmt.Fprintf(stderr, "expunge-verify: no certificate is named\n%s", usage)
		return 2
	}
	if *pin != "" && *trust == "" {
		fmt.Fprintf(stderr, "expunge-verify: --pin is the fingerprint of the trust root in a file, and --trust names none\n%s", usage)
		return 2
	}
	if *trust != "" {
		var err error
		if o.Trust, err = verifying.LoadTrust(*trust, *pin, nil); err != nil {
			fmt.Fprintf(stderr, "expunge-verify: --trust %s: %v\n", *trust, err)
			return 2
		}
	}
	if *cosigners != "" {
		data, err := os.ReadFile(*cosigners)
		if err == nil {
			o.Cosigners, err = attest.ParseCosigners(data)
		}
		if err != nil {
			fmt.Fprintf(stderr, "expunge-verify: --cosigner %s: %v\n", *cosigners, err)
			return 2
		}
	}
	if *against != "" {
		var err error
		if o.Against, err = verifying.LoadAssets(*against); err != nil {
			fmt.Fprintf(stderr, "expunge-verify: --against %s: %v\n", *against, err)
			return 2
		}
	}
	if *policy != "" {
		d, err := verifying.LoadDemands(*policy)
		if o.Demands = &d; err != nil {
			fmt.Fprintf(stderr, "expunge-verify: --policy %s: %v\n", *policy, err)
			return 2
		}
	}
	return verifying.Run(context.Background(), stdin, stdout, stderr, o)
}

// flagsFirst puts flags before files, so that they may be given in any order. What follows "--" is
// files alone.
func flagsFirst(args []string) []string {
	var first, files []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "--":
			return append(append(append(first, "--"), files...), args[i+1:]...)
		case len(a) < 2 || a[0] != '-':
			files = append(files, a)
			continue
		}
		first = append(first, a)
		if name := strings.TrimLeft(a, "-"); slices.Contains([]string{"trust", "pin", "against", "policy", "cosigner", "min-cosigners"}, name) && i+1 < len(args) {
			i++
			first = append(first, args[i])
		}
	}
	return append(append(first, "--"), files...)
}
