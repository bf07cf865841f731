package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/sanitize"
)

func (a *app) supersedeCommand() *cobra.Command {
	var reason, given, by string
	var withdraw bool
	c := &cobra.Command{
		Use: "supersede {SERIAL | JOB} --reason TEXT {--given FILE | --withdraw}", Short: "correct what people said with a certificate, or withdraw it", Args: cobra.ExactArgs(1),
		Long: "supersede adds a statement to a certificate that replaces what people said with it (asset tag, operator, place …) by what --given says,\n" +
			"all of it; or, with --withdraw, that it does not stand any more, for good. What was signed before stays in the certificate and is shown.",
		RunE: a.served("certificate-supersede", func(_ context.Context, ag *agent.Agent, args []string) (answer, error) {
			correction := attest.Correction{Reason: reason}
			if reason == "" {
				return answer{}, usage("--reason TEXT", errors.New("it is not said why"))
			}
			if withdraw == (given != "") {
				return answer{}, usage("--given FILE corrects, --withdraw withdraws", errors.New("say which of both it is"))
			}
			if by != "" {
				correction.By = &attest.Person{Name: by}
			}
			if given != "" {
				var err error
				if correction.Given, err = readGiven(given); err != nil {
					return answer{}, err
				}
			}
			found, err := findCertificate(ag, args[0])
			if err != nil {
				return answer{}, err
			}
			file, err := ag.Supersede(found.Job, found.Drive.ID, correction)
			if err != nil {
				return answer{}, err
			}
			return fileAnswer(file), nil
		}),
	}
	c.Flags().StringVar(&reason, "reason", "", "why")
	c.Flags().StringVar(&by, "by", "", "`NAME` of who says so")
	c.Flags().StringVar(&given, "given", "", "all that is said now, from a YAML `FILE` in the words of plan --given")
	c.Flags().BoolVar(&withdraw, "withdraw", false, "the certificate does not stand any more")
	return c
}

// readGiven reads what people say of one drive now, as the same file says it to plan.
func readGiven(name string) (*attest.Given, error) {
	data, err := readLittle(name, maxGivenFile)
	var r sanitize.GivenRequest
	if err == nil {
		r, err = sanitize.ParseGiven(data)
	}
	if err == nil && len(r.Drives) > 0 {
		err = errors.New("it is of one drive: what is below drives: belongs at the top")
	}
	if err != nil {
		return nil, usage("words are those of plan --given, such as operator, asset-tag, location", fmt.Errorf("--given %s: %w", name, err))
	}
	return agent.AttestGiven(&r.Given), nil
}
