package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/cmd/internal/verifying"
)

func (a *app) verifyCommand() *cobra.Command {
	var trust, against, cosigners string
	var simulated bool
	var wanted int
	c := &cobra.Command{
		Use: "verify {FILE | DIR | -}...", Short: "check certificates, offline", Args: cobra.ArbitraryArgs,
		Long: "verify checks certificates with no network, clock or drive. --trust names a file with the issuers' public keys (PEM);\n" +
			"without it this state's own keys are used, which proves nothing to others. In a DIR and those below it, every\n" +
			"certificate.json is checked and every *.json that is, or was, a certificate; symbolic links are not followed.\n" +
			"\"-\" reads standard input: one certificate, or one on each line. Of many the worst counts.\n\n" +
			"--against FILE.csv reconciles them with a list of the drives that a site has. Its first line names the columns, one of\n" +
			"them serial or serial_number. A drive without a certificate, a certificate without a drive, a failure after a success and\n" +
			"the like are findings, and with any of them the exit status is 12 or worse.",
		Example: "  expunge verify certificate.json --trust host.pub\n  expunge verify certificates/ --trust hosts.pub --against assets.csv\n" +
			"  cat */certificate.json | expunge verify - --trust hosts.pub --json=stream",
	}
	c.Flags().StringVar(&trust, "trust", "", "public keys (PEM) of those whose word you take, from `FILE`")
	c.Flags().StringVar(&against, "against", "", "reconcile with the serial numbers of a list of drives (CSV), from `FILE`")
	c.Flags().BoolVar(&simulated, "allow-simulated", false, "accept certificates of virtual drives")
	c.Flags().StringVar(&cosigners, "cosigner", "", "verifier keys of those whose cosignatures of the log count, one a line, from `FILE`")
	c.Flags().IntVar(&wanted, "min-cosigners", 0, "how many of them must have cosigned")
	c.RunE = func(_ *cobra.Command, paths []string) error {
		o := verifying.Options{MinCosigners: wanted, Paths: paths, AllowSimulated: simulated, JSON: a.json != "", Stream: a.json == "stream", Prog: "expunge"}
		err := a.checkGlobals()
		if err == nil && len(paths) == 0 {
			err = usage("name certificates, such as certificate.json, or directories with them", errors.New("no certificate is named"))
		}
		if err == nil {
			o.Trust, err = a.trust(trust)
		}
		if err == nil && cosigners != "" {
			o.Cosigners, err = readCosigners(cosigners)
		}
		if err == nil && against != "" {
			if o.Against, err = verifying.LoadAssets(against); err != nil {
				err = usage("a list of drives is CSV whose first line names a column serial", fmt.Errorf("--against %s: %w", against, err))
			}
		}
		if err != nil {
			a.finish("verify", answer{items: []verifying.Item{}}, err)
			return nil
		}
		a.code = verifying.Run(c.Context(), a.stdin, a.stdout, a.stderr, o)
		return nil
	}
	return c
}

// trust are the public keys in a file, or those of this state.
func (a *app) trust(file string) (attest.Trust, error) {
	if file == "" {
		return a.ownTrust()
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return attest.Trust{}, usage("a trust file holds public keys in PEM: expunge key show prints one", fmt.Errorf("--trust %s: %w", file, err))
	}
	t, err := attest.ParseTrust(data)
	if err != nil {
		return attest.Trust{}, usage("a trust file holds public keys in PEM: expunge key show prints one", fmt.Errorf("--trust %s: %w", file, err))
	}
	return t, nil
}
