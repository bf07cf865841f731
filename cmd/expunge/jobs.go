package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/agent/api"
)

func (a *app) jobsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "jobs", Short: "list jobs; show, cancel, resume or abandon one", Args: cobra.NoArgs,
		RunE: a.asked("jobs", func(ctx context.Context, svc api.Service, _ []string) (answer, error) {
			jobs, err := svc.Jobs(ctx)
			if err != nil {
				return answer{}, err
			}
			return answer{items: jobs, text: func(w io.Writer) error { return jobsText(w, jobs) }}, nil
		}),
	}
	c.AddCommand(&cobra.Command{
		Use: "show JOB", Short: "show how the drives of a job stand", Args: oneJob, ValidArgsFunction: a.completeJobs,
		RunE: a.asked("jobs-show", func(ctx context.Context, svc api.Service, args []string) (answer, error) {
			j, err := jobNamed(ctx, svc, args[0])
			if err != nil {
				return answer{}, err
			}
			return jobAnswer(j), nil
		}),
	}, a.resumeCommand(), a.abandonCommand(), a.cancelCommand())
	return c
}

func (a *app) resumeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "resume JOB", Short: "go on with an interrupted job", Args: oneJob, ValidArgsFunction: a.completeJobs,
		Long: "resume goes on with a job where it stopped. A drive that says that its PSID or PIN is wanted gets it with --pin-file, whose drives must all\n" +
			"be of the job. An agent that has the job takes it from the file alone: it is not typed then.",
		RunE: a.asked("run", func(ctx context.Context, svc api.Service, args []string) (answer, error) {
			var r api.ResumeRequest
			if a.pins.file != "" {
				there, err := svc.Job(ctx, args[0])
				if err == nil {
					r.PINs, err = a.pinsOfJob(there)
				}
				if err != nil {
					return answer{}, err
				}
			}
			if err := a.course.begins(ctx, "the job may have been resumed", jobsTell); err != nil {
				return answer{}, err
			}
			j, err := svc.Resume(ctx, args[0], r)
			if errors.Is(err, agent.ErrJobBusy) {
				return answer{}, &problem{code: exitRefused, name: "busy", err: err, hint: heldByCommand(args[0])}
			}
			if err != nil {
				return answer{}, err
			}
			return a.seeThrough(ctx, svc, j)
		}),
	}
	a.pinFlag(c.Flags())
	return c
}

func (a *app) abandonCommand() *cobra.Command {
	why := ""
	c := &cobra.Command{
		Use: "abandon JOB", Short: "give an interrupted job up: its drives are certified as failed", Args: oneJob, ValidArgsFunction: a.completeJobs,
		RunE: a.asked("jobs-abandon", func(ctx context.Context, svc api.Service, args []string) (answer, error) {
			if err := a.course.begins(ctx, "the job may have been given up", jobsTell); err != nil {
				return answer{}, err
			}
			j, err := svc.Abandon(ctx, args[0], api.AbandonRequest{Why: why})
			if j.ID == "" {
				return answer{}, err
			}
			return jobAnswer(j), err
		}),
	}
	c.Flags().StringVar(&why, "why", "given up by the operator", "the reason, for the certificate")
	return c
}

func (a *app) completeJobs(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	svc, err := a.service(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	jobs, err := svc.Jobs(byHand(c.Context()))
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var words []string
	for _, j := range jobs {
		words = append(words, fmt.Sprintf("%s\t%s", j.ID, counted(len(j.Drives), "drive")))
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

func jobsText(w io.Writer, list []api.Job) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "JOB\tCREATED\tSERIAL\tOUTCOME")
	for _, j := range list {
		if j.Problem != "" {
			fmt.Fprintf(t, "%s\t-\t-\tUNREADABLE: %s\n", j.ID, j.Problem)
		}
		for _, d := range j.Drives {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", j.ID, j.Created, dash(d.Serial), d.Words)
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(t, "(no jobs)")
	}
	return t.Flush()
}
