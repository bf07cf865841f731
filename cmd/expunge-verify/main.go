// Command expunge-verify checks certificates of destruction and does nothing else: no network, no
// state, no drives. It runs wherever Go does.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/cmd/internal/verifying"
)

const usage = `usage: expunge-verify --trust KEYS.pem [--allow-simulated] [--json] CERTIFICATE...

Checks certificates offline. "-" reads standard input. --trust names a file with the public keys
(PEM) of those whose word you take; get it from them, not with the certificate.

exit status: 0 valid and sanitized, 1 unreadable, 2 usage, 3 no such file, 11 invalid, 12 authentic but not what was
asked for (unknown key, simulation), 13 authentic, certifies something other than "sanitized"
`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("expunge-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	trust := flags.String("trust", "", "")
	o := verifying.Options{Prog: "expunge-verify"}
	flags.BoolVar(&o.AllowSimulated, "allow-simulated", false, "")
	flags.BoolVar(&o.JSON, "json", false, "")
	if err := flags.Parse(flagsFirst(args)); err != nil {
		if err == flag.ErrHelp {
			fmt.Fprint(stdout, usage)
			return 0
		}
		fmt.Fprintf(stderr, "expunge-verify: %v\n%s", err, usage)
		return 2
	}
	if o.Files = flags.Args(); len(o.Files) == 0 {
		fmt.Fprintf(stderr, "expunge-verify: no certificate is named\n%s", usage)
		return 2
	}
	if *trust != "" {
		data, err := os.ReadFile(*trust)
		if err == nil {
			o.Trust, err = attest.ParseTrust(data)
		}
		if err != nil {
			fmt.Fprintf(stderr, "expunge-verify: --trust %s: %v\n", *trust, err)
			return 2
		}
	}
	return verifying.Run(stdin, stdout, stderr, o)
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
		if (a == "-trust" || a == "--trust") && i+1 < len(args) {
			i++
			first = append(first, args[i])
		}
	}
	return append(append(first, "--"), files...)
}
