package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/expunge-dev/expunge/agent"
	"github.com/expunge-dev/expunge/sanitize"
)

func (a *app) runCommand() *cobra.Command {
	var request sanitize.Request
	var given givenFlags
	var file, list string
	var confirm []string
	c := &cobra.Command{
		Use: "run {--plan FILE | DRIVE... | --drives FILE}", Short: "carry out a plan: DESTROYS DATA", Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeDrives,
		Long: "run carries out a plan, or plans and runs in one go. It begins after a confirmation: --confirm DIGEST for a whole plan,\n" +
			"--confirm SERIAL for each drive, or typed when a person sits at the terminal. The same plan run again touches nothing that is finished.",
		Example: "  expunge run --plan plan.json --confirm DIGEST\n  expunge run SERIAL --method clear --confirm SERIAL",
		RunE: a.verb("run", func(ctx context.Context, args []string) (answer, error) {
			names, err := a.named(args, list)
			if err != nil {
				return answer{}, err
			}
			if request.Given, err = given.request(len(names)); err != nil {
				return answer{}, err
			}
			return a.run(ctx, names, request, file, confirm)
		}),
	}
	requestFlags(c.Flags(), &request)
	given.add(c.Flags())
	drivesFlag(c.Flags(), &list)
	a.pinFlag(c.Flags())
	c.Flags().StringVar(&file, "plan", "", "the plan to carry out, from `FILE`")
	c.Flags().StringArrayVar(&confirm, "confirm", nil, "the plan's `DIGEST` (its first 12 digits or more), or for each drive its serial number, or its WWN or id, as where drives share a serial number")
	return c
}

func (a *app) run(ctx context.Context, names []string, request sanitize.Request, file string, confirm []string) (answer, error) {
	switch {
	case file != "" && len(names) > 0:
		return answer{}, usage("name drives when planning", errors.New("a plan has its drives: none can be named beside it"))
	case file != "" && !reflect.DeepEqual(request, sanitize.Request{}):
		return answer{}, usage("say what is wanted when planning", errors.New("a plan has what was asked for and given: it cannot be changed"))
	}
	svc, err := a.remote()
	if err != nil {
		return answer{}, err
	}
	if svc != nil {
		request.TCGPIN = file == "" && a.pins.file != ""
		return a.runBy(ctx, svc, names, request, file, confirm)
	}
	ag, err := a.agent()
	if err != nil {
		return answer{}, err
	}
	var p sanitize.Plan
	switch {
	case file != "":
		p, err = readPlan(file)
	default:
		request.TCGPIN = a.pins.file != ""
		p, err = ag.Plan(ctx, names, request)
	}
	if err != nil {
		return answer{}, err
	}
	if len(p.Drives) == 0 {
		job := agent.Job{Plan: p}
		if job.Manifest, err = ag.Refused(ctx, p, nil); err != nil {
			return a.runAnswer(job), errors.Join(planProblem(p), err)
		}
		return a.runAnswer(job), planProblem(p)
	}
	listed, err := a.listed(ctx)
	if err != nil {
		return answer{}, fmt.Errorf("confirm: %w", err)
	}
	if err := a.confirmed(ctx, p, confirm, file != "", listed); err != nil {
		return a.runAnswer(agent.Job{Plan: p}), err
	}
	if err := context.Cause(ctx); err != nil {
		return answer{}, &problem{code: exitSignal, name: "signal", err: err}
	}
	if ag.WasRun(p) {
		a.say("this plan was run before: what is finished is only reported")
	}
	progress := a.follow()
	job, err := ag.Run(ctx, p, progress.observer())
	progress.end()
	if err := a.stoppedHere(ctx, ag, job); err != nil {
		return a.runAnswer(job), err
	}
	var refused *agent.RefusedError
	if errors.As(err, &refused) {
		job = agent.Job{Plan: p, Drives: refused.Drives, Manifest: refused.Manifest, ManifestErr: refused.ManifestErr}
		err = nil
	}
	if err != nil {
		return a.runAnswer(agent.Job{Plan: p}), err
	}
	return a.runAnswer(job), a.runProblem(job)
}

func readPlan(file string) (sanitize.Plan, error) {
	info, err := os.Stat(file)
	if err != nil {
		return sanitize.Plan{}, usage("give the file that plan -o wrote", err)
	}
	if !info.Mode().IsRegular() || info.Size() > 16<<20 {
		return sanitize.Plan{}, usage("give the file that plan -o wrote", fmt.Errorf("%s is not a plan file", file))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return sanitize.Plan{}, err
	}
	p, err := sanitize.ParsePlan(data)
	if err != nil {
		return p, fmt.Errorf("plan %s: %w", file, err)
	}
	return p, nil
}

// stoppedHere notes that a person stopped a job, so that no agent goes on with it by itself.
func (a *app) stoppedHere(ctx context.Context, ag *agent.Agent, j agent.Job) error {
	if context.Cause(ctx) == nil || j.ID == "" {
		return nil
	}
	for _, d := range j.Drives {
		if !d.Finished() {
			return ag.Stop(j.ID, agent.Stopped{By: "a signal to its command", At: time.Now().UTC()})
		}
	}
	return nil
}
