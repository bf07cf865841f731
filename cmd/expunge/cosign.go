package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/attest"
)

func (a *app) logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "have others witness the log", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var add, cosigners string
	sign := &cobra.Command{
		Use: "cosign --add FILE", Short: "keep a checkpoint of the log that others cosigned", Args: cobra.NoArgs,
		Long: "cosign keeps the cosignatures (c2sp.org/tlog-cosignature) of a checkpoint of this log. Its text must be what the log was at that size.\n" +
			"Certificates that are reissued later are proved against it, so that whoever trusts a cosigner knows that the log was not written anew.",
		RunE: a.served("log-cosign", func(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
			if add == "" {
				return answer{}, usage("--add FILE", errors.New("there is no cosigned checkpoint"))
			}
			data, err := os.ReadFile(add)
			if err != nil {
				return answer{}, usage("--add FILE", fmt.Errorf("--add %s: %w", add, err))
			}
			var known attest.Cosigners
			if cosigners != "" {
				if known, err = readCosigners(cosigners); err != nil {
					return answer{}, err
				}
			}
			kept, err := ag.AddCosigned(data, known)
			if err != nil {
				return answer{}, err
			}
			return answer{
				result: map[string]any{"size": kept.Size, "added": kept.Added, "cosignatures": kept.Lines, "checked": append([]string{}, kept.Checked...)},
				text: func(w io.Writer) error {
					checked := "none of them checked"
					if len(kept.Checked) > 0 {
						checked = "checked: " + strings.Join(kept.Checked, ", ")
					}
					_, err := fmt.Fprintf(w, "%d entries: %d cosignatures added, %d kept; %s\n", kept.Size, kept.Added, kept.Lines, checked)
					return err
				},
			}, nil
		}),
	}
	sign.Flags().StringVar(&add, "add", "", "the cosigned checkpoint, from `FILE`")
	sign.Flags().StringVar(&cosigners, "cosigner", "", "verifier keys, one a line, from `FILE`: the lines of these cosigners must fit")
	c.AddCommand(sign, &cobra.Command{
		Use: "checkpoint", Short: "print the head of the log, for others to cosign", Args: cobra.NoArgs,
		RunE: a.served("log-checkpoint", func(_ context.Context, ag *agent.Agent, _ []string) (answer, error) {
			data, err := ag.Checkpoint()
			if err == nil && len(data) == 0 {
				err = &problem{code: exitNotFound, name: "empty", err: errors.New("the log has no entries yet"), hint: "it begins with the first job"}
			}
			if err != nil {
				return answer{}, err
			}
			return answer{result: map[string]string{"checkpoint": string(data)}, text: func(w io.Writer) error {
				_, err := w.Write(data)
				return err
			}}, nil
		}),
	})
	return c
}

func readCosigners(file string) (attest.Cosigners, error) {
	const hint = "verifier keys of cosigners (c2sp.org/signed-note), one a line"
	data, err := os.ReadFile(file)
	if err != nil {
		return attest.Cosigners{}, usage(hint, fmt.Errorf("--cosigner %s: %w", file, err))
	}
	known, err := attest.ParseCosigners(data)
	if err != nil {
		return known, usage(hint, fmt.Errorf("--cosigner %s: %w", file, err))
	}
	return known, nil
}
