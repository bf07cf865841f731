package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent/api"
)

// healthCommand is how the agent is.
func (a *app) healthCommand() *cobra.Command {
	safe := false
	c := &cobra.Command{
		Use: "health", Short: "say how the running agent is, and whether the host may lose its power", Args: cobra.NoArgs,
		Long: "health prints how the agent is. The exit status says only that it answered (0), also where it is halted or degraded, or the host may not\n" +
			"lose its power. With --safe-to-power-off it is 0 only when the agent says that the host may: otherwise it is 10, and 3 where no agent runs.",
		Example: "  expunge health --safe-to-power-off && poweroff",
		RunE: a.verb("health", func(ctx context.Context, _ []string) (answer, error) {
			svc, err := a.mustAsk(ctx)
			if err != nil {
				return answer{}, err
			}
			h, err := svc.Health(ctx)
			if err != nil {
				return answer{}, err
			}
			if safe {
				err = mayLosePower(h)
			}
			return answer{result: h, text: func(w io.Writer) error {
				text, err := json.MarshalIndent(h, "", "  ")
				if err == nil {
					_, err = fmt.Fprintln(w, string(text))
				}
				return err
			}}, err
		}),
	}
	c.Flags().BoolVar(&safe, "safe-to-power-off", false, "exit with 0 only when the host may lose its power, otherwise with 10")
	return c
}

// mayLosePower is why the host may not lose its power. An answer that contradicts itself is no leave.
func mayLosePower(h api.Health) error {
	var err error
	switch {
	case len(h.PowerOff) > 0:
		err = fmt.Errorf("the host may not lose its power: %s", h.PowerOff[0].Message)
		if more := len(h.PowerOff) - 1; more > 0 {
			err = fmt.Errorf("%w (and %s more, in power_off)", err, counted(more, "reason"))
		}
	case h.Running > 0 || h.Drives > 0:
		err = fmt.Errorf("the host may not lose its power: %s at work", counted(max(h.Running, 1), "job"))
	case !h.SafeToPowerOff:
		err = errors.New("the host may not lose its power: the agent does not say that it may")
	default:
		return nil
	}
	return &problem{code: exitInterrupted, name: "not_safe_to_power_off", err: err, hint: "ask again: expunge health --safe-to-power-off"}
}
