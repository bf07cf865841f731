package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/cmd/internal/verifying"
)

func (a *app) verifyCommand() *cobra.Command {
	var trust, pin, against, policy, drive, evidence, cosigners string
	var simulated bool
	var wanted int
	c := &cobra.Command{
		Use: "verify {FILE | DIR | -}...", Short: "check certificates, offline", Args: cobra.ArbitraryArgs,
		Long: "verify checks certificates with no network, clock or drive. --trust names a file with the issuers' public keys (PEM), or\n" +
			"a trust root, which --pin says the fingerprint of; without it the pinned trust root is used (expunge trust), or else this\n" +
			"state's own keys, which proves nothing to others. In a DIR and those below it, every\n" +
			"certificate.json is checked and every *.json that is, or was, a certificate; symbolic links are not followed.\n" +
			"\"-\" reads standard input: one certificate, or one on each line. Of many the worst counts.\n\n" +
			"--against FILE.csv reconciles them with a list of the drives that a site has. Its first line names the columns, one of\n" +
			"them serial or serial_number. A drive without a certificate, a certificate without a drive, a failure after a success and\n" +
			"the like are findings, and with any of them the exit status is 12 or worse.\n\n" +
			"--policy FILE holds them against what you demand beside that they are authentic. --drive DRIVE asks a drive of this machine:\n" +
			"is it the one that the certificate speaks of, and was it written to since? --evidence FILE holds one certificate against\n" +
			"the evidence bundle that it pins: the bundle must be that one, and what its journal proves must be what the certificate says.",
		Example: "  expunge verify certificate.json --trust host.pub\n  expunge verify certificates/ --trust hosts.pub --against assets.csv\n" +
			"  expunge verify certificates/ --trust hosts.pub --policy demands.yaml\n" +
			"  cat */certificate.json | expunge verify - --trust hosts.pub --json=stream",
	}
	saidFlag(c.Flags(), &trust, "trust", "public keys (PEM) of those whose word you take, or a trust root, from `FILE`")
	saidFlag(c.Flags(), &pin, "pin", "the `FINGERPRINT` of the trust root's first version, which you were given by another way")
	saidFlag(c.Flags(), &against, "against", "reconcile with the serial numbers of a list of drives (CSV), from `FILE`")
	saidFlag(c.Flags(), &policy, "policy", "what you demand of certificates (docs/verify.md), from `FILE`")
	saidFlag(c.Flags(), &drive, "drive", "is it about this `DRIVE` of the machine, and was it used since?")
	c.Flags().BoolVar(&simulated, "allow-simulated", false, "accept certificates of virtual drives")
	saidFlag(c.Flags(), &evidence, "evidence", "hold the certificate against its evidence bundle, from `FILE`: expunge certificate evidence")
	saidFlag(c.Flags(), &cosigners, "cosigner", "verifier keys of those whose cosignatures of the log count, one a line, from `FILE`")
	c.Flags().IntVar(&wanted, "min-cosigners", 0, "how many of them must have cosigned")
	c.RunE = func(_ *cobra.Command, paths []string) error {
		o := verifying.Options{MinCosigners: wanted, Paths: paths, AllowSimulated: simulated, JSON: a.json != "", Stream: a.json == "stream", Prog: "expunge"}
		err := a.checkGlobals()
		if err == nil && len(paths) == 0 {
			err = usage("name certificates, such as certificate.json, or directories with them", errors.New("no certificate is named"))
		}
		if err == nil {
			o.Trust, err = a.trust("--trust", trust, pin)
		}
		if err == nil && wanted < 0 {
			err = usage("--min-cosigners N, from 0", fmt.Errorf("--min-cosigners %d", wanted))
		}
		if err == nil && cosigners != "" {
			o.Cosigners, err = readCosigners(cosigners)
		}
		if err == nil && against != "" {
			if o.Against, err = verifying.LoadAssets(against); err != nil {
				err = usage("a list of drives is CSV whose first line names a column serial", fmt.Errorf("--against %s: %w", against, err))
			}
		}
		if err == nil && policy != "" {
			d, e := verifying.LoadDemands(policy)
			if o.Demands = &d; e != nil {
				err = usage("docs/verify.md has an example of what can be demanded", fmt.Errorf("--policy %s: %w", policy, e))
			}
		}
		if err == nil && drive != "" {
			var held *inHand
			if held, err = a.driveInHand(c.Context(), drive); err == nil {
				o.Also = held.against
			}
		}
		if err == nil && evidence != "" {
			o.Check, err = checkEvidence(evidence, paths)
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
