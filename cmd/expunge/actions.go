package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent/service"
	"github.com/expunge-dev/expunge/sanitize/journal"
)

func (a *app) actionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "actions [FILE]", Short: "list what the agent allowed and refused, and check that nothing was taken out of it", Args: cobra.MaximumNArgs(1),
		Long: "actions reads the agent's audit file, of this state or a copy of it. Each record holds the digest of the one before: a record that was\n" +
			"changed or taken out from between is found. What was cut off at the end is not: compare the digest that is printed last with one kept elsewhere.",
		RunE: a.verb("audit-actions", func(_ context.Context, args []string) (answer, error) {
			var file string
			if len(args) > 0 {
				file = args[0]
			} else {
				dir, err := a.stateDir()
				if err != nil {
					return answer{}, err
				}
				file = filepath.Join(dir, service.ActionsName)
			}
			return actionsOf(file)
		}),
	}
}

type actionItem struct {
	Seq  int64  `json:"seq"`
	Time string `json:"time"`
	service.Action
}

type actionsResult struct {
	File    string `json:"file"`
	Records int64  `json:"records"`
	Head    string `json:"head"` // hex SHA-256 of the last record
}

func actionsOf(file string) (answer, error) {
	parsed, err := journal.Read(file)
	var corrupt *journal.CorruptError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return answer{}, &problem{code: exitNotFound, name: "not_found", err: fmt.Errorf("there is no audit file %s: no agent has recorded anything there", file), hint: "an agent writes it: expunge serve"}
	case errors.As(err, &corrupt):
		return answer{}, &problem{code: exitInvalid, name: "contradiction", err: err, hint: "keep the file: somebody changed it"}
	case err != nil:
		return answer{}, err
	}
	list := []actionItem{}
	for _, r := range parsed.Records {
		item := actionItem{Seq: r.Seq, Time: r.Time.UTC().Format("2006-01-02T15:04:05Z")}
		if err := r.Decode(&item.Action); err != nil {
			return answer{}, &problem{code: exitInvalid, name: "contradiction", err: err, hint: "keep the file: it is of another version, or somebody changed it"}
		}
		list = append(list, item)
	}
	return answer{items: list, result: actionsResult{file, int64(len(list)), parsed.Head}, text: func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TIME\tWHO\tACTION\tOBJECT\tDECISION\tWHY")
		for _, x := range list {
			why := x.Code
			if x.Detail != "" {
				why += " " + x.Detail
			}
			if x.Repeated > 0 {
				why += fmt.Sprintf(" (and %d times more)", x.Repeated)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", x.Time, x.Who, x.Action.Action, dash(x.Object), x.Decision, why)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s, the last one's SHA-256 is %s\n", counted(len(list), "record"), parsed.Head)
		return err
	}}, nil
}
