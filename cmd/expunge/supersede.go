package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
	"github.com/expunge-dev/expunge/internal/strict"
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
	c.Flags().StringVar(&given, "given", "", "all that is said now, as YAML or JSON, from `FILE`: members as in the certificate's given")
	c.Flags().BoolVar(&withdraw, "withdraw", false, "the certificate does not stand any more")
	return c
}

// maxGivenFile bounds a file of things said.
const maxGivenFile = 1 << 20

// readGiven reads what people say, in which every word must be known.
func readGiven(name string) (*attest.Given, error) {
	wrong := func(err error) error {
		return usage("--given FILE with members such as operator, assetTag, location; docs/records.md has an example", fmt.Errorf("--given %s: %w", name, err))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, wrong(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxGivenFile))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, wrong(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, wrong(err)
	}
	plain, err := json.Marshal(tree)
	if err != nil {
		return nil, wrong(err)
	}
	var given attest.Given
	if err := strict.Decode(plain, &given); err != nil {
		return nil, wrong(err)
	}
	return &given, nil
}
